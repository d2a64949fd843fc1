"""What each namespace may use, and how it is told that it has used it up. Days are those of UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

from orcs_server.errors import QuotaExceeded

DAY_US: Final = 86_400_000_000


class QuotaKind(StrEnum):
    """What is limited, by the name of its setting."""

    WORKFLOWS = "max_workflows"
    RUNNING_TASKS = "max_running_tasks"
    WATCHES = "max_watches"
    TOKENS_PER_DAY = "tokens_per_day"
    COST_PER_DAY = "cost_per_day"
    BYTES = "max_bytes"


class UsedUp(NamedTuple):
    """A quota of which nothing is left."""

    kind: QuotaKind
    limit: int
    in_use: int


class NamespaceQuota(Struct, frozen=True):
    """What one namespace may use; None: as much as it likes."""

    weight: float = 1.0
    """Its share of the slots, compared with the others."""
    max_workflows: int | None = None
    max_running_tasks: int | None = None
    max_watches: int | None = None
    tokens_per_day: int | None = None
    cost_per_day: int | None = None
    max_bytes: int | None = None

    def limit(self, kind: QuotaKind) -> int | None:
        """Return the limit of this kind."""
        limit: int | None = getattr(self, kind.value)
        return limit

    @property
    def limits_days(self) -> bool:
        """Whether there is a limit to what a day may consume."""
        return self.tokens_per_day is not None or self.cost_per_day is not None

    @property
    def limits_creation(self) -> bool:
        """Whether the creation of a workflow may be refused."""
        return self.limits_days or self.max_workflows is not None or self.max_bytes is not None

    def used_up(self, tokens: int, cost_micros: int) -> UsedUp | None:
        """Return which of the day's limits is used up by so much, if one is."""
        for kind, in_use in ((QuotaKind.TOKENS_PER_DAY, tokens), (QuotaKind.COST_PER_DAY, cost_micros)):
            limit = self.limit(kind)
            if limit is not None and in_use >= limit:
                return UsedUp(kind, limit, in_use)
        return None


UNLIMITED: Final = NamespaceQuota()


class Quotas:
    """The quotas of all namespaces: of those that are named, and of all others."""

    def __init__(self, named: Mapping[str, NamespaceQuota] | None = None, default: NamespaceQuota = UNLIMITED) -> None:
        self._named = dict(named or {})
        self._default = default

    @property
    def named(self) -> frozenset[str]:
        """The namespaces with quotas of their own."""
        return frozenset(self._named)

    @property
    def limit_days(self) -> bool:
        """Whether any namespace has a limit to what a day may consume."""
        return any(quota.limits_days for quota in (self._default, *self._named.values()))

    def of(self, namespace: str) -> NamespaceQuota:
        """Return what this namespace may use."""
        return self._named.get(namespace, self._default)


NO_QUOTAS: Final = Quotas()

FREED_WHEN: Final = {
    QuotaKind.WORKFLOWS: "when a workflow ends",
    QuotaKind.RUNNING_TASKS: "when an attempt ends",
    QuotaKind.WATCHES: "when a watch is closed",
    QuotaKind.TOKENS_PER_DAY: "at midnight UTC",
    QuotaKind.COST_PER_DAY: "at midnight UTC",
    QuotaKind.BYTES: "when workflows or memory are deleted",
}
"""When some of it is free again, in words."""
_SAID: Final = {
    QuotaKind.WORKFLOWS: ("{} unended workflow{s}", "wait for one to end, or cancel one"),
    QuotaKind.RUNNING_TASKS: ("{} running attempt{s}", "others begin as these end"),
    QuotaKind.WATCHES: ("{} open watch{es}", "close some, or watch all workflows with one WatchWorkflows"),
    QuotaKind.TOKENS_PER_DAY: ("used {} tokens today", "go on after midnight UTC"),
    QuotaKind.COST_PER_DAY: ("used {} millionths of the currency unit today", "go on after midnight UTC"),
    QuotaKind.BYTES: ("{} bytes stored", "delete workflows that have ended, or memory"),
}


def day_of(time_us: int) -> int:
    """Return the number of the day in UTC, counted from 1970."""
    return time_us // DAY_US


def day_after(time_us: int) -> int:
    """Return the time of the next midnight in UTC."""
    return (day_of(time_us) + 1) * DAY_US


def date_of(day: int) -> str:
    """Return a day as 2026-11-25."""
    return datetime.fromtimestamp(day * (DAY_US // 1_000_000), UTC).date().isoformat()


def freed_us(kind: QuotaKind, now_us: int) -> int | None:
    """Return when all of it is free again, where the clock tells."""
    return day_after(now_us) if kind in (QuotaKind.TOKENS_PER_DAY, QuotaKind.COST_PER_DAY) else None


def exceeded(used_up: UsedUp, now_us: int) -> QuotaExceeded:
    """Return the refusal that names the quota, how much of it is in use and when it is free again."""
    kind, limit, in_use = used_up
    what, advice = _SAID[kind]
    has = "has" if not what.startswith("used") else "has already"
    free_us = freed_us(kind, now_us)
    said = what.format(in_use, s="" if in_use == 1 else "s", es="" if in_use == 1 else "es")
    return QuotaExceeded(
        f"The namespace {has} {said}, and its quota {kind.value} is {limit}: {advice}.",
        quota=kind.value,
        limit=limit,
        in_use=in_use,
        free_us=free_us,
        free_when=FREED_WHEN[kind],
        retry_after_us=None if free_us is None else max(free_us - now_us, 1),
    )
