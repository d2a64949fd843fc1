"""The local engine: actors for the active workflows, slots, timers, and recovery at start."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from orcs_server.engines.base import Command, Receipt, Standing
from orcs_server.engines.feed import Feeds, NamespaceWatch, WorkflowWatch
from orcs_server.engines.local.actor import WorkflowActor
from orcs_server.engines.local.ending import end_all
from orcs_server.engines.local.freezing import Freezing
from orcs_server.engines.local.letters import answer_repeated, draining, request_key
from orcs_server.engines.local.outages import Outages
from orcs_server.engines.local.sleepers import Sleepers
from orcs_server.engines.local.slots import Slots
from orcs_server.engines.local.spending import Spending
from orcs_server.engines.local.takeover import Takeover
from orcs_server.errors import (
    AlreadyExists,
    Conflict,
    IllegalTransition,
    NotFound,
    QuotaExceeded,
    ResourceExhausted,
    Unavailable,
)
from orcs_server.executor.executor import Executor
from orcs_server.hooks.protocols import Origin
from orcs_server.identity import Caller, Clock
from orcs_server.identity.fairness import Shares
from orcs_server.identity.quotas import NO_QUOTAS, Quotas
from orcs_server.storage.audit import AuditDraft
from orcs_server.storage.restored import restored
from orcs_server.storage.store import EventRecord, Store
from orcs_server.workflow import messages as m
from orcs_server.workflow.due import next_wake_us, waits_for_people
from orcs_server.workflow.model import StopMode, Usage
from orcs_server.workflow.state import WorkflowState

_log = logging.getLogger("orcs.engine")

NOBODY = Caller("", "")
BUSY_RETRY_US = 1_000_000
FULL_RETRY_US = 5_000_000


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much the engine does at once."""

    slots: int = 64
    slots_per_agent: Mapping[str, int] = field(default_factory=dict)
    quotas: Quotas = NO_QUOTAS
    pending_commands: int = 10_000
    """Commands that may wait for their commit at once; one namespace may have as many as there is room for others'."""
    active_workflows: int = 32_768
    """Workflows in memory up to which new ones are created, shared in the same way: those that wait only for a time or a person
    do not count, and those that exist are always taken up."""


class Loaded(NamedTuple):
    """A workflow as its rows say."""

    state: WorkflowState
    seq: int
    caller: Caller


