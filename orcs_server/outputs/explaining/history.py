"""What the log says that the rows do not: who paused it and why, what a task was reopened for, how each attempt ended.

The log is taken in piece by piece, and of what it says a bounded part is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from orcs_server.outputs.explaining.attempts import AttemptsSeen
from orcs_server.outputs.explaining.explanation import Past, Reason, ReasonCode
from orcs_server.outputs.explaining.words import because, by, counted, listed, person
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.model import Budget, Failure, FailureKind
from orcs_server.workflow.people import InputKind, Resolution
from orcs_server.workflow.state import WorkflowState

PAST_LIMIT: Final = 50
"""Things that happened to a workflow that are told of one by one."""
TASK_PAST_LIMIT: Final = 20
"""The same of a task."""

_KINDS: Final = {
    InputKind.QUESTION: "the question",
    InputKind.PLAN_APPROVAL: "the plan's approval",
    InputKind.TASK_APPROVAL: "the task's approval",
    InputKind.TOOL_APPROVAL: "the tool's approval",
    InputKind.BUDGET: "the larger budget",
    InputKind.UNSAFE_RERUN: "the leave to run a tool again",
}
_RESOLUTIONS: Final = {
    Resolution.ANSWERED: "was answered",
    Resolution.APPROVED: "was given",
    Resolution.REJECTED: "was refused",
    Resolution.EDITED: "was given with a change",
    Resolution.DEFAULTED: "got its default answer, for nobody had answered in time",
    Resolution.EXPIRED: "was not given in time",
    Resolution.WITHDRAWN: "was withdrawn, for nobody needs it any more",
}
_ENDS = (e.TaskCompleted, e.TaskFailed, e.TaskSkipped, e.TaskCancelled)


class _Kept:
    """The latest of what happened, and how much came before."""

    def __init__(self, limit: int) -> None:
        self._latest: deque[Reason] = deque(maxlen=limit)
        self._count = 0

    def add(self, reason: Reason) -> None:
        self._latest.append(reason)
        self._count += 1

    def shown(self) -> Past:
        return Past(tuple(self._latest), self._count - len(self._latest))


class TaskHistory:
    """What the log says of one task."""

    def __init__(self, state: WorkflowState, task_id: str) -> None:
        self.attempts = AttemptsSeen()
        self.output_us: int | None = None
        """When its latest attempt that succeeded did."""
        self.reused = False
        """Its output is one from before it was reopened."""
        self._state = state
        self._task_id = task_id
        self._past = _Kept(TASK_PAST_LIMIT)
        self._ended: e.Event | None = None
        self._keeps = ""
        """The task because of which it was reopened while its old output may still be good."""

    def past(self) -> Past:
        return self._past.shown()

    def learn(self, record: EventRecord) -> None:
        """Take in the next event that is about the task."""
        self.attempts.learn(record)
        for code, text, others in self._said(record):
            self._add(record, code, text, others)
        if isinstance(record.event, _ENDS):
            self._ended = record.event

    def _add(self, record: EventRecord, code: ReasonCode, text: str, others: tuple[str, ...] = ()) -> None:
        event = record.event
        input_id = event.input.id if isinstance(event, e.InputRequested) else getattr(event, "input_id", "")
        why: Failure | None = getattr(event, "failure", None)
        self._past.add(Reason(code, text, others, input_id, record.time_us, person(record.actor), why))

    def _said(self, record: EventRecord) -> Iterable[tuple[ReasonCode, str, tuple[str, ...]]]:  # noqa: C901, PLR0912 - one branch for each event
        event, who = record.event, by(record.actor)
        match event:
            case e.PlanAmended():
                yield ReasonCode.PLAN_CHANGED, self._amended(event, who), ()
            case e.TaskReopened():
                yield self._reopened(event, who)
            case e.TaskStale():
                said = f"Its output is stale: it rests on that of {event.cause}, which is made anew."
                yield ReasonCode.STALE, said, (event.cause,)
            case e.AttemptStarted() if self._keeps:
                said = f"What it rests on came out otherwise once {self._keeps} was carried out again: its old output was not reused."
                yield ReasonCode.INPUTS_CHANGED, said, (self._keeps,)
                self._keeps = ""
            case e.AttemptSucceeded():
                self.output_us = record.time_us
            case e.TaskCompleted():
                self.reused = event.reused
                if event.reused:
                    yield ReasonCode.OUTPUT_REUSED, "Its old output was reused: it rests on the same again.", ()
                self._keeps = ""
            case e.AttemptLost():
                rest = ", after finished calls that the next attempt does not repeat" if event.progressed else ""
                yield ReasonCode.LOSSES, f"Attempt {event.attempt} was lost together with its server{rest}.", ()
            case e.TaskRetryScheduled():
                yield ReasonCode.RETRY_SCHEDULED, "It is tried again after a pause.", ()
            case e.TaskSkipped() if not event.cause:
                yield ReasonCode.SKIPPED_BY_PERSON, f"It was skipped{who}{because(event.failure.message)}", ()
            case e.TaskSkipped():
                said = f"It was skipped: {event.cause} did not complete."
                yield ReasonCode.DEPENDENCY_FAILED, said, (event.cause,)
            case e.TaskFailed():
                yield ReasonCode.FAILED, f"It failed{because(event.failure.message)}", ()
            case e.BudgetExceeded():
                yield (
                    ReasonCode.BUDGET_EXCEEDED,
                    f"It reached its limit of {limit_words(event.budget, event.limit)}.",
                    (),
                )
            case e.InputRequested():
                yield ReasonCode.INPUT_REQUESTED, asked_words(event), ()
            case e.InputResolved():
                yield ReasonCode.INPUT_RESOLVED, resolved_words(self._state, event), ()
            case e.JournalMismatch():
                said = f"Attempt {event.attempt} asked its model something else than the attempts before it, from turn {event.turn} on."
                yield ReasonCode.JOURNAL_MISMATCH, said, ()
            case _:
                pass  # The attempts, or why it stands where it stands, tell of it.

    def _amended(self, event: e.PlanAmended, who: str) -> str:
        if all(spec.id != self._task_id for spec in event.added):
            return f"It was changed{who} in revision {event.revision} of the plan."
        if event.proposer:
            return f"It was added in revision {event.revision} of the plan: {event.proposer} proposed it."
        return f"It was added{who} in revision {event.revision} of the plan."

    def _reopened(self, event: e.TaskReopened, who: str) -> tuple[ReasonCode, str, tuple[str, ...]]:
        ended, self._ended = self._ended, None
        self._keeps = event.cause if event.keeps_output else ""
        others = (event.cause,) if event.cause else ()
        if isinstance(ended, e.TaskCancelled) and ended.failure.kind is not FailureKind.CANCELLED:
            why = f", for {event.cause}" if event.cause else ""
            return ReasonCode.REOPENED, f"It had ended with its workflow, which was reopened{who}{why}.", others
        if isinstance(ended, e.TaskSkipped) and event.cause:
            said = f"It had been skipped, and may be carried out after all: {event.cause} was taken up again{who}."
        elif event.cause and event.keeps_output:
            said = (
                f"It waits for {event.cause}, which is carried out again{who}; its output is kept in case that it rests on the same "
                "again."
            )
        elif event.cause:
            said = f"It waits for {event.cause}, which was taken up again{who}."
        elif ended is None:
            return ReasonCode.REOPENED, f"It was taken back before it went on, because it was changed{who}.", ()
        else:
            conversation = f"conversation {event.run}" if event.run else "its first conversation"
            return ReasonCode.REOPENED, f"It was to be carried out again{who}, in {conversation}.", ()
        return ReasonCode.REOPENED_BY_DEPENDENCY, said, others


class History:
    """What the log says of a workflow, and of some of its tasks."""

    def __init__(self, state: WorkflowState, task_ids: Iterable[str]) -> None:
        self.tasks = {name: TaskHistory(state, name) for name in task_ids}
        self.attempts = AttemptsSeen()
        """The planner's."""
        self.pause: EventRecord | None = None
        """The latest request to pause it."""
        self.freeze: EventRecord | None = None
        """The latest freeze of its namespace."""
        self.cancel: EventRecord | None = None
        """The latest request to cancel it."""
        self.plan_failure: Failure | None = None
        """Of the latest rejection of a plan."""
        self.resources_since_us: int | None = None
        """Since when it asks for resources, or gives them back."""
        self.causes: dict[str, str] = {}
        """Task that was skipped -> the task that did not complete."""
        self._state = state
        self._past = _Kept(PAST_LIMIT)

    def past(self) -> Past:
        return self._past.shown()

    def learn(self, records: Iterable[EventRecord]) -> None:
        """Take in the next events of the log."""
        for record in records:
            event = record.event
            named = event.input.task_id if isinstance(event, e.InputRequested) else getattr(event, "task_id", "")
            if named:
                if isinstance(event, e.TaskSkipped):
                    self.causes[named] = event.cause
                if named in self.tasks:
                    self.tasks[named].learn(record)
                continue
            self.attempts.learn(record)
            self._note(record)
            if isinstance(event, e.PlanAmended):
                for spec in (*event.added, *event.changed):
                    if spec.id in self.tasks:
                        self.tasks[spec.id].learn(record)

    def _note(self, record: EventRecord) -> None:
        event = record.event
        match event:
            case e.WorkflowPausing() if event.freeze:
                self.freeze = record
            case e.WorkflowPausing():
                self.pause = record
            case e.WorkflowCancelRequested():
                self.cancel = record
            case e.PlanRejected():
                self.plan_failure = event.failure
            case e.WorkflowStarted() | e.WorkflowReopened() | e.WorkflowCompleted() | e.WorkflowFailed():
                self.resources_since_us = record.time_us
            case _:
                pass
        told = _told(self._state, record)
        if told is not None:
            code, text = told
            input_id = event.input.id if isinstance(event, e.InputRequested) else getattr(event, "input_id", "")
            why: Failure | None = getattr(event, "failure", None)
            actor = "" if born_frozen(self._state, record) else person(record.actor)
            self._past.add(Reason(code, text, (), input_id, record.time_us, actor, why))


