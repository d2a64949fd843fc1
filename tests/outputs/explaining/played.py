"""A workflow that the core itself moves on, with the log that this makes."""

from __future__ import annotations

from collections.abc import Iterable

from orcs_server.identity.quotas import UsedUp
from orcs_server.outputs.explaining.explain import explain
from orcs_server.outputs.explaining.explanation import Explanation, Reason, ReasonCode, TaskExplanation
from orcs_server.outputs.explaining.history import History
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import take
from orcs_server.workflow.model import Digest, Failure, FailureKind, Output, TaskSpec, Usage, WorkflowSpec
from orcs_server.workflow.state import WorkflowState
from tests.workflow.rows import through_rows

TEXT = Digest("0" * 64)
SECOND = 1_000_000
BROKEN = Failure(FailureKind.SERVER_ERROR, "The server broke.", retryable=True)
REFUSED = Failure(FailureKind.REFUSED, "The model refused.")
OUTAGE = Failure(FailureKind.CONNECTION, "Nothing listens there.", retryable=True, spares_budget=True)


def output(letter: str = "a") -> Output:
    return Output(Digest(letter * 64), "text/plain", 1)


def task(name: str, *after: str, **more: object) -> TaskSpec:
    return TaskSpec(name, name.upper(), TEXT, "a", tuple(after), **more)  # type: ignore[arg-type]


def explained(
    state: WorkflowState, records: Iterable[EventRecord], now_us: int, used_up: UsedUp | None = None
) -> Explanation:
    """Return the explanation of a state and of all its tasks, given all of its log."""
    history = History(state, [task.spec.id for task in state.tasks_in_order()])
    history.learn(records)
    return explain(state, history, now_us, used_up)


class Played:
    """Says messages to a workflow. One second passes before each."""

    def __init__(self, *tasks: TaskSpec, frozen: str | None = None, **spec: object) -> None:
        self.now_us = 100 * SECOND
        self.records: list[EventRecord] = []
        self._state: WorkflowState | None = None
        whole = WorkflowSpec("W", agents=(("a", "1"), ("b", "1")), **spec)  # type: ignore[arg-type]
        within = m.CreateWorkflow("ns", "w", whole, tasks or None, frozen is not None, frozen or "")
        self.say(within, actor="ada")

    @property
    def state(self) -> WorkflowState:
        assert self._state is not None
        return self._state

    def say(self, *messages: m.Message, actor: str = "orcs", after_us: int = SECOND) -> Played:
        for message in messages:
            self.now_us += after_us
            self._state, events = take(self._state, message, self.now_us)
            for event in events:
                seq = len(self.records) + 1
                self.records.append(EventRecord("ns", "w", seq, self.now_us, actor, "", event, seq))
        return self

    # What attempts do

    def begin(self, *names: str) -> Played:
        for name in names:
            self.say(m.SlotGranted(self.attempt(name) + 1, name))
        return self

    def complete(self, *names: str, letter: str = "a") -> Played:
        for name in names:
            self.begin(name).say(m.AttemptFinished(name, self.attempt(name), output(letter), read=len(self.state.mail)))
        return self

    def fail(self, name: str, failure: Failure) -> Played:
        return self.begin(name).say(m.AttemptFinished(name, self.attempt(name), failure=failure))

    def use(self, name: str, tokens: int, calls: int = 1) -> Played:
        return self.say(m.UsageRecorded(self.attempt(name), calls, Usage(calls, tokens, 0, tokens), name))

    def attempt(self, name: str) -> int:
        return self.state.tasks[name].progress.attempt if name else self.state.progress.planning.attempt

    # What is said of it

    def explanation(self, used_up: UsedUp | None = None) -> Explanation:
        return explained(through_rows(self.state), self.records, self.now_us, used_up)

    def why(self) -> dict[ReasonCode, Reason]:
        """Why the workflow stands where it stands."""
        return {reason.code: reason for reason in self.explanation().why}

    def task(self, name: str) -> TaskExplanation:
        return next(one for one in self.explanation().tasks if one.task_id == name)

    def task_why(self, name: str) -> dict[ReasonCode, Reason]:
        return {reason.code: reason for reason in self.task(name).why}

    def task_past(self, name: str) -> list[ReasonCode]:
        return [reason.code for reason in self.task(name).past.latest]

    def past(self) -> list[ReasonCode]:
        return [reason.code for reason in self.explanation().past.latest]
