"""What must be true of the audit log, whatever happened to the servers: no change that was stored lacks its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orcs_server.storage.audit import OK, ChainWalk
from orcs_server.storage.store import EventRecord, Store

PIECE = 5_000


async def check_audit(store: Store, namespace: str, logs: Mapping[str, Sequence[EventRecord]]) -> int:
    """The chain fits, and what a request led to and its record are both there. Returns how many requests that were."""
    chain = await store.audit.chain(namespace)
    walk = ChainWalk(namespace, chain)
    recorded: set[tuple[str, str]] = set()
    while records := await store.audit.records(namespace, walk.number, PIECE):
        assert walk.take(records) is None
        for record in records:
            draft = record.draft
            if draft.request_id and draft.outcome == OK and not draft.operation.startswith(("memory.", "namespaces.")):
                recorded.add((draft.resource.partition("/")[0], draft.request_id))
    assert walk.end() is None
    stored = {(workflow_id, event.cause) for workflow_id, log in logs.items() for event in log if event.cause}
    missing = stored - recorded
    assert not missing, f"{len(missing)} changes without a record, such as {sorted(missing)[:5]}"
    # Of a workflow that was deleted only the last event is left.
    whole = {workflow_id for workflow_id, log in logs.items() if log[0].seq == 1}
    extra = {one for one in recorded if one[0] in whole} - stored
    assert not extra, f"{len(extra)} records of changes that are not stored, such as {sorted(extra)[:5]}"
    return len(stored)
