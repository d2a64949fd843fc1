"""Namespaces that have used up what they may consume in a day: they start nothing until midnight UTC, and what runs ends its turn.

Nothing of a workflow changes by it but that its attempts are interrupted, which costs them nothing: what is ready waits in its
queue, as it does for a slot. What was consumed is read from the ledger after every commit that adds to it, so that memory and
ledger cannot differ for long, whatever goes wrong.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from orcs_server.engines.base import Command
from orcs_server.errors import Unavailable
from orcs_server.identity.quotas import QuotaKind, Quotas, UsedUp, date_of, day_after, day_of, exceeded
from orcs_server.storage.usage import UsageDay
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import NO_USAGE, Usage

if TYPE_CHECKING:
    from orcs_server.engines.local.engine import LocalEngine

_log = logging.getLogger("orcs.engine")

GROWING = (m.SendMessage, m.EditPlan, m.Replan)
"""What is refused, beside the creation of workflows and what is put into memory, while a namespace holds as many bytes as it may.
What brings workflows to their end, answers and outputs included, never is.
"""
LOOK_AGAIN_S = 60.0
"""How long the alarm for midnight sleeps at most: the machine's clock may be set meanwhile."""


class Spending:
    """Knows what each namespace with a limit has consumed today."""

    def __init__(self, engine: LocalEngine, quotas: Quotas) -> None:
        self._engine = engine
        self._quotas = quotas
        self._today: dict[str, UsageDay] = {}
        self._held: dict[str, int] = {}
        """Namespaces that start nothing -> the day that they have used up."""
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    async def start(self) -> None:
        """Go by what the ledger has of today. Before anything runs. Raises Unavailable."""
        if not self._quotas.limit_days:
            return
        for namespace, day in (await self._engine.store.usage_of_all(day_of(self._engine.clock.now_us()))).items():
            if self.limits(namespace):
                self._today[namespace] = day
                self._judge(namespace)

    def close(self) -> None:
        """Let nobody go on any more (shutdown)."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()

    def limits(self, namespace: str) -> bool:
        """Whether what the namespace consumes has to be known before each turn."""
        return self._quotas.of(namespace).limits_days

    def holds(self, namespace: str) -> bool:
        """Whether nothing of the namespace may start, or go on for another turn."""
        return namespace in self._held

    def used_up(self, namespace: str) -> UsedUp | None:
        """Return what the namespace has used up for today."""
        return self._used_up(namespace, NO_USAGE)

    def expect(self, namespace: str, more: Usage) -> bool:
        """Say whether nothing may start once this is stored, and see to it: what is consumed counts before what begins with it."""
        if more != NO_USAGE and self._used_up(namespace, more) is not None:
            self._hold(namespace)
        return self.holds(namespace)

    async def add(self, namespace: str, usage: Usage) -> None:
        """Count what was consumed without a workflow. Raises Unavailable."""
        await self._engine.store.add_usage(namespace, self._engine.clock.now_us(), usage)
        await self.refresh(namespace)

    async def refresh(self, namespace: str) -> None:
        """Go by what the ledger has now."""
        if not self.limits(namespace):
            return
        day = day_of(self._engine.clock.now_us())
        try:
            found = await self._engine.store.usage_days(namespace, day, day)
        except Unavailable as error:
            _log.error("what namespace %s has consumed today could not be read: %s", namespace, error)
            return
        self._today[namespace] = found[0] if found else UsageDay(day)
        self._judge(namespace)

    async def refuse_growth(self, command: Command) -> None:
        """Raise QuotaExceeded for a command with texts of which the namespace already holds as many bytes as it may."""
        namespace = command.caller.namespace
        limit = self._quotas.of(namespace).max_bytes
        if limit is None or not command.blobs or not isinstance(command.request, GROWING):
            return
        in_use = (await self._engine.store.holdings(namespace)).bytes
        if in_use >= limit:
            raise exceeded(UsedUp(QuotaKind.BYTES, limit, in_use), self._engine.clock.now_us())

    # Inside

    def _used_up(self, namespace: str, more: Usage) -> UsedUp | None:
        quota = self._quotas.of(namespace)
        if not quota.limits_days:
            return None
        today = self._today.get(namespace)
        tokens, cost = more.input_tokens + more.output_tokens, more.cost_micros
        if today is not None and today.day == day_of(self._engine.clock.now_us()):
            tokens, cost = tokens + today.tokens, cost + today.counts.usage.cost_micros
        return quota.used_up(tokens, cost)

    def _judge(self, namespace: str) -> None:
        if self.used_up(namespace) is not None:
            self._hold(namespace)
        elif namespace in self._held:
            self._let_go(namespace)

    def _hold(self, namespace: str) -> None:
        now_us = self._engine.clock.now_us()
        if self._closed or self._held.get(namespace) == day_of(now_us):
            return
        self._held[namespace] = day_of(now_us)
        _log.warning(
            "namespace %s has used up its quota for %s and goes on at midnight", namespace, date_of(day_of(now_us))
        )
        self._engine.slots.shut(namespace)
        for actor in self._engine.actors_of(namespace):
            actor.flights.stop_at_turn()
        if self._alarm is None:
            self._set_alarm()

    def _let_go(self, namespace: str) -> None:
        del self._held[namespace]
        _log.info("namespace %s goes on: what it may consume in a day is not used up any more", namespace)
        self._engine.slots.reopen(namespace)
        # What runs and was told to stop may go on.
        for actor in self._engine.actors_of(namespace):
            actor.wake()

    def _set_alarm(self) -> None:
        now_us = self._engine.clock.now_us()
        pause_s = min((day_after(now_us) - now_us) / 1e6, LOOK_AGAIN_S)
        self._alarm = asyncio.get_running_loop().call_later(pause_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        today = day_of(self._engine.clock.now_us())
        for namespace in [name for name, day in self._held.items() if day != today]:
            self._today.pop(namespace, None)
            self._let_go(namespace)
        if self._held:
            self._set_alarm()
