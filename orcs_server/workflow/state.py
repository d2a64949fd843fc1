"""The state of a workflow as the core holds it: what was planned, how far it is, and the ordered indexes that make `due` cheap."""

from __future__ import annotations

from enum import StrEnum
from operator import itemgetter

from immutables import Map
from msgspec import Struct

from orcs_server.workflow.model import (
    TERMINAL_INDEXES,
    ResourceStatus,
    TaskProgress,
    TaskSpec,
    WorkflowProgress,
    WorkflowSpec,
)
from orcs_server.workflow.people import InputKind, MessageMode, PendingInput, PersonMessage
from orcs_server.workflow.states import WORKFLOW_TERMINAL, TaskStatus, WorkflowStatus

_ended = itemgetter(*TERMINAL_INDEXES)
_GATES = frozenset({InputKind.PLAN_APPROVAL, InputKind.BUDGET})


class TaskState(Struct, frozen=True):
    """A task: what was planned, how far it is, and its place in the plan."""

    spec: TaskSpec
    ordinal: int
    """0, 1, 2… in the order in which tasks came into the plan; never reused."""
    progress: TaskProgress = TaskProgress()
    unmet: int = 0
    """Dependencies that are not yet done. Derived."""

    @property
    def status(self) -> TaskStatus:
        return self.progress.status


class TimerKind(StrEnum):
    """What a wake-up time is for."""

    NOT_BEFORE = "NOT_BEFORE"
    DEADLINE = "DEADLINE"
    PLAN_RETRY = "PLAN_RETRY"
    PLAN_ATTEMPT = "PLAN_ATTEMPT"
    RETRY = "RETRY"
    ATTEMPT = "ATTEMPT"
    INPUT = "INPUT"
    BUDGET = "BUDGET"


class WorkflowState(Struct, frozen=True):
    """A workflow with its tasks and the ordered indexes that make `due` cheap. The indexes are derived."""

    namespace: str
    id: str
    spec: WorkflowSpec
    progress: WorkflowProgress
    tasks: Map[str, TaskState] = Map()
    dependants: Map[str, tuple[str, ...]] = Map()
    ready: tuple[tuple[int, int, str], ...] = ()
    """(-priority, ordinal, task id) of the READY tasks, sorted."""
    running: tuple[tuple[int, str], ...] = ()
    """(ordinal, task id) of the RUNNING tasks, sorted."""
    timers: tuple[tuple[int, TimerKind, str], ...] = ()
    """(time, kind, task or input id or "") sorted."""
    inputs: Map[str, PendingInput] = Map()
    """All that was ever asked of people, resolved or not."""
    open_inputs: tuple[tuple[int, str], ...] = ()
    """(ordinal, id) of those that wait, sorted."""
    mail: tuple[PersonMessage, ...] = ()
    """Messages of people, in the order in which they came."""

    @property
    def status(self) -> WorkflowStatus:
        return self.progress.status

    @property
    def terminal(self) -> bool:
        return self.progress.status in WORKFLOW_TERMINAL

    @property
    def owes_resources(self) -> bool:
        """The resources hook may have given something that was not taken back."""
        progress = self.progress
        return (
            self.spec.holds_resources
            and progress.started_us is not None
            and progress.resources is not ResourceStatus.RELEASED
        )

    @property
    def running_attempts(self) -> bool:
        """Whether an attempt of a task or of the planner is under way."""
        return bool(self.running) or self.progress.planning.running

    @property
    def settled(self) -> bool:
        """Ended, and nothing left to give back: nothing will ever be due again unless somebody asks."""
        return self.terminal and not self.owes_resources

    @property
    def live_tasks(self) -> int:
        """Tasks that have not ended."""
        ended: int = sum(_ended(self.progress.counts))
        return self.progress.task_count - ended

    @property
    def standing(self) -> WorkflowStatus:
        """Where the workflow stands, apart from being paused or about to end."""
        if self.progress.plan_revision == 0:
            return WorkflowStatus.PLANNING
        return WorkflowStatus.READY if self.progress.started_us is None else WorkflowStatus.RUNNING

    @property
    def plans(self) -> bool:
        """A plan is wanted: the first one, or another one in place of what has not begun."""
        return self.status is WorkflowStatus.PLANNING or self.progress.planning.replanning

    def tasks_in_order(self) -> list[TaskState]:
        """All tasks by ordinal: a map's own order differs between processes, and would break replay."""
        return sorted(self.tasks.values(), key=lambda task: task.ordinal)

    def waiting(self) -> list[PendingInput]:
        """What waits for a person, in the order in which it was asked."""
        return [self.inputs[name] for _, name in self.open_inputs]

    def waiting_for(self, task_id: str) -> list[PendingInput]:
        """What a task waits for; without a task, what the planner asked."""
        return [one for one in self.waiting() if one.task_id == task_id and (task_id or one.need.kind not in _GATES)]

    @property
    def gate(self) -> PendingInput | None:
        """What keeps everything from starting: a plan that is to be approved, or a budget of the whole workflow."""
        return next(
            (one for one in self.waiting() if not one.task_id and one.need.kind in _GATES),
            None,
        )

    @property
    def over_budget(self) -> bool:
        """The whole workflow waits for a larger budget."""
        return any(not one.task_id and one.need.kind is InputKind.BUDGET for one in self.waiting())

    def mail_for(self, task_id: str) -> tuple[PersonMessage, ...]:
        """The messages that a task's agent is to read; without a task, the planner."""
        return tuple(one for one in self.mail if one.task_id in ("", task_id) and one.mode is not MessageMode.REPLAN)
