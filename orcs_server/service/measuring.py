"""What telemetry gets to know of stored events: how long workflows and tasks took, how long tasks waited, what was tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orcs_server.agents.definition import PLANNER_ID
from orcs_server.executor.executor import whole_of
from orcs_server.identity import Caller
from orcs_server.storage.store import EventRecord
from orcs_server.telemetry import Telemetry, metrics
from orcs_server.workflow import events as e
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import WORKFLOW_TERMINAL

READY_KEPT: Final = 100_000
"""Ready tasks whose time is remembered; of more than these the waiting is not measured."""


class Measuring:
    """Measures by the events of commits. Memory alone: of what began before a restart, the waiting is not measured."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._ready: dict[tuple[str, str], dict[str, int]] = {}
        self._known = 0

    def note(self, caller: Caller, state: WorkflowState | None, records: Sequence[EventRecord]) -> None:
        """Take the measurements that a commit gives; no state means that the workflow was deleted."""
        if not (self._telemetry.tracing or self._telemetry.metering):
            return
        if state is None:
            self._forget((records[0].namespace, records[0].workflow_id))
            return
        failures: dict[str, str] = {}
        for record in records:
            self._note(caller, state, record, failures)
        if state.status in WORKFLOW_TERMINAL:
            self._forget((state.namespace, state.id))

    def _note(self, caller: Caller, state: WorkflowState, record: EventRecord, failures: dict[str, str]) -> None:
        match record.event:
            case e.TaskReady(task_id=task_id):
                self._is_ready(state, task_id, record.time_us)
            case e.AttemptStarted(task_id=task_id):
                self._started(state, task_id, record.time_us)
            case (
                e.AttemptFailed(task_id=task_id, failure=failure) | e.AttemptTimedOut(task_id=task_id, failure=failure)
            ):
                failures[task_id] = failure.kind.value
            case e.TaskRetryScheduled(task_id=task_id):
                self._count_retry(state, state.tasks[task_id].spec.agent_id, failures.get(task_id, ""))
            case e.TaskCompleted(task_id=task_id) | e.TaskFailed(task_id=task_id) | e.TaskCancelled(task_id=task_id):
                self._task_ended(caller, state, task_id)
            case e.PlanRejected(failure=failure, retry_at_us=int()):
                self._count_retry(state, PLANNER_ID, failure.kind.value)
            case e.WorkflowCompleted() | e.WorkflowFailed() | e.WorkflowCancelled():
                progress = state.progress
                ended_us = progress.finished_us or record.time_us
                self._telemetry.record_workflow(whole_of(state, caller), progress.status, ended_us)
            case _:
                return

    def _is_ready(self, state: WorkflowState, task_id: str, time_us: int) -> None:
        if self._known >= READY_KEPT:
            return
        ready = self._ready.setdefault((state.namespace, state.id), {})
        self._known += task_id not in ready
        ready[task_id] = time_us

    def _started(self, state: WorkflowState, task_id: str, time_us: int) -> None:
        since_us = self._ready.get((state.namespace, state.id), {}).pop(task_id, None)
        if since_us is None:
            return
        self._known -= 1
        agent = state.tasks[task_id].spec.agent_id
        seconds = max(time_us - since_us, 0) / 1e6
        self._telemetry.meters.record(metrics.QUEUE_DURATION, seconds, {"orcs.agent": agent}, state.namespace)

    def _count_retry(self, state: WorkflowState, agent: str, kind: str) -> None:
        told = {"orcs.agent": agent, "error.type": kind}
        self._telemetry.meters.record(metrics.RETRIES, 1, told, state.namespace)

    def _task_ended(self, caller: Caller, state: WorkflowState, task_id: str) -> None:
        task = state.tasks.get(task_id)
        if task is None or task.progress.started_us is None or task.progress.finished_us is None:
            return  # It never began, or is to begin anew.
        times_us = (task.progress.started_us, task.progress.finished_us)
        self._telemetry.record_task(whole_of(state, caller), task_id, task.spec.agent_id, task.status, times_us)

    def _forget(self, key: tuple[str, str]) -> None:
        self._known -= len(self._ready.pop(key, ()))
