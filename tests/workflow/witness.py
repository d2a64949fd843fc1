"""Reads along in the log and keeps its own account, written from the promises and not from the code, of what it may say."""

from __future__ import annotations

from collections import Counter

from orcs_server.workflow import events as e
from orcs_server.workflow.due import due, waits_for_people
from orcs_server.workflow.effects import WakeAt
from orcs_server.workflow.model import NO_USAGE, FailureKind, Usage, WorkflowSpec
from orcs_server.workflow.state import TaskState, WorkflowState
from orcs_server.workflow.states import TASK_TERMINAL, TaskStatus, WorkflowStatus

BY_PEOPLE = frozenset({FailureKind.REJECTED, FailureKind.INPUT_EXPIRED, FailureKind.BUDGET_EXCEEDED})
"""Failures that no attempt brought about."""


class Witness:
    """Sees every event in order. Raises AssertionError at the first one that breaks a promise."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec = spec
        self.attempts: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.repairs = 0
        self.usage: dict[tuple[str, int], Usage] = {}
        self.calls: Counter[tuple[str, int]] = Counter()
        self.names: list[str] = []
        self.ended: set[str] = set()
        self.revision = 0
        self.retired: set[str] = set()
        self.asked: dict[str, bool] = {}
        """Whether each input is open."""

    def see(self, event: e.Event, state: WorkflowState) -> None:  # noqa: C901, PLR0912
        """Take note of an event, given the state after it."""
        match event:
            case e.PlanAdopted():
                self._next_revision(event.revision)
                self.names.extend(task.id for task in event.tasks)
            case e.PlanAmended():
                self._next_revision(event.revision)
                self.names = [name for name in self.names if name not in event.removed]
                self.retired.update(event.removed)
                self.names.extend(task.id for task in event.added)
                assert not self.retired & set(self.names), "task ids are never used again"
            case e.PlanningStarted():
                self._next_attempt("", event.attempt)
            case e.AttemptStarted():
                self._next_attempt(event.task_id, event.attempt)
                self._may_start(event, state)
            case e.AttemptSucceeded():
                self.losses[event.task_id] = 0
            case e.AttemptFailed() | e.AttemptTimedOut():
                self.failures[event.task_id] += not event.failure.spares_budget
                self.losses[event.task_id] = 0
            case e.PlanRejected():
                self._may_plan_again(event)
            case e.ReplanRequested():
                self.repairs = self.failures[""] = self.losses[""] = 0
            case e.TaskReopened():
                self.failures[event.task_id] = self.losses[event.task_id] = 0
                assert event.run >= self.runs[event.task_id], "run numbers are never reused"
                self.runs[event.task_id] = event.run
                self.ended.discard(event.task_id)
            case e.AttemptSuspended():
                self.losses[event.task_id] = 0
                assert all(name in self.asked for name in event.input_ids)
            case e.InputRequested():
                assert event.input.id not in self.asked, "ids of inputs are never reused"
                assert len(self.asked) + 1 == event.input.ordinal
                self.asked[event.input.id] = True
            case e.InputResolved():
                assert self.asked[event.input_id], "the first resolution counts"
                self.asked[event.input_id] = False
            case e.WorkflowPaused():
                assert not state.running
                assert not state.progress.planning.running
            case e.AttemptLost():
                self.losses[event.task_id] = 0 if event.progressed else self.losses[event.task_id] + 1
            case e.UsageRecorded():
                key = (event.task_id, event.attempt)
                assert event.attempt == self.attempts[event.task_id], "only the latest attempt's usage counts"
                assert event.calls > self.calls[key], "calls are counted upwards"
                self.calls[key], self.usage[key] = event.calls, event.usage
            case e.TaskFailed():
                self._may_fail(event, state.tasks[event.task_id])
                self._end(event.task_id)
            case e.TaskSkipped(cause=""):
                self.ended.add(event.task_id)
            case e.TaskSkipped():
                cause = state.tasks[event.cause]
                assert event.cause in state.tasks[event.task_id].spec.dependencies
                assert cause.status in TASK_TERMINAL
                assert cause.status is not TaskStatus.COMPLETED
                assert not is_over(cause), "a task that nobody needs takes nobody down"
                self._end(event.task_id)
            case e.TaskCompleted() | e.TaskCancelled():
                self._end(event.task_id)
            case _:
                pass
        assert len(set(self.names)) == len(self.names) == state.progress.task_count, "task ids are never reused"

    def _next_revision(self, revision: int) -> None:
        self.revision += 1
        assert revision == self.revision

    def _next_attempt(self, name: str, attempt: int) -> None:
        self.attempts[name] += 1
        assert attempt == self.attempts[name], "attempt numbers are 1, 2, 3… and never reused"

    def _may_plan_again(self, event: e.PlanRejected) -> None:
        self.losses[""] = 0
        if event.problems:
            self.repairs += 1
            goes_on = self.repairs <= self.spec.max_plan_repairs
        else:
            spared = event.failure.spares_budget
            self.failures[""] += not spared
            within = spared or self.failures[""] < self.spec.retry.max_attempts
            goes_on = event.failure.retryable and within
        assert (event.retry_at_us is not None) == goes_on, "planning has budgets of its own"

    def _may_start(self, event: e.AttemptStarted, state: WorkflowState) -> None:
        assert event.run >= max(self.runs[event.task_id], 1), "run numbers are never reused"
        self.runs[event.task_id] = event.run
        spec, task = state.spec, state.tasks[event.task_id]
        assert state.status is WorkflowStatus.RUNNING
        assert not state.waiting_for(event.task_id), "who waits for people does not run"
        assert state.gate is None
        assert not state.progress.planning.replanning
        assert _tokens(task.progress.usage) < (task.spec.budget.tokens or 10**9), "nothing starts beyond its budget"
        assert len(state.running) <= (1 if spec.execution == "SEQUENTIAL" else spec.max_parallel_tasks)
        assert not spec.holds_resources or state.progress.resources == "GRANTED"
        for name in task.spec.dependencies:
            assert is_over(state.tasks[name]), "no task starts before its dependencies have ended well"

    def _may_fail(self, event: e.TaskFailed, task: TaskState) -> None:
        budget = self.spec.retry.max_attempts if task.spec.max_attempts is None else task.spec.max_attempts
        if event.failure.kind is FailureKind.LOST:
            assert self.losses[event.task_id] > self.spec.max_losses
        elif event.failure.kind not in BY_PEOPLE:
            spent = self.failures[event.task_id] == budget and not event.failure.spares_budget
            assert spent or not event.failure.retryable

    def _end(self, name: str) -> None:
        assert name not in self.ended, "a task ends once, unless it is reopened"
        self.ended.add(name)

    def check(self, state: WorkflowState, now_us: int) -> None:
        """Compare a state at rest with the account."""
        self._check_counters(state)
        self._check_indexes(state)
        self._check_never_stuck(state, now_us)
        _check_inputs(state)
        assert {name for name, is_open in self.asked.items() if is_open} == {name for _, name in state.open_inputs}
        if state.terminal:
            _check_end(state)

    def _check_counters(self, state: WorkflowState) -> None:
        total = dict.fromkeys(["", *self.names], NO_USAGE)
        for (name, _), usage in self.usage.items():
            total[name] = total[name] + usage
        planning = state.progress.planning
        assert planning.usage == total[""]
        assert (planning.attempt, planning.losses) == (self.attempts[""], self.losses[""])
        assert (planning.rejected, planning.failures) == (self.repairs, self.failures[""])
        assert planning.calls == self.calls["", planning.attempt]
        for name, task in state.tasks.items():
            moved = task.progress
            assert moved.usage == total[name]
            assert moved.calls == self.calls[name, moved.attempt], "each attempt counts its own calls"
            assert (moved.attempt, moved.run) == (self.attempts[name], self.runs[name])
            assert (moved.failures, moved.losses) == (self.failures[name], self.losses[name])
        assert state.progress.usage == sum(total.values(), NO_USAGE), "usage totals add up"

    def _check_indexes(self, state: WorkflowState) -> None:
        tasks = sorted(state.tasks.values(), key=lambda task: task.ordinal)
        assert [task.spec.id for task in tasks] == self.names
        counted = Counter(task.status for task in tasks)
        assert state.progress.counts == tuple(counted[status] for status in TaskStatus)
        ready = [(-task.spec.priority, task.ordinal, task.spec.id) for task in tasks if task.status is TaskStatus.READY]
        assert list(state.ready) == sorted(ready)
        assert [name for _, name in state.running] == [t.spec.id for t in tasks if t.status is TaskStatus.RUNNING]
        if (
            state.progress.started_us is not None
            and not state.terminal
            and state.status is not WorkflowStatus.CANCELLING
        ):
            for task in tasks:
                waits = any(not is_over(state.tasks[name]) for name in task.spec.dependencies)
                assert (task.status is TaskStatus.PENDING) <= waits, "a task whose dependencies are met is not held up"
                if task.status is TaskStatus.PENDING:
                    above = [state.tasks[name] for name in task.spec.dependencies]
                    assert all(one.status not in TASK_TERMINAL or is_over(one) for one in above), "it waits in vain"
                elif task.status not in TASK_TERMINAL:
                    assert not waits, "what runs has what it rests on"

    def _check_never_stuck(self, state: WorkflowState, now_us: int) -> None:
        effects = due(state, now_us)
        assert len(effects) == len(set(effects)), "nothing is due twice"
        if state.settled:
            assert effects == []
        else:
            awaited = (
                state.status is WorkflowStatus.PAUSED
                or bool(state.open_inputs)
                or (state.status is WorkflowStatus.READY and not state.spec.auto_start)
            )
            assert effects or awaited, "a live workflow is never stuck"
        if waits_for_people(state):
            assert all(isinstance(effect, WakeAt) for effect in effects), "nothing is under way for it"


def is_over(task: TaskState) -> bool:
    """Say whether a dependency on this task is met."""
    done_without = task.spec.optional or task.progress.waived
    return task.status is TaskStatus.COMPLETED or (done_without and task.status in TASK_TERMINAL)


def _tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens


def _check_inputs(state: WorkflowState) -> None:
    """Whoever waits for people can be told to have asked, and whoever does not need them any more does not wait."""
    for asked in state.waiting():
        if asked.task_id:
            waits = (TaskStatus.RUNNING, TaskStatus.RETRYING, TaskStatus.INPUT_REQUIRED)
            assert state.tasks[asked.task_id].status in waits, asked
    for task in state.tasks.values():
        if task.status is TaskStatus.INPUT_REQUIRED:
            assert state.waiting_for(task.spec.id), "it waits for nobody"
    limit = state.spec.budget.tokens
    if limit is not None and not state.terminal and state.status is not WorkflowStatus.CANCELLING:
        assert _tokens(state.progress.usage) < limit or state.over_budget, "a budget that is used up is asked about"


def _check_end(state: WorkflowState) -> None:
    unfinished = [task for task in state.tasks.values() if task.status not in TASK_TERMINAL]
    assert unfinished == [], "a workflow does not end before its tasks"
    assert not state.open_inputs, "nobody is asked after the end"
    all_well = all(is_over(task) for task in state.tasks.values())
    if state.status is not WorkflowStatus.CANCELLED:
        assert (state.status is WorkflowStatus.COMPLETED) == (all_well and state.progress.failure is None)
    assert (state.status is WorkflowStatus.FAILED) == (state.progress.failure is not None)
    for task in state.tasks.values():
        assert task.status is not TaskStatus.COMPLETED or task.progress.output is not None
        assert task.progress.output is None or task.status is TaskStatus.COMPLETED or task.progress.waived
        if state.spec.failure_policy == "ISOLATE" and task.status is TaskStatus.SKIPPED and not task.progress.waived:
            causes = [state.tasks[name] for name in task.spec.dependencies]
            assert any(not is_over(cause) for cause in causes), "a failed task skips only its dependants"
