"""The rows of the ledger and of what namespaces hold, and who is refused by them: within the writer's transaction, so exactly."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from orcs_server.errors import QuotaExceeded
from orcs_server.identity.quotas import NamespaceQuota, QuotaKind, UsedUp, day_of, exceeded
from orcs_server.storage.sqlite.queries import QUERIES, Bulk, Row
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.storage.store import Write
from orcs_server.storage.usage import Holdings, UsageCounts, UsageDay, counted
from orcs_server.workflow.model import Usage

_add_usage = Bulk("add_usage")


def count_writes(connection: sqlite3.Connection, writes: Iterable[Write]) -> None:
    """Add what writes have consumed and done to the ledger, in their own transaction."""
    rows = [_row(namespace, UsageDay(day, counts)) for (namespace, day), counts in counted(writes).items()]
    if rows:
        _add_usage.run(connection, rows)


def add(connection: sqlite3.Connection, namespace: str, day: UsageDay) -> None:
    """Add to a day of the ledger."""
    _add_usage.run(connection, [_row(namespace, day)])


def refuse_creations(connection: sqlite3.Connection, creations: Sequence[tuple[NamespaceQuota, Write]]) -> None:
    """Raise QuotaExceeded where one of the workflows may not be created. They are those of one transaction, in their order."""
    before: Counter[str] = Counter()
    for quota, write in creations:
        namespace, now_us = write.namespace, write.events[0].time_us
        held = _holdings(connection.execute(QUERIES["holdings"], (namespace,)).fetchone())
        _refuse(QuotaKind.WORKFLOWS, quota, held.workflows + before[namespace], now_us)
        _refuse(QuotaKind.BYTES, quota, held.bytes, now_us)
        if quota.limits_days:
            day = day_of(now_us)
            row = connection.execute(QUERIES["usage_days"], (namespace, day, day)).fetchone()
            today = UsageDay(day) if row is None else _day(*row)
            _refuse(QuotaKind.TOKENS_PER_DAY, quota, today.tokens, now_us)
            _refuse(QuotaKind.COST_PER_DAY, quota, today.counts.usage.cost_micros, now_us)
        before[namespace] += 1


def growth_refused(
    connection: sqlite3.Connection, namespace: str, quota: NamespaceQuota, now_us: int
) -> QuotaExceeded | None:
    """Return the refusal where the namespace may store nothing more."""
    if quota.max_bytes is None:
        return None
    held = _holdings(connection.execute(QUERIES["holdings"], (namespace,)).fetchone())
    return (
        exceeded(UsedUp(QuotaKind.BYTES, quota.max_bytes, held.bytes), now_us)
        if held.bytes >= quota.max_bytes
        else None
    )


def _refuse(kind: QuotaKind, quota: NamespaceQuota, in_use: int, now_us: int) -> None:
    limit = quota.limit(kind)
    if limit is not None and in_use >= limit:
        raise exceeded(UsedUp(kind, limit, in_use), now_us)


def days(reader: Reader, namespace: str, first_day: int, last_day: int) -> list[UsageDay]:
    """Return days of a namespace, the latest first."""
    return [_day(*row) for row in reader.page(QUERIES["usage_days"], (namespace, first_day, last_day))]


def of_all(reader: Reader, day: int) -> dict[str, UsageDay]:
    """Return one day of all namespaces."""
    return {namespace: _day(*row) for namespace, *row in reader.page(QUERIES["usage_of_all"], (day,))}


def holdings(reader: Reader, namespace: str) -> Holdings:
    """Return what a namespace holds."""
    return _holdings(reader.one(QUERIES["holdings"], (namespace,)))


def _holdings(row: Any) -> Holdings:
    return Holdings() if row is None else Holdings(*row)


def _row(namespace: str, day: UsageDay) -> Row:
    usage, counts = day.counts.usage, day.counts
    return (
        namespace, day.day, usage.requests, usage.input_tokens, usage.cached_input_tokens, usage.output_tokens,
        usage.reasoning_tokens, usage.cost_micros, counts.attempts, counts.created, counts.completed, counts.failed,
        counts.cancelled,
    )  # fmt: skip


def _day(day: int, *counts: int) -> UsageDay:
    return UsageDay(day, UsageCounts(Usage(*counts[:6]), *counts[6:]))