def born_frozen(state: WorkflowState, record: EventRecord) -> bool:
    """Whether the event is the freeze into which the workflow was created; who created it did not freeze."""
    event = record.event
    return isinstance(event, e.WorkflowPausing) and event.freeze and record.time_us == state.progress.created_us


def _told(state: WorkflowState, record: EventRecord) -> tuple[ReasonCode, str] | None:  # noqa: C901, PLR0911, PLR0912 - one branch for each event
    """Return what is told of an event of the workflow as a whole; None where nothing is."""
    event, who = record.event, by(record.actor)
    match event:
        case e.WorkflowCreated():
            return ReasonCode.CREATED, f"It was created{who}."
        case e.PlanRejected():
            again = "" if event.retry_at_us is None else " Planning is tried again."
            return ReasonCode.PLAN_REJECTED, (
                f"Attempt {event.attempt} of the planner brought no plan"
                f"{because(event.problems[0] if event.problems else event.failure.message)}{again}"
            )
        case e.PlanAdopted():
            return ReasonCode.PLAN_ADOPTED, (
                f"A plan of {counted(len(event.tasks), 'task')} was adopted, made by the {event.source.lower()}."
            )
        case e.PlanAmended():
            return ReasonCode.PLAN_CHANGED, _amended(event, who)
        case e.ReplanRequested():
            return ReasonCode.REPLAN_REQUESTED, f"What had not begun was to be planned anew{who}{because(event.reason)}"
        case e.WorkflowStarted():
            return ReasonCode.STARTED, "It started."
        case e.WorkflowPausing():
            if born_frozen(state, record):
                return ReasonCode.FROZEN, f"Its namespace was frozen already{because(event.reason)}"
            what = "Its namespace was frozen" if event.freeze else "It was paused"
            return (ReasonCode.FROZEN if event.freeze else ReasonCode.PAUSED), f"{what}{who}{because(event.reason)}"
        case e.WorkflowResumed():
            if event.freeze:
                return ReasonCode.THAWED, f"Its namespace was thawed{who}."
            return ReasonCode.RESUMED, f"It was resumed{who}."
        case e.WorkflowCancelRequested():
            return ReasonCode.CANCEL_REQUESTED, f"Its cancellation was asked for{who}{because(event.reason)}"
        case e.WorkflowReopened():
            return ReasonCode.REOPENED, f"It was reopened{who}."
        case e.WorkflowUpdated():
            names = [name for name in ("budget", "labels", "priority") if getattr(event, name) is not None]
            were = "was" if names in (["budget"], ["priority"]) else "were"
            return ReasonCode.UPDATED, f"Its {listed(names)} {were} changed{who}."
        case e.WorkflowCompleted():
            return ReasonCode.COMPLETED, "It completed."
        case e.WorkflowFailed():
            return ReasonCode.FAILED, f"It failed{because(event.failure.message)}"
        case e.WorkflowCancelled():
            return ReasonCode.WORKFLOW_CANCELLED, "It was cancelled."
        case e.ResourcesAllocated():
            return ReasonCode.RESOURCES_GRANTED, "Its resources were granted."
        case e.AttemptLost():
            return ReasonCode.LOSSES, f"Attempt {event.attempt} of the planner was lost together with its server."
        case e.BudgetExceeded():
            return ReasonCode.BUDGET_EXCEEDED, f"It reached its limit of {limit_words(event.budget, event.limit)}."
        case e.InputRequested():
            return ReasonCode.INPUT_REQUESTED, asked_words(event)
        case e.InputResolved():
            return ReasonCode.INPUT_RESOLVED, resolved_words(state, event)
        case e.MessageReceived():
            return ReasonCode.MESSAGE_RECEIVED, f"The message {event.message.id} was sent{who}."
        case _:
            return None