class LocalEngine:
    """Implements `Engine` on one event loop and one store."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        *,
        limits: EngineLimits | None = None,
        clock: Clock | None = None,
        on_commit: Callable[[Caller, WorkflowState | None, Sequence[EventRecord], Origin], None] | None = None,
    ) -> None:
        limits = limits or EngineLimits()
        self.store = store
        self.executor = executor
        self.clock = clock or Clock()
        self.feeds = Feeds()
        self.slots = Slots(limits.slots, per_agent=limits.slots_per_agent, quotas=limits.quotas)
        self.outages = Outages(self.slots)
        self.freezing = Freezing(self)
        self.spending = Spending(self, limits.quotas)
        self.draining = False
        self._pending = Shares(limits.pending_commands)
        self._active = Shares(limits.active_workflows)
        self._on_commit = on_commit
        self._actors: dict[tuple[str, str], WorkflowActor] = {}
        self._loading: dict[tuple[str, str], asyncio.Task[WorkflowActor]] = {}
        self._visitors: Counter[tuple[str, str]] = Counter()
        self._sleepers = Sleepers(self.clock, self._wake_sleeper)
        self._looking: asyncio.Task[None] | None = None

    @property
    def active(self) -> tuple[tuple[str, str], ...]:
        """(namespace, id) of the workflows that are in memory."""
        return tuple(self._actors)

    @property
    def running(self) -> int:
        """Attempts that run now, those of the planner included."""
        states = [actor.state for actor in self._actors.values() if actor.state is not None]
        return sum(len(state.running) + state.progress.planning.running for state in states)

    @property
    def states(self) -> Iterator[WorkflowState]:
        """The committed states of the workflows that are in memory at this moment."""
        for actor in tuple(self._actors.values()):
            if actor.state is not None:
                yield actor.state

    # Engine

    async def start(self) -> int:
        """Take up every live workflow where it stood, and return how many; attempts that were running are lost, and go on.

        Those that this server cannot continue are reported in one summary, with the reasons. Those that only wait are
        looked at in the background, and the summary follows then.
        """
        found, waiting, resumed = Takeover(), [], 0
        await self.spending.start()
        for live in await self.store.live():
            key = (live.namespace, live.workflow_id)
            if live.idle:
                if live.wake_at_us is not None:
                    self._sleepers.put(key, live.wake_at_us)
                waiting.append(key)
                continue
            try:
                state = (await self._actor(*key)).state
                resumed += 1
            except NotFound as error:
                found.note(*key, str(error))
            except Unavailable as error:
                found.note(*key, str(error))
                self._sleepers.put(key, self.clock.now_us() + BUSY_RETRY_US)
            else:
                found.note(*key, *(() if state is None else await self.executor.obstacles(state)))
        self._looking = asyncio.create_task(self._look_at(waiting, found), name="look at waiting workflows")
        await self.freezing.start()
        return resumed

    async def take_up(self, namespace: str, workflow_id: str) -> None:
        """Take up one workflow where it stood, as `start` does with all. Raises NotFound, Unavailable."""
        key = (namespace, workflow_id)
        with self._visit(key):
            (await self._actor(*key)).wake()

    async def stop(self, grace_s: float) -> None:
        """Stop taking commands and granting slots, let attempts end, store the rest as interrupted."""
        self.draining = True
        self.slots.close()
        self.outages.close()
        self.spending.close()
        self._sleepers.close()
        await self.freezing.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))
        while self._loading:
            await asyncio.wait(tuple(self._loading.values()))
        actors = list(self._actors.values())
        await end_all(actors, grace_s)
        self.feeds.wake_all()

    async def submit(self, command: Command) -> Receipt:
        """Carry out a command; returns once its events are stored."""
        if self.draining:
            raise draining()
        namespace = command.caller.namespace
        if not self._pending.take(namespace):
            raise ResourceExhausted(
                "QUOTA_EXCEEDED", "Too many commands of this namespace wait to be stored. Try again.", BUSY_RETRY_US
            )
        try:
            return await self._submit(command)
        except (AlreadyExists, Conflict, IllegalTransition, NotFound, QuotaExceeded):
            # The state has moved on, perhaps by this very request: then its repetition gets the first answer.
            repeated = await self._repeated(command)
            if repeated is None:
                raise
            return repeated
        finally:
            self._pending.give(namespace)

    async def spend(self, namespace: str, usage: Usage) -> None:
        """Count what was consumed without a workflow."""
        await self.spending.add(namespace, usage)

    def standing(self, namespace: str) -> Standing:
        return Standing(self.slots.running(namespace), self.spending.used_up(namespace))

    async def freeze(
        self,
        caller: Caller,
        mode: StopMode,
        reason: str,
        request_id: str = "",
        command_hash: str = "",
        audit: AuditDraft | None = None,
    ) -> int:
        """Pause everything in the caller's namespace."""
        return await self.freezing.freeze(caller, mode, reason, request_id, command_hash, audit)

    async def thaw(
        self, caller: Caller, request_id: str = "", command_hash: str = "", audit: AuditDraft | None = None
    ) -> int:
        """Take the freeze of the caller's namespace back."""
        return await self.freezing.thaw(caller, request_id, command_hash, audit)

    def state(self, namespace: str, workflow_id: str) -> WorkflowState | None:
        """Return the committed state of a workflow that is in memory."""
        actor = self._actors.get((namespace, workflow_id))
        return None if actor is None else actor.state

    def watch(self, namespace: str, workflow_id: str, *, deltas: bool) -> WorkflowWatch:
        """Watch one workflow."""
        return self.feeds.watch(namespace, workflow_id, deltas=deltas)

    def watch_namespace(self, namespace: str) -> NamespaceWatch:
        """Watch the commits of a namespace."""
        return self.feeds.watch_namespace(namespace)

    # For actors and what goes with them

    def actors_of(self, namespace: str) -> list[WorkflowActor]:
        return [actor for actor in self._actors.values() if actor.namespace == namespace]

    def committed(self, actor: WorkflowActor, records: Sequence[EventRecord]) -> None:
        """Tell the rest of the server what has just been stored."""
        self.feeds.wake_namespace(actor.namespace)
        if self._on_commit is not None:
            try:
                self._on_commit(actor.caller, actor.state, records, actor.origin)
            except Exception:  # noqa: BLE001 - what is stored is stored
                _log.exception("whoever listens to commits failed; the workflow goes on")

    def rest(self, actor: WorkflowActor) -> None:
        """Let an actor leave memory when nothing of it is under way; its next wake-up time is kept."""
        key = (actor.namespace, actor.workflow_id)
        if not actor.at_rest or self._actors.get(key) is not actor or key in self._visitors or self.draining:
            return
        state = actor.state
        if state is not None and not state.settled and not waits_for_people(state):
            return
        del self._actors[key]
        self._active.give(actor.namespace)
        actor.leave()
        self.feeds.deactivate(*key)
        wake_us = None if state is None else next_wake_us(state)
        if wake_us is not None:
            self._sleepers.put(key, wake_us)
        # An actor and its parts hold one another, and go with the next garbage collection. What is large goes now.
        actor.state = None

    async def load_state(self, namespace: str, workflow_id: str) -> Loaded | None:
        """Return a workflow's state as its rows say."""
        stored = await self.store.load(namespace, workflow_id)
        if stored is None:
            return None
        return Loaded(restored(namespace, workflow_id, stored), stored.seq, stored.caller or NOBODY)

    # Inside

    async def _look_at(self, waiting: Sequence[tuple[str, str]], found: Takeover) -> None:
        for key in waiting:
            await asyncio.sleep(0)  # Reading a workflow need not wait for anything, and there may be many.
            try:
                loaded = await self.load_state(*key)
            except Unavailable as error:
                found.note(*key, str(error))
            else:
                if loaded is not None:
                    found.note(*key, *await self.executor.obstacles(loaded.state))
        found.report()

    async def _submit(self, command: Command) -> Receipt:
        namespace = command.caller.namespace
        key = (namespace, command.workflow_id)
        if isinstance(command.request, m.CreateWorkflow):
            if key in self._loading:
                # There is such a workflow, or soon known to be none: an empty actor must not take its place.
                await asyncio.wait((self._loading[key],))
            command = replace(command, request=self.freezing.frozen(command.request, namespace))
            actor = self._actors.get(key)
            if actor is None:
                if not self._active.take(namespace):
                    raise ResourceExhausted(
                        "QUOTA_EXCEEDED",
                        f"{self._active.held(namespace)} workflows of this namespace are under way: create more when some "
                        "have ended.",
                        FULL_RETRY_US,
                    )
                actor = self._actors[key] = WorkflowActor(self, *key, None, 0, command.caller)
            reply = actor.ask(command)
        else:
            await self.spending.refuse_growth(command)
            with self._visit(key):
                reply = (await self._actor(*key)).ask(command)
        return await asyncio.shield(reply)

    @contextmanager
    def _visit(self, key: tuple[str, str]) -> Iterator[None]:
        """Keep a workflow that is being loaded in memory until the visitor has said what it came for."""
        self._visitors[key] += 1
        try:
            yield
        finally:
            self._visitors[key] -= 1
            if not self._visitors[key]:
                del self._visitors[key]
            actor = self._actors.get(key)
            if actor is not None:
                self.rest(actor)

    async def _actor(self, namespace: str, workflow_id: str) -> WorkflowActor:
        key = (namespace, workflow_id)
        actor = self._actors.get(key)
        if actor is not None:
            return actor
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._load(*key))
            loading.add_done_callback(lambda _: self._loading.pop(key, None))
        return await asyncio.shield(loading)

    async def _load(self, namespace: str, workflow_id: str) -> WorkflowActor:
        loaded = await self.load_state(namespace, workflow_id)
        if loaded is None:
            raise NotFound("WORKFLOW_NOT_FOUND", f"There is no workflow {workflow_id!r}.")
        heads = {} if loaded.state.terminal else await self.store.journal_heads(namespace, workflow_id)
        key = (namespace, workflow_id)
        if key not in self._actors:
            self._sleepers.discard(key)
            self._active.hold(namespace)
            self._actors[key] = WorkflowActor(self, *key, loaded.state, loaded.seq, loaded.caller)
            self._actors[key].recover(heads)
        return self._actors[key]

    async def _repeated(self, command: Command) -> Receipt | None:
        if not command.request_id:
            return None
        record = await self.store.find_request(request_key(command))
        if record is None:
            return None
        reply: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        answer_repeated(reply, command, record)
        return await reply

    async def _wake_sleeper(self, namespace: str, workflow_id: str) -> None:
        try:
            with self._visit((namespace, workflow_id)):
                (await self._actor(namespace, workflow_id)).tell(m.Tick())
        except NotFound:
            _log.debug("workflow %s was deleted before its time came", workflow_id)
        except Unavailable as error:
            _log.error("workflow %s could not be woken and will be tried again: %s", workflow_id, error)
            self._sleepers.put((namespace, workflow_id), self.clock.now_us() + BUSY_RETRY_US)
