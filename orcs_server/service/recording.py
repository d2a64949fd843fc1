"""Telling telemetry of what was stored: the operator's hook of every event, OpenTelemetry of every workflow that ended."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from orcs_server.errors import Unavailable
from orcs_server.executor.executor import traceparent_of
from orcs_server.hooks import GuardedHooks, Origin
from orcs_server.identity import Caller
from orcs_server.identity.fairness import Shares
from orcs_server.outputs.safe_text import one_line
from orcs_server.service.measuring import Measuring
from orcs_server.storage.store import EventRecord
from orcs_server.telemetry import TELEMETRY_OFF, Telemetry, trace_fields
from orcs_server.workflow.events import AttemptFailed, AttemptTimedOut, PlanRejected, WorkflowFailed
from orcs_server.workflow.state import WorkflowState

QUEUE_LIMIT = 10_000
"""Commits of a namespace that may wait for their hooks, where it is alone; what comes beyond is dropped, since telemetry must never hold up a run."""
LOG_EVERY = 1_000
GRACE_S = 1.0
"""How long the end of the server waits for the hooks of what is left."""

MESSAGE_LIMIT = 300
"""Characters of a failure's message that the log has; the event has all of it."""
Trouble = WorkflowFailed | AttemptFailed | AttemptTimedOut | PlanRejected
TROUBLE = (WorkflowFailed, AttemptFailed, AttemptTimedOut, PlanRejected)

_log = logging.getLogger("orcs.service")


class EventRecording:
    """Passes stored events on to the telemetry hooks, in their order and without holding anything up.

    Each namespace has a queue of its own: where the factory of hooks hangs for one, the others' events go on.
    """

    def __init__(self, hooks: GuardedHooks, telemetry: Telemetry = TELEMETRY_OFF) -> None:
        self._hooks = hooks
        self._measuring = Measuring(telemetry)
        self.dropped = 0
        """Commits of which the hooks were not told."""
        self._room = Shares(2 * QUEUE_LIMIT)
        self._waiting: dict[str, deque[tuple[Caller, Sequence[EventRecord], Origin]]] = {}
        self._passing_on: dict[str, asyncio.Task[None]] = {}

    def note(
        self, caller: Caller, state: WorkflowState | None, records: Sequence[EventRecord], origin: Origin = Origin.RPC
    ) -> None:
        """Take note of a commit; no state means that the workflow was deleted. Returns at once."""
        self._measuring.note(caller, state, records)
        for record in records:
            if isinstance(record.event, TROUBLE):
                _log_trouble(record, record.event, trace_fields(traceparent_of(caller)))
        if self._hooks.silent:
            return
        namespace = caller.namespace
        if not self._room.take(namespace):
            if self.dropped % LOG_EVERY == 0:
                _log.warning("the hooks cannot keep up: %d commits were not recorded so far", self.dropped + 1)
            self.dropped += 1
            return
        self._waiting.setdefault(namespace, deque()).append((caller, records, origin))
        if namespace not in self._passing_on:
            self._passing_on[namespace] = asyncio.create_task(
                self._pass_on(namespace), name="event recording", context=Context()
            )

    async def close(self) -> None:
        """Hand what is left to the hook's queue; what takes longer than a second is dropped, and the log says so."""
        passing_on = tuple(self._passing_on.values())
        if not passing_on:
            return
        _, late = await asyncio.wait(passing_on, timeout=GRACE_S)
        if late:
            for task in late:
                task.cancel()
            await asyncio.wait(late)
            left = sum(len(waiting) for waiting in self._waiting.values())
            self.dropped += left
            _log.warning("the hooks did not come in time: %d commits were not recorded", left)

    async def _pass_on(self, namespace: str) -> None:
        waiting = self._waiting[namespace]
        try:
            while waiting:
                await self._tell(*waiting[0])
                waiting.popleft()
                self._room.give(namespace)
        finally:
            del self._passing_on[namespace]
            if not waiting:
                del self._waiting[namespace]

    async def _tell(self, caller: Caller, records: Sequence[EventRecord], origin: Origin) -> None:
        try:
            hooks = await self._hooks.hooks_for(caller, origin)
        except Unavailable:
            return  # The failure of the factory is in the log already.
        for record in records:
            self._hooks.record(hooks, type(record.event).__name__, record.workflow_id, _metadata(record))


def _log_trouble(record: EventRecord, event: Trouble, trace: dict[str, str]) -> None:
    """Write the line that tells an operator what did not work, and where."""
    fields: dict[str, Any] = {
        **trace,
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
