"""What the audit log says of changes that agents make, and programs without a service. Keys are named, values are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orcs_server.memory.access import Actor
from orcs_server.memory.changes import Change, Delete, Put
from orcs_server.storage.audit import AuditDraft, details_of
from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.once import Once

CHANGES_NAMED: Final = 8
"""Keys of a batch that are named; all are counted."""


def recorded(
    store: MemoryStore, actor: Actor, now_us: int, operation: str, scope: str, facts: Mapping[str, Any]
) -> MemoryStore:
    """Return the store for one change, which the audit log will tell of in the same transaction."""
    audit = AuditDraft(
        now_us,
        operation,
        "agent" if actor.agent else "program",
        actor.principal,
        resource=scope,
        agent=actor.agent,
        workflow_id=actor.workflow_id,
        task_id=actor.task_id,
        details=details_of(facts),
    )
    return store.bound(Once(None, "", now_us, audit))


def operation_of(changes: Sequence[Change]) -> str:
    """Return the published name of what a batch is."""
    if any(isinstance(change, Put) for change in changes):
        return "memory.write"
    return "memory.delete" if any(isinstance(change, Delete) for change in changes) else "memory.read"


def change_facts(changes: Sequence[Change]) -> dict[str, Any]:
    """Return what is said of a batch: which keys, not which values."""
    named = [
        {
            "change": {Put: "put", Delete: "delete"}.get(type(change), "check"),
            "scope": change.scope,
            "key": change.key,
            **({} if change.expected is None else {"expected": change.expected}),
        }
        for change in changes[:CHANGES_NAMED]
    ]
    if len(changes) == 1:
        return named[0]
    return {"count": len(changes), "changes": named}
