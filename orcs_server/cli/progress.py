"""How far a watched workflow has come, put together from the items of its watch: what the live tree and the plain lines show.

States follow from the server's events by one table each, the rules themselves stay on the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from orcs_client import Delta, Event, Snapshot, WatchItem
from orcs_client.messages import PlanTask, Task, TaskState, Usage, Workflow, WorkflowState, short_name

TEXT_KEPT = 240
"""Characters of what a running attempt writes that are kept for showing."""
WORKFLOW_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
TASK_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "SKIPPED"})

_WORKFLOW_AFTER = {
    "plan_adopted": "READY",
    "workflow_started": "RUNNING",
    "workflow_pausing": "PAUSING",
    "workflow_paused": "PAUSED",
    "workflow_resumed": "RUNNING",
    "workflow_cancel_requested": "CANCELLING",
    "workflow_completed": "COMPLETED",
    "workflow_failed": "FAILED",
    "workflow_cancelled": "CANCELLED",
    "workflow_reopened": "RUNNING",
}
_TASK_AFTER = {
    "task_ready": "READY",
    "task_reopened": "PENDING",
    "task_held": "INPUT_REQUIRED",
    "attempt_started": "RUNNING",
    "attempt_suspended": "INPUT_REQUIRED",
    "attempt_interrupted": "READY",
    "attempt_lost": "READY",
    "task_retry_scheduled": "RETRYING",
    "task_completed": "COMPLETED",
    "task_failed": "FAILED",
    "task_cancelled": "CANCELLED",
    "task_skipped": "SKIPPED",
}


@dataclass(slots=True)
class TaskProgress:
    """One task, as far as it is known. Times are microseconds UTC by the server's clock."""

    id: str
    title: str = ""
    agent_id: str = ""
    dependencies: tuple[str, ...] = ()
    depth: int = 0
    """Length of the longest chain of tasks that it waits for."""
    state: str = "PENDING"
    attempt: int = 0
    ran_us: int = 0
    """How long its attempts that have ended took together."""
    attempt_us: int | None = None
    """When its attempt that runs began."""
    ended_us: int | None = None
    retry_us: int | None = None
    tokens: int = 0
    failure: str = ""
    attempt_failure: str = ""
    """What ended the last attempt that this watch saw fail."""
    text: str = ""
    """The end of what its running attempt has written."""
    written: int = 0
    """Characters that its running attempt has written."""
    uncounted: int = 0
    """Those of them that came after its tokens were last counted."""

    def took_us(self, now_us: int) -> int | None:
        """Return how long its attempts have taken so far, waiting left out; None before the first."""
        if not self.attempt:
            return None
        return self.ran_us + (0 if self.attempt_us is None else max(0, now_us - self.attempt_us))

    def write(self, offset: int, text: str) -> None:
        """Put text of a delta in its place; only the end is kept."""
        kept = len(self.text) - max(0, self.written - offset)
        self.text = (self.text[: max(0, kept)] + text)[-TEXT_KEPT:]
        self.uncounted = max(0, self.uncounted + offset + len(text) - self.written)
        self.written = offset + len(text)


