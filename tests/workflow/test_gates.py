"""Who may not approve may not take an approval away either: not by an edit, by planning anew, nor by a skip."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orcs_server.errors import PermissionDenied
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import take
from orcs_server.workflow.edits import AddTask, ChangeTask, PlanEdit, RemoveTask, SetDependencies
from orcs_server.workflow.model import ApprovalPolicy, Budget, Digest, Output, TaskSpec, Usage, WorkflowSpec
from orcs_server.workflow.people import Decision, MessageMode
from orcs_server.workflow.state import WorkflowState

QUERY = Digest("q" * 64)
DONE = Digest("d" * 64)
AGENTS = (("worker", "r1"),)


def task(name: str, *dependencies: str, **spec: object) -> TaskSpec:
    return TaskSpec(name, name, Digest("a" * 64), "worker", dependencies, **spec)  # type: ignore[arg-type]


def gated(policy: ApprovalPolicy = ApprovalPolicy.NONE) -> WorkflowState:
    """A gate, what rests on it, what rests on that, and something beside it."""
    plan = (task("gate", needs_approval=True), task("then", "gate"), task("last", "then"), task("beside"))
    spec = WorkflowSpec(title="T", query=QUERY, agents=AGENTS, approval_policy=policy)
    state, _ = take(None, m.CreateWorkflow("n", "w", spec, plan), 0)
    assert state is not None
    return state


LIFTING: list[tuple[PlanEdit, ...]] = [
    (ChangeTask("gate", needs_approval=False),),
    (ChangeTask("gate", optional=True),),
    (ChangeTask("then", optional=True),),
    (SetDependencies("then", ()),),
    (SetDependencies("last", ("beside",)),),
    (SetDependencies("then", ()), RemoveTask("gate"), AddTask(task("again"))),
]
HARMLESS: list[tuple[PlanEdit, ...]] = [
    (ChangeTask("gate", description=DONE),),
    (ChangeTask("beside", optional=True),),
    (RemoveTask("beside"),),
    (RemoveTask("last"),),
    (SetDependencies("last", ("gate",)),),
    (AddTask(task("more", needs_approval=True)),),
]
REPLANS: list[m.Control] = [
    m.Replan(DONE, may_approve=False),
    m.SendMessage(DONE, MessageMode.REPLAN, may_approve=False),
]


@pytest.mark.parametrize("edits", LIFTING)
def test_an_edit_that_takes_a_gate_away_is_for_those_who_may_approve(edits: tuple[PlanEdit, ...]) -> None:
    with pytest.raises(PermissionDenied, match="Task gate needs approval"):
        take(gated(), m.EditPlan(edits, may_approve=False), 1)
    assert take(gated(), m.EditPlan(edits), 1)[1]
    # Under the policy PLAN somebody else is shown the new plan anyway.
    assert take(gated(ApprovalPolicy.PLAN), m.EditPlan(edits, may_approve=False), 1)[1]


@pytest.mark.parametrize("edits", HARMLESS)
def test_any_other_edit_is_for_everybody(edits: tuple[PlanEdit, ...]) -> None:
    assert take(gated(), m.EditPlan(edits, may_approve=False), 1)[1]


@pytest.mark.parametrize("name", ["gate", "then", "last"])
def test_what_a_gate_holds_up_is_skipped_only_by_those_who_may_approve(name: str) -> None:
    with pytest.raises(PermissionDenied, match="Task gate needs approval"):
        take(gated(), m.SkipTask(name, may_approve=False), 1)
    assert take(gated(), m.SkipTask(name), 1)[1]
    assert take(gated(), m.SkipTask("beside", may_approve=False), 1)[1]


def test_nothing_of_a_plan_that_is_not_approved_is_skipped_by_those_who_may_not_approve_it() -> None:
    state = gated(ApprovalPolicy.PLAN)
    skip = m.SkipTask("beside", output=Output(DONE, "text/plain", 4), may_approve=False)
    with pytest.raises(PermissionDenied, match="The plan is not approved yet"):
        take(state, skip, 1)
    assert take(state, m.SkipTask("beside"), 1)[1]
    (asked,) = state.waiting()
    decision = m.ResolveApproval(asked.id, Decision.APPROVE, asked.need.shown, principal="bob")
    approved, _ = take(state, decision, 1)
    assert take(approved, skip, 2)[1]
    rejected, _ = take(state, replace(decision, decision=Decision.REJECT), 1)
    assert rejected is not None
    assert rejected.terminal
    with pytest.raises(PermissionDenied, match="The plan is not approved yet"):
        take(rejected, skip, 2)


@pytest.mark.parametrize("request_", REPLANS)
def test_planning_anew_does_not_take_a_gate_away(request_: m.Control) -> None:
    with pytest.raises(PermissionDenied, match="Task gate needs approval"):
        take(gated(), request_, 1)
    state, _ = take(gated(), m.SkipTask("gate"), 1)
    assert take(state, request_, 2)[1]


def test_a_budget_that_is_used_up_is_raised_only_by_those_who_may_approve() -> None:
    spec = WorkflowSpec(title="T", query=QUERY, agents=AGENTS, budget=Budget(tokens=10))
    state, _ = take(None, m.CreateWorkflow("n", "w", spec, (task("a"),)), 0)
    more = m.UpdateWorkflow(Budget(tokens=20), may_approve=False)
    before, events = take(state, more, 1)
    assert events, "what nobody is asked about needs no approval"
    for report in (m.SlotGranted(1, "a"), m.UsageRecorded(1, 1, Usage(input_tokens=20), "a")):
        before, _ = take(before, report, 2)
    with pytest.raises(PermissionDenied, match="used up"):
        take(before, m.UpdateWorkflow(Budget(tokens=40), may_approve=False), 3)
    assert take(before, m.UpdateWorkflow(priority=5, may_approve=False), 3)[1]
    assert take(before, m.UpdateWorkflow(Budget(tokens=40)), 3)[1]


def test_a_skip_looks_for_gates_along_every_way_and_once() -> None:
    plan = (
        task("gate", needs_approval=True),
        task("left", "gate"),
        task("right", "gate"),
        task("join", "left", "right"),
    )
    spec = WorkflowSpec(title="T", query=QUERY, agents=AGENTS)
    state, _ = take(None, m.CreateWorkflow("n", "w", spec, plan), 0)
    with pytest.raises(PermissionDenied, match="Task gate needs approval"):
        take(state, m.SkipTask("join", may_approve=False), 1)
    assert take(state, m.SkipTask("join"), 1)[1]
