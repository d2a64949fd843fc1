"""The rows of the audit log. Chains are continued within the writer's transactions: only there is the order known."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from orcs_server.storage.audit import (
    BEGUN,
    OK,
    PRUNE,
    AuditChain,
    AuditDraft,
    AuditFilter,
    AuditPage,
    AuditRecord,
    pruned_details,
    sealed,
)
from orcs_server.storage.sqlite.queries import QUERIES, Bulk, Row
from orcs_server.storage.sqlite.reader import Reader

LOOKED_AT: Final = 2_000
"""Records that are looked at in one go, on the event loop: some 2 ms."""
PIECES: Final = 50
"""So many such pieces for one page, at most."""
NO_CHAIN: Final = AuditChain()

_add_records = Bulk("add_audit_records")


def append(connection: sqlite3.Connection, drafts: Iterable[tuple[str, AuditDraft]]) -> None:
    """Continue the chains of these namespaces by these drafts, in the open transaction."""
    ends: dict[str, tuple[int, str]] = {}
    rows: list[Row] = []
    for namespace, draft in drafts:
        end = ends.get(namespace)
        number, previous = chain_of(connection, namespace)[:2] if end is None else end
        record = sealed(namespace, number + 1, draft, previous)
        ends[namespace] = (record.number, record.hash)
        rows.append(row_of(record))
    _add_records.run(connection, rows)
    for namespace, end in ends.items():
        connection.execute(QUERIES["end_audit_chain"], (namespace, *end))


def row_of(record: AuditRecord) -> Row:
    """Return a record's row."""
    draft = record.draft
    return (
        record.namespace, record.number, draft.time_us, draft.principal, ",".join(draft.roles), draft.operation,
        draft.method, draft.resource, draft.outcome, draft.request_id, draft.peer, draft.agent, draft.workflow_id,
        draft.task_id, draft.details, record.previous_hash, record.hash,
    )  # fmt: skip


def record_of(namespace: str, row: Sequence[Any]) -> AuditRecord:
    """Return a row's record."""
    (
        number, time_us, principal, roles, operation, method, resource, outcome, request_id, peer, agent, workflow_id,
        task_id, details, previous_hash, digest,
    ) = row  # fmt: skip
    draft = AuditDraft(
        time_us, operation, method, principal, tuple(str(roles).split(",")) if roles else (), resource, outcome,
        request_id, peer, agent, workflow_id, task_id, details,
    )  # fmt: skip
    return AuditRecord(namespace, number, draft, previous_hash, digest)


def chain_of(connection: sqlite3.Connection, namespace: str) -> AuditChain:
    """Return where a chain ends and begins."""
    row = connection.execute(QUERIES["audit_chain"], (namespace,)).fetchone()
    return NO_CHAIN if row is None else AuditChain(*row)


def prune(connection: sqlite3.Connection, namespace: str, before_us: int, limit: int, draft: AuditDraft) -> int:
    """Remove a chain's oldest records, note where it begins now, and record it."""
    chain = chain_of(connection, namespace)
    rows = connection.execute(QUERIES["audit_records"], (namespace, chain.removed, limit)).fetchall()
    old: list[AuditRecord] = []
    for row in rows:
        record = record_of(namespace, row)
        if record.draft.time_us >= before_us:
            break
        old.append(record)
    if len(old) < limit and all(record.draft.operation == PRUNE for record in old):
        return 0
    last = old[-1]
    connection.execute(QUERIES["remove_audit_records"], (namespace, last.number))
    connection.execute(QUERIES["cut_audit_chain"], (last.number, last.hash, namespace))
    append(connection, [(namespace, replace(draft, details=pruned_details(last.number, last.hash)))])
    return len(old)


Submit = Callable[[str, int, Callable[[sqlite3.Connection], Any]], Any]


class SqliteAudit:
    """An `AuditStore` within a data file that is open."""

    def __init__(self, submit: Submit, reader: Callable[[], Reader]) -> None:
        """`submit` carries out a change in a transaction, of a namespace and a weight; `reader` gives what is open."""
        self._submit = submit
        self._reader = reader

    async def append(self, namespace: str, drafts: Sequence[AuditDraft]) -> None:
        told = [(namespace, draft) for draft in drafts]
        await self._submit(namespace, len(told), lambda connection: append(connection, told))

    async def chain(self, namespace: str) -> AuditChain:
        row = self._reader().one(QUERIES["audit_chain"], (namespace,))
        return NO_CHAIN if row is None else AuditChain(*row)

    async def records(self, namespace: str, after: int, limit: int) -> list[AuditRecord]:
        rows = self._reader().page(QUERIES["audit_records"], (namespace, after, limit))
        return [record_of(namespace, row) for row in rows]

    async def find(
        self, namespace: str, where: AuditFilter, start: int | None, limit: int, *, oldest_first: bool
    ) -> AuditPage:
        chain = await self.chain(namespace)
        first, last = chain.removed + 1, chain.number
        at = (first if oldest_first else last) if start is None else min(max(start, first), last)
        conditions, parameters = conditions_of(where)
        query = QUERIES["find_audit_records"].replace("/*conditions*/", conditions)
        query = query.replace("/*order*/", "ASC" if oldest_first else "DESC")
        found: list[AuditRecord] = []
        for _ in range(PIECES):
            if not first <= at <= last:
                return AuditPage(found, None)
            low, high = (at, at + LOOKED_AT - 1) if oldest_first else (at - LOOKED_AT + 1, at)
            rows = self._reader().page(query, (namespace, low, high, *parameters, limit - len(found)))
            found += [record_of(namespace, row) for row in rows]
            if len(found) == limit:
                at = found[-1].number + (1 if oldest_first else -1)
                break
            at = high + 1 if oldest_first else low - 1
            await asyncio.sleep(0)
        return AuditPage(found, at if first <= at <= last else None)

    async def old_chains(self, before_us: int) -> list[str]:
        return [namespace for (namespace,) in self._reader().page(QUERIES["old_audit_chains"], (before_us,))]

    async def prune(self, namespace: str, before_us: int, limit: int, draft: AuditDraft) -> int:
        removed: int = await self._submit(
            namespace, limit, lambda connection: prune(connection, namespace, before_us, limit, draft)
        )
        return removed


def conditions_of(where: AuditFilter) -> tuple[str, list[object]]:
    """Return a filter as SQL, with its parameters."""
    conditions: list[str] = []
    parameters: list[object] = []

    def add(condition: str, *values: object) -> None:
        conditions.append(f"AND {condition}")
        parameters.extend(values)

    if where.principal:
        add("principal = ?", where.principal)
    if where.operation.endswith("."):
        add("substr(operation, 1, ?) = ?", len(where.operation), where.operation)
    elif where.operation:
        add("operation = ?", where.operation)
    if where.resource:
        below = f"{where.resource}/"
        add("(resource = ? OR substr(resource, 1, ?) = ?)", where.resource, len(below), below)
    if where.outcome:
        add("outcome = ?", where.outcome)
    if where.refused_only:
        add("outcome NOT IN (?, ?)", OK, BEGUN)
    if where.from_us is not None:
        add("time_us >= ?", where.from_us)
    if where.before_us is not None:
        add("time_us < ?", where.before_us)
    return " ".join(conditions), parameters