@dataclass(slots=True)
class Progress:
    """A workflow and its tasks in the order of the plan. Feed it each item of one watch with `apply`."""

    workflow_id: str
    title: str = ""
    state: str = "PLANNING"
    created_us: int | None = None
    ended_us: int | None = None
    failure: str = ""
    tokens: int = 0
    tasks: dict[str, TaskProgress] = field(default_factory=dict)
    cursor: str = ""
    """Of the last item that was shown; set by whoever shows it."""
    lost: str = ""
    """What is to be said while the server is away; empty while it is there."""
    whole: bool = True
    """Whether the sums hold everything: not where a watch began in the middle."""
    incomplete: bool = False
    """Whether a change of the plan was too large for its event: list the tasks and `learn` them."""
    _planned: bool = False
    _started: bool = False
    _clock_ahead_us: int | None = None
    _spent: dict[tuple[str, int], int] = field(default_factory=dict)
    """(task, attempt) -> tokens that are counted already."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in WORKFLOW_ENDED

    def apply(self, item: WatchItem, now_us: int) -> None:
        """Take in the next item; `now_us` is this machine's clock."""
        match item:
            case Snapshot():
                self._set_workflow(item.workflow)
                self.tokens = tokens_of(item.workflow.usage)
                self.learn(item.tasks)
            case Event():
                time_us = item.message.time.ToMicroseconds()
                # The latest event is the freshest: how far its time lies ahead tells how far the server's clock does.
                ahead = time_us - now_us
                self._clock_ahead_us = ahead if self._clock_ahead_us is None else max(ahead, self._clock_ahead_us)
                self._apply_event(item.message.WhichOneof("body") or "", item.body, time_us)
            case Delta():
                task = self.tasks.get(item.task_id)
                if task is not None and task.state == "RUNNING":
                    task.write(item.offset, item.text)

    def server_now_us(self, now_us: int) -> int:
        """Return the server's time as far as it can be told from the events so far."""
        return now_us + (self._clock_ahead_us or 0)

    def learn(self, tasks: Iterable[Task]) -> None:
        """Take in tasks as the server lists them; they replace what was known of them."""
        for task in tasks:
            known = self._known(task.id)
            _set_plan(known, task)
            known.state = short_name(TaskState, task.state)
            known.ran_us = task.run_time.ToMicroseconds()
            known.attempt_us = _time(task, "attempt_start_time") if known.state == "RUNNING" else None
            known.ended_us = _time(task, "end_time")
            known.retry_us = _time(task, "retry_time")
            known.failure = task.failure.message
            known.attempt = task.attempt
            known.tokens = tokens_of(task.usage)
            self._spent[task.id, task.attempt] = known.tokens
        self.incomplete = False
        self._measure()

    def _set_workflow(self, workflow: Workflow) -> None:
        self.title = workflow.title
        self.state = short_name(WorkflowState, workflow.state)
        self.created_us = _time(workflow, "create_time")
        self.ended_us = _time(workflow, "end_time")
        self.failure = workflow.failure.message
        self._planned = workflow.plan_revision > 0
        self._started = workflow.HasField("start_time")

    def _apply_event(self, name: str, body: Any, time_us: int) -> None:
        if name in _WORKFLOW_AFTER:
            self.state = _WORKFLOW_AFTER[name]
            self.ended_us = time_us if self.ended else None
        self._planned = self._planned or name == "plan_adopted"
        self._started = self._started or name == "workflow_started"
        if name == "workflow_resumed":
            self.state = "RUNNING" if self._started else "READY" if self._planned else "PLANNING"
        match name:
            case "workflow_created":
                self._set_workflow(body.workflow)
            case "workflow_failed":
                self.failure = body.failure.message
            case "plan_adopted" | "plan_amended":
                self._amend(name, body)
            case "usage_recorded":
                self._count(body.task_id, body.attempt, tokens_of(body.usage))
            case _ if name.startswith(("task_", "attempt_")):
                if name == "task_updated":
                    _set_plan(self._known(body.task.id), body.task)
                elif body.task_id:
                    self._apply_to_task(self._known(body.task_id), name, body, time_us)

    def _apply_to_task(self, task: TaskProgress, name: str, body: Any, time_us: int) -> None:
        task.state = _TASK_AFTER.get(name, task.state)
        task.ended_us = time_us if task.state in TASK_ENDED else None
        if task.state != "RUNNING" and task.attempt_us is not None:
            task.ran_us += max(0, time_us - task.attempt_us)
            task.attempt_us = None
        match name:
            case "attempt_started":
                if body.attempt > task.attempt:  # else it has been learnt already
                    task.attempt, task.attempt_us = body.attempt, time_us
                task.text, task.written, task.uncounted, task.failure = "", 0, 0, ""
            case "task_retry_scheduled":
                task.retry_us = body.retry_time.ToMicroseconds()
            case "attempt_failed" | "attempt_timed_out" | "task_failed" | "task_skipped" | "task_cancelled":
                task.failure = body.failure.message
                if name in {"attempt_failed", "attempt_timed_out"}:
                    task.attempt_failure = task.failure

    def _amend(self, name: str, body: Any) -> None:
        added = body.tasks if name == "plan_adopted" else [*body.added, *body.changed]
        for task in added:
            _set_plan(self._known(task.id), task)
        if name == "plan_amended":
            for task_id in body.removed_task_ids:
                self.tasks.pop(task_id, None)
        self.incomplete = self.incomplete or body.tasks_omitted
        self._measure()

    def _count(self, task_id: str, attempt: int, tokens: int) -> None:
        more = max(0, tokens - self._spent.get((task_id, attempt), 0))
        self._spent[task_id, attempt] = max(tokens, self._spent.get((task_id, attempt), 0))
        self.tokens += more
        if task_id:
            task = self._known(task_id)
            task.tokens += more
            task.uncounted = 0

    def _known(self, task_id: str) -> TaskProgress:
        return self.tasks.setdefault(task_id, TaskProgress(task_id))

    def _measure(self) -> None:
        """Set every task's depth. A plan may name a task before those it depends on."""
        depths: dict[str, int] = {}
        for first in self.tasks:
            open_ids = [first]
            while open_ids:
                task = self.tasks[open_ids[-1]]
                unmeasured = [one for one in task.dependencies if one in self.tasks and one not in depths]
                if unmeasured and task.id not in depths:
                    depths.setdefault(task.id, 0)  # a cycle, which no server sends, would not end otherwise
                    open_ids.extend(unmeasured)
                    continue
                open_ids.pop()
                task.depth = 1 + max((depths.get(one, 0) for one in task.dependencies), default=-1)
                depths[task.id] = task.depth


def tokens_of(usage: Usage) -> int:
    """Return the tokens sent and received."""
    return usage.input_tokens + usage.output_tokens


def _set_plan(task: TaskProgress, planned: Task | PlanTask) -> None:
    task.title = planned.title
    task.agent_id = planned.agent_id
    task.dependencies = tuple(planned.dependencies)


def _time(message: Any, name: str) -> int | None:
    time_us: int = getattr(message, name).ToMicroseconds()
    return time_us if message.HasField(name) else None
