"""Telling telemetry of what was stored: the operator's hook of every event, OpenTelemetry of every workflow that ended."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from orcs_server.errors import Unavailable
from orcs_server.hooks import GuardedHooks, Origin
from orcs_server.identity import Caller
from orcs_server.outputs.safe_text import one_line
from orcs_server.storage.store import EventRecord
from orcs_server.telemetry import TELEMETRY_OFF, Telemetry
from orcs_server.workflow.events import AttemptFailed, AttemptTimedOut, PlanRejected, WorkflowCompleted, WorkflowFailed
from orcs_server.workflow.state import WorkflowState

QUEUE_LIMIT = 10_000
"""Commits that may wait for their hooks; what comes beyond is dropped, since telemetry must never hold up a run."""
GRACE_S = 1.0
"""How long the end of the server waits for the hooks of what is left."""

MESSAGE_LIMIT = 300
"""Characters of a failure's message that the log has; the event has all of it."""
Trouble = WorkflowFailed | AttemptFailed | AttemptTimedOut | PlanRejected
TROUBLE = (WorkflowFailed, AttemptFailed, AttemptTimedOut, PlanRejected)

_log = logging.getLogger("orcs.service")


class EventRecording:
    """Passes stored events on to the telemetry hook, in their order and without holding anything up."""

    def __init__(self, hooks: GuardedHooks, telemetry: Telemetry = TELEMETRY_OFF) -> None:
        self._hooks = hooks
        self._telemetry = telemetry
        self._waiting: deque[tuple[Caller, Sequence[EventRecord], Origin]] = deque()
        self._passing_on: asyncio.Task[None] | None = None

    def note(
        self, caller: Caller, state: WorkflowState | None, records: Sequence[EventRecord], origin: Origin = Origin.RPC
    ) -> None:
        """Take note of a commit; no state means that the workflow was deleted. Returns at once."""
        if state is not None and isinstance(records[-1].event, WorkflowCompleted | WorkflowFailed):
            traceparent = dict(caller.metadata).get("traceparent", "")
            progress = state.progress
            ended_us = progress.finished_us or records[-1].time_us
            self._telemetry.record_workflow(
                state.namespace, state.id, progress.status, progress.created_us, ended_us, traceparent
            )
        for record in records:
            if isinstance(record.event, TROUBLE):
                _log_trouble(record, record.event)
        if self._hooks.silent:
            return
        if len(self._waiting) >= QUEUE_LIMIT:
            _log.warning("the hooks cannot keep up: %d events were not recorded", len(records))
            return
        self._waiting.append((caller, records, origin))
        if self._passing_on is None or self._passing_on.done():
            self._passing_on = asyncio.create_task(self._pass_on(), name="event recording")

    async def close(self) -> None:
        """Hand what is left to the hook's queue; what takes longer than a second is dropped, and the log says so."""
        if self._passing_on is None:
            return
        await asyncio.wait((self._passing_on,), timeout=GRACE_S)
        if not self._passing_on.done():
            self._passing_on.cancel()
            await asyncio.wait((self._passing_on,))
            _log.warning("the hooks did not come in time: %d commits were not recorded", len(self._waiting) + 1)

    async def _pass_on(self) -> None:
        while self._waiting:
            caller, records, origin = self._waiting.popleft()
            try:
                hooks = await self._hooks.hooks_for(caller, origin)
            except Unavailable:
                continue  # The failure of the factory is in the log already.
            for record in records:
                self._hooks.record(hooks, type(record.event).__name__, record.workflow_id, _metadata(record))


def _log_trouble(record: EventRecord, event: Trouble) -> None:
    """Write the line that tells an operator what did not work, and where."""
    fields: dict[str, Any] = {
        "workflow": record.workflow_id,
        "namespace": record.namespace,
        "kind": event.failure.kind.value,
        "failure": one_line(event.failure.message, MESSAGE_LIMIT),
    }
    if isinstance(event, WorkflowFailed):
        _log.warning("workflow failed", extra=fields)
        return
    fields["attempt"] = event.attempt
    if isinstance(event, PlanRejected):
        if event.problems:
            fields["problem"] = one_line(event.problems[0], MESSAGE_LIMIT)
        _log.info("planning attempt failed", extra=fields)
    else:
        _log.info("task attempt failed", extra=fields | {"task": event.task_id})


def _metadata(record: EventRecord) -> dict[str, Any]:
    """Return what a hook gets to know: structure, and never what users or models wrote."""
    metadata: dict[str, Any] = {
        "namespace": record.namespace,
        "sequence": record.seq,
        "position": record.position,
        "time_us": record.time_us,
        "actor": record.actor,
        "cause": record.cause,
    }
    for name in ("task_id", "attempt"):
        value = getattr(record.event, name, None)
        if value is not None:
            metadata[name] = value
    return metadata
