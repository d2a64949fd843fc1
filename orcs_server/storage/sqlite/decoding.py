"""From rows to what they say, and from a filter to what a query asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orcs_server.storage.codec import (
    decode_caller,
    decode_event,
    decode_task_progress,
    decode_task_spec,
    decode_workflow_progress,
    decode_workflow_spec,
)
from orcs_server.storage.store import EventRecord, LiveWorkflow, PageKey, StoredTask, WorkflowFilter, WorkflowSummary


def any_of(column: str, values: Sequence[object]) -> str:
    return f"AND {column} IN ({', '.join('?' * len(values))})" if values else ""


def conditions_of(namespace: str, where: WorkflowFilter, after: PageKey | None) -> tuple[str, list[Any]]:
    conditions = [any_of("status", where.statuses)]
    parameters: list[Any] = [*where.statuses]
    for key, value in where.labels:
        conditions.append(
            "AND id IN (SELECT workflow_id FROM workflow_labels WHERE namespace = ? AND key = ? AND value = ?)"
        )
        parameters += (namespace, key, value)
    if where.title_prefix:
        conditions.append("AND substr(title, 1, ?) = ?")
        parameters += (len(where.title_prefix), where.title_prefix)
    if where.created_from_us is not None:
        conditions.append("AND created_us >= ?")
        parameters.append(where.created_from_us)
    if where.created_before_us is not None:
        conditions.append("AND created_us < ?")
        parameters.append(where.created_before_us)
    if after is not None:
        conditions.append("AND (created_us, id) < (?, ?)")
        parameters += after
    return " ".join(conditions), parameters


def live_of(namespace: str, workflow_id: str, wake_at_us: int | None, idle: int) -> LiveWorkflow:
    return LiveWorkflow(namespace, workflow_id, wake_at_us, bool(idle))


def summary_of(namespace: str, row: Any) -> WorkflowSummary:
    workflow_id, seq, updated_us, progress, spec, caller = row
    return WorkflowSummary(
        namespace,
        workflow_id,
        decode_workflow_spec(spec),
        decode_workflow_progress(progress),
        seq,
        updated_us,
        None if caller is None else decode_caller(caller),
    )


def task_of(ordinal: int, spec: bytes, progress: bytes) -> StoredTask:
    return StoredTask(ordinal, decode_task_spec(spec), decode_task_progress(progress))


def event_of(
    namespace: str,
    workflow_id: str,
    seq: int,
    time_us: int,
    actor: str,
    cause: str,
    position: int,
    type_name: str,
    version: int,
    body: bytes,
) -> EventRecord:
    event = decode_event(type_name, version, body)
    return EventRecord(namespace, workflow_id, seq, time_us, actor, cause, event, position)
