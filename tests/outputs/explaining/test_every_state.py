"""At every point of every scenario of the core there is an explanation: nothing stands still without a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcs_server.errors import OrcsError
from orcs_server.outputs.explaining.explain import explain
from orcs_server.outputs.explaining.explanation import Explanation
from orcs_server.outputs.explaining.history import History
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.edits import ChangeTask
from orcs_server.workflow.model import ApprovalPolicy, Budget, Digest, StopMode, Usage
from orcs_server.workflow.people import Decision, InputKind, Need
from tests.outputs.explaining.played import BROKEN, OUTAGE, REFUSED, TEXT, Played, explained, output, task
from tests.workflow.rows import through_rows
from tests.workflow.scenario import Scenario, scenarios


class Told(Scenario):
    """A scenario that is explained after each of its lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.records: list[EventRecord] = []
        self.explanations: list[Explanation] = []

    def _move(self, event: e.Event) -> None:
        super()._move(event)
        seq = len(self.records) + 1
        self.records.append(EventRecord("ns", "w", seq, self.now_us, "orcs", "", event, seq))

    def _due_now(self) -> Iterator[str]:
        yield from super()._due_now()
        if self.state is None:
            return
        told = explained(self.state, self.records, self.now_us)
        # What is stored is enough, the log may come in pieces, and nothing depends on chance.
        state = through_rows(self.state)
        history = History(state, [task.task_id for task in told.tasks])
        for start in range(0, len(self.records), 3):
            history.learn(self.records[start : start + 3])
        assert explain(state, history, self.now_us) == told
        # Where a log does not go back far enough, what there is is told.
        explained(self.state, self.records[len(self.records) // 2 :], self.now_us)
        self.explanations.append(told)


@pytest.mark.parametrize("path", scenarios(), ids=lambda path: path.stem)
def test_at_every_point_the_workflow_and_each_task_has_a_reason(path: Path) -> None:
    scenario = Told(path)
    scenario.transcript()
    assert scenario.explanations or scenario.state is None
    for told in scenario.explanations:
        _has_reasons(told)


def _has_reasons(told: Explanation) -> None:
    assert told.why, told
    assert all(attempt.ending is not None for attempt in told.attempts.latest[:-1])
    for one in told.tasks:
        assert one.why, one
        assert all(reason.text.endswith((".", "!", "?", "…")) for reason in (*one.why, *one.past.latest))
        latest = one.attempts.latest
        assert all(attempt.ending is not None for attempt in latest[:-1])
        assert (one.status == "RUNNING") == bool(latest and latest[-1].ending is None), one


# Any course of things


def _choices(played: Played, draw: Random) -> list[m.Message]:
    """Messages that might be said now, sensible and otherwise."""
    state = played.state
    names = sorted(state.tasks) or ["x"]
    name = draw.choice(names)
    attempt = played.attempt(name) if state.tasks else 0
    planner = state.progress.planning.attempt
    asked = draw.choice(sorted(state.inputs.values(), key=lambda one: one.ordinal)) if state.inputs else None
    mode = draw.choice(list(StopMode))
    found: list[m.Message] = [
        *(m.SlotGranted(played.attempt(each) + 1, each) for each in names if state.tasks),
        *(
            m.AttemptFinished(each, played.attempt(each), output(draw.choice("ab")), read=9)
            for each in names
            if state.tasks
        ),
        m.SlotGranted(planner + 1),
        m.PlanMade(planner, tuple(task(f"{letter}{planner}") for letter in "pq"), read=9),
        m.PlanFailed(planner, draw.choice([BROKEN, OUTAGE, REFUSED])),
        m.AttemptFinished(name, attempt, failure=draw.choice([BROKEN, OUTAGE, REFUSED])),
        m.AttemptSuspended(attempt, (Need(InputKind.QUESTION, "Which?"),), name),
        m.AttemptInterrupted(attempt, name),
        m.AttemptLost(attempt, name),
        m.UsageRecorded(attempt, draw.randrange(1, 9), Usage(1, draw.randrange(9)), name),
        m.Tick(),
        m.ResourcesGranted(),
        m.ResourcesReleased(),
        m.StartWorkflow(),
        m.PauseWorkflow(mode, "why", freeze=draw.random() < 0.3),
        m.ResumeWorkflow(),
        m.ResumeWorkflow(freeze=True),
        m.RetryTask(name, include_dependants=draw.random() < 0.5),
        m.SkipTask(name),
        m.CancelTask(name),
        m.Replan(TEXT),
        m.EditPlan((ChangeTask(name, description=Digest(draw.choice("12") * 64)),)),
        m.SendMessage(TEXT),
        m.UpdateWorkflow(Budget(tokens=draw.randrange(1, 50))),
    ]
    if draw.random() < 0.05:
        found = [m.CancelWorkflow(mode)]
    if asked is not None:
        decision = draw.choice([Decision.APPROVE, Decision.APPROVE, Decision.REJECT])
        found.append(m.AnswerInput(asked.id, TEXT, "bob"))
        found.append(m.ResolveApproval(asked.id, decision, asked.need.shown, draw.choice(["", "no"]), "bob"))
    return found


@given(st.integers(0, 2**32))
@settings(max_examples=150)
def test_whatever_happens_everything_has_a_reason(seed: int) -> None:
    draw = Random(seed)  # noqa: S311 - nothing is guessed
    tasks = (task("x"), task("y", "x", needs_approval=draw.random() < 0.3), task("z", "y"), task("u", optional=True))
    played = Played(
        *(tasks if draw.random() < 0.7 else ()),
        frozen="" if draw.random() < 0.1 else None,
        query=TEXT,
        auto_start=draw.random() < 0.8,
        holds_resources=draw.random() < 0.2,
        max_parallel_tasks=draw.choice([1, 2, 64]),
        approval_policy=draw.choice(list(ApprovalPolicy)),
        budget=Budget(tokens=draw.choice([None, 20])),
        max_losses=1,
    )
    for _ in range(30):
        try:
            played.say(draw.choice(_choices(played, draw)), actor=draw.choice(["orcs", "bob"]))
        except OrcsError:
            continue  # The core refused it.
        _has_reasons(played.explanation())
