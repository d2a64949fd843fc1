"""What people may ask of a workflow at any time: mostly what its state allows, sometimes not."""

from __future__ import annotations

from hypothesis import strategies as st

from orcs_server.workflow import messages as m
from orcs_server.workflow.edits import AddTask, ChangeTask, PlanEdit, RemoveTask, SetDependencies
from orcs_server.workflow.model import Budget, Digest, Output, StopMode
from orcs_server.workflow.people import Decision, InputKind, MessageMode, PendingInput
from orcs_server.workflow.state import WorkflowState
from tests.workflow.strategies import TEXT, budgets, plans, rarely

OTHER = Digest("cd" * 32)
SUBSTITUTE = Output(OTHER, "text/plain", 2)
WHO = "ada"
texts = st.sampled_from([TEXT, OTHER])


@st.composite
def controls(draw: st.DrawFn, state: WorkflowState) -> m.Control:
    """Any request by a client."""
    kinds = ["pause", "resume", "resume", "update", "retry", "retry", "skip", "cancel_task", "edit", "edit", "replan"]
    kinds += ["send", "send", *["resolve"] * 4, "start"]
    if draw(rarely) and draw(rarely):
        return m.CancelWorkflow(draw(st.sampled_from(StopMode)))
    return draw(_of_kind(draw(st.sampled_from(kinds)), state))


@st.composite
def _of_kind(draw: st.DrawFn, kind: str, state: WorkflowState) -> m.Control:  # noqa: C901, PLR0911
    name = draw(st.sampled_from([*sorted(state.tasks), "zz"]))
    match kind:
        case "pause":
            return m.PauseWorkflow(draw(st.sampled_from(StopMode)), freeze=draw(rarely))
        case "resume":
            return m.ResumeWorkflow(freeze=draw(rarely))
        case "update":
            return m.UpdateWorkflow(draw(st.none() | budgets()), priority=draw(st.none() | st.integers(-1, 1)))
        case "retry":
            return m.RetryTask(name, draw(st.none() | texts) if draw(rarely) else None, draw(st.booleans()))
        case "skip":
            return m.SkipTask(name, "Enough.", draw(st.sampled_from([None, SUBSTITUTE])))
        case "cancel_task":
            return m.CancelTask(name)
        case "edit":
            return m.EditPlan(tuple(draw(st.lists(_edits(state), min_size=1, max_size=3))))
        case "replan":
            return m.Replan(TEXT)
        case "send":
            mode = draw(st.sampled_from(MessageMode))
            return m.SendMessage(TEXT, mode, "" if mode is MessageMode.REPLAN or draw(st.booleans()) else name)
        case "resolve" if state.inputs:
            asked = draw(st.sampled_from(state.waiting() or [state.inputs["i1"]]))
            return draw(resolutions(asked))
        case _:
            return m.StartWorkflow()


@st.composite
def _edits(draw: st.DrawFn, state: WorkflowState) -> PlanEdit:
    names = sorted(state.tasks)
    name = draw(st.sampled_from([*names, "zz"]))
    match draw(st.sampled_from(["add", "change", "remove", "rewire"])):
        case "add":
            return AddTask(draw(plans(prefix=draw(st.sampled_from("xyz")), known=tuple(names)))[0])
        case "change":
            changes = [
                ChangeTask(name, title="Another"),
                ChangeTask(name, description=OTHER, priority=1),
                ChangeTask(name, needs_approval=True),
                ChangeTask(name, needs_approval=False, optional=True),
                ChangeTask(name, budget=Budget(tokens=20, wall_time_us=9)),
            ]
            return draw(st.sampled_from(changes))
        case "remove":
            return RemoveTask(name)
        case _:
            return SetDependencies(
                name, tuple(draw(st.lists(st.sampled_from([*names, "zz"]), unique=True, max_size=2)))
            )


@st.composite
def resolutions(draw: st.DrawFn, asked: PendingInput) -> m.AnswerInput | m.ResolveApproval:
    if asked.need.kind is InputKind.QUESTION:
        return m.AnswerInput(asked.id, draw(texts), WHO, draw(st.booleans()))
    decision = draw(st.sampled_from([Decision.APPROVE, Decision.APPROVE, Decision.EDIT, Decision.REJECT]))
    shown = OTHER if draw(rarely) and draw(rarely) else asked.need.shown
    edit = draw(texts) if decision is Decision.EDIT else None
    budget = draw(budgets()) if decision is Decision.EDIT else None
    return m.ResolveApproval(asked.id, decision, shown, draw(st.sampled_from(["", "Not so."])), WHO, edit, budget)


def approval(asked: PendingInput) -> m.AnswerInput | m.ResolveApproval:
    """What lets the workflow go on."""
    if asked.need.kind is InputKind.QUESTION:
        return m.AnswerInput(asked.id, TEXT, WHO)
    return m.ResolveApproval(asked.id, Decision.APPROVE, asked.need.shown, principal=WHO)