def _amended(event: e.PlanAmended, who: str) -> str:
    changes = (("added", event.added), ("changed", event.changed), ("removed", event.removed))
    said = listed([f"{len(tasks)} {word}" for word, tasks in changes if tasks] or ["nothing"])
    made = f": {event.proposer} proposed it" if event.proposer else who
    return f"The plan got revision {event.revision} with {counted(event.task_count, 'task')}, {said}{made}."


def limit_words(budget: Budget, limit: str) -> str:
    """Return a limit in its unit."""
    value = getattr(budget, limit)
    if limit == "wall_time_us":
        return f"{value / 1e6:g} s of wall time"
    return f"{value:,} tokens" if limit == "tokens" else f"{value / 1e6:,.6f} in cost"


def asked_words(event: e.InputRequested) -> str:
    """Return what a person was asked for."""
    return f"{event.input.id} was asked: {_KINDS[event.input.need.kind]}{because(event.input.need.prompt)}"


def resolved_words(state: WorkflowState, event: e.InputResolved) -> str:
    """Return how what was asked came to its end."""
    asked = state.inputs.get(event.input_id)
    what = "it" if asked is None else _KINDS[asked.need.kind]
    return f"{event.input_id}, {what}, {_RESOLUTIONS[event.resolution]}{by(event.principal)}{because(event.reason)}"
