"""What namespaces have consumed by day, and what they hold, as a store keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import Struct

from orcs_server.identity.quotas import day_of
from orcs_server.workflow.events import (
    AttemptStarted,
    PlanningStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowCreated,
    WorkflowFailed,
)
from orcs_server.workflow.model import NO_USAGE, Usage

if TYPE_CHECKING:
    from orcs_server.storage.store import Write

DAYS_KEPT = 400
"""Days of the ledger that are kept, today included."""


class UsageCounts(Struct, frozen=True):
    """What was consumed and done."""

    usage: Usage = NO_USAGE
    attempts: int = 0
    """That began, the planner's included."""
    created: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    def __add__(self, other: UsageCounts) -> UsageCounts:
        return UsageCounts(
            self.usage + other.usage,
            self.attempts + other.attempts,
            self.created + other.created,
            self.completed + other.completed,
            self.failed + other.failed,
            self.cancelled + other.cancelled,
        )


NOTHING_COUNTED = UsageCounts()


class UsageDay(NamedTuple):
    """One day of one namespace."""

    day: int
    """Counted from 1970."""
    counts: UsageCounts = NOTHING_COUNTED

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.counts.usage.input_tokens + self.counts.usage.output_tokens


class Holdings(NamedTuple):
    """What a namespace holds."""

    bytes: int = 0
    """Of its texts, each counted once, and its events, as they are stored."""
    workflows: int = 0
    """That have not ended."""


class UsageStore(Protocol):
    """Keeps the ledger, in the transactions that store what is counted; it stays when workflows are deleted."""

    async def usage_days(self, namespace: str, first_day: int, last_day: int) -> list[UsageDay]:
        """Return the days of a namespace on which anything was counted, the latest first."""
        ...

    async def usage_of_all(self, day: int) -> dict[str, UsageDay]:
        """Return this day of all namespaces in which anything was counted."""
        ...

    async def add_usage(self, namespace: str, time_us: int, consumed: Usage) -> None:
        """Count what was consumed without a workflow."""
        ...

    async def holdings(self, namespace: str) -> Holdings:
        """Return what the namespace holds now."""
        ...

    async def prune_usage(self, before_day: int, limit: int) -> int:
        """Forget up to `limit` days of the ledger before that one, in all namespaces; return how many."""
        ...


def counted(writes: Iterable[Write]) -> dict[tuple[str, int], UsageCounts]:
    """Return by namespace and day what these writes add to the ledger. What a write consumed counts on the day of its last event."""
    found: dict[tuple[str, int], UsageCounts] = {}
    for write in writes:
        tally = [0, 0, 0, 0, 0]
        for record in write.events:
            index = _COLUMNS.get(type(record.event))
            if index is not None:
                tally[index] += 1
        if write.spent != NO_USAGE or any(tally):
            key = (write.namespace, day_of(write.events[-1].time_us))
            found[key] = found.get(key, NOTHING_COUNTED) + UsageCounts(write.spent, *tally)
    return found


_COLUMNS: dict[type, int] = {
    AttemptStarted: 0,
    PlanningStarted: 0,
    WorkflowCreated: 1,
    WorkflowCompleted: 2,
    WorkflowFailed: 3,
    WorkflowCancelled: 4,
}
