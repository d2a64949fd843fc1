"""Writes docs/states.md from the tables of the core, or checks that what is committed is what would be written.

The diagrams come from the tables; which request is allowed where is found out by asking the core itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from orcs_server.errors import OrcsError  # noqa: E402 - the checkout's own package, installed or not
from orcs_server.workflow import messages as m  # noqa: E402
from orcs_server.workflow.decide import decide, take  # noqa: E402
from orcs_server.workflow.edits import AddTask, ChangeTask, RemoveTask, SetDependencies  # noqa: E402
from orcs_server.workflow.model import (  # noqa: E402
    ApprovalPolicy,
    Digest,
    Failure,
    FailureKind,
    Output,
    PlanSource,
    StopMode,
    TaskSpec,
    WorkflowSpec,
)
from orcs_server.workflow.people import Decision, InputKind, Need  # noqa: E402
from orcs_server.workflow.state import WorkflowState  # noqa: E402
from orcs_server.workflow.states import (  # noqa: E402
    TASK_MOVES,
    TASK_TERMINAL,
    WORKFLOW_MOVES,
    WORKFLOW_TERMINAL,
    TaskStatus,
    WorkflowStatus,
)

DOCUMENT = ROOT / "docs" / "states.md"
TEXT = Digest("ab" * 32)
Status = TypeVar("Status", WorkflowStatus, TaskStatus)
TASK = TaskSpec("one", "One", TEXT, "research")
NEXT = TaskSpec("next", "Next", TEXT, "research", (TASK.id,))
OTHER = TaskSpec("other", "Other", TEXT, "research")
OUTPUT = Output(TEXT, "text/plain", 1)
REFUSED = Failure(FailureKind.REFUSED, "The model refused.")
QUESTION = m.AttemptSuspended(1, (Need(InputKind.QUESTION, "Which fruit?"),), TASK.id)
PLANNED = WorkflowSpec("Sample", query=TEXT, agents=(("research", "1"),))
WAITING = replace(PLANNED, auto_start=False)

PROSE = """\
# States

Generated from `orcs_server/workflow/states.py` by `python tools/generate_state_diagrams.py`; do not edit.

Every arrow carries the events that make the move. A move that is not drawn cannot happen: `evolve` looks each one up in the
same table.
"""

REQUESTS = """\
The first event that each request leads to, or the reason why it is refused, and in which states of the workflow. Requests to
a single task are to the task `one`, which waits for no other. `PauseWorkflow` and `CancelWorkflow` are IMMEDIATE here, the
pauses and cancellations before them were gentler.
"""


def sample_states() -> dict[str, WorkflowState | None]:
    """Return a workflow in each state, and paused from each, by the words that the document has for it."""
    plans, waits, runs = _created(PLANNED, None), _created(WAITING, (TASK,)), _created(PLANNED, (TASK, NEXT))
    pause, stop = m.PauseWorkflow(StopMode.DRAIN), m.CancelWorkflow(StopMode.AFTER_TURN)
    slot, planner = m.SlotGranted(1, TASK.id), m.SlotGranted(1)
    refused = _created(replace(PLANNED, holds_resources=True), (TASK,))
    return {
        "none yet": None,
        "PLANNING": _led(plans),
        "PLANNING, the planner runs": _led(plans, planner),
        "READY": _led(waits),
        "READY, the plan waits for approval": _led(
            _created(replace(WAITING, approval_policy=ApprovalPolicy.PLAN), (TASK,))
        ),
        "RUNNING": _led(runs, slot),
        "RUNNING, a question is open": _led(runs, slot, QUESTION),
        "RUNNING, the plan is made anew": _led(runs, slot, m.Replan(TEXT), planner),
        "PAUSING, the planner runs": _led(plans, planner, pause),
        "PAUSING, a task runs": _led(runs, slot, pause),
        "PAUSED while PLANNING": _led(plans, pause),
        "PAUSED while READY": _led(waits, pause),
        "PAUSED while RUNNING": _led(runs, pause),
        "PAUSED by a freeze": _led(runs, m.PauseWorkflow(StopMode.DRAIN, freeze=True)),
        "PAUSED, a question is open": _led(runs, slot, QUESTION, pause),
        "CANCELLING, the planner runs": _led(plans, planner, stop),
        "CANCELLING, a task runs": _led(runs, slot, stop),
        "COMPLETED": _led(_created(PLANNED, (TASK,)), slot, m.AttemptFinished(TASK.id, 1, OUTPUT)),
        "FAILED": _led(_created(PLANNED, (TASK,)), slot, m.AttemptFinished(TASK.id, 1, None, REFUSED)),
        "FAILED without a plan": _led(plans, planner, m.PlanFailed(1, REFUSED)),
        "FAILED, holds resources": _led(refused, m.ResourcesRefused("None are left.")),
        "CANCELLED": _led(runs, stop),
    }


def task_states() -> dict[str, WorkflowState | None]:
    """Return a workflow that runs and whose task `one` is in each state, by the words that the document has for it."""
    runs, slot = _created(PLANNED, (TASK, NEXT, OTHER)), m.SlotGranted(1, TASK.id)
    again = m.AttemptFinished(TASK.id, 1, None, replace(REFUSED, retryable=True))
    held = _created(PLANNED, (replace(TASK, needs_approval=True), NEXT, OTHER))
    above = TaskSpec("above", "Above", TEXT, "research")
    below = _created(PLANNED, (above, replace(TASK, dependencies=(above.id,)), NEXT, OTHER))
    slot_above = m.SlotGranted(1, above.id)
    return {
        "PENDING": _led(below),
        "READY": _led(runs),
        "RUNNING": _led(runs, slot),
        "INPUT_REQUIRED, asks": _led(runs, slot, QUESTION),
        "INPUT_REQUIRED, waits for approval": _led(held),
        "RETRYING": _led(runs, slot, again),
        "COMPLETED": _led(runs, slot, m.AttemptFinished(TASK.id, 1, OUTPUT)),
        "COMPLETED, what rests on it runs": _led(
            runs, slot, m.AttemptFinished(TASK.id, 1, OUTPUT), m.SlotGranted(1, NEXT.id)
        ),
        "FAILED": _led(runs, slot, m.AttemptFinished(TASK.id, 1, None, REFUSED)),
        "CANCELLED": _led(runs, m.CancelTask(TASK.id)),
        "SKIPPED, for what it rests on failed": _led(below, slot_above, m.AttemptFinished(above.id, 1, None, REFUSED)),
        "SKIPPED by a person": _led(runs, m.SkipTask(TASK.id)),
    }


def requests() -> dict[str, m.Request]:
    """Return one of each request, by its name; to a task, it is to the task `one`."""
    return {
        type(request).__name__: request
        for request in (
            _created(PLANNED, (TASK,)),
            m.StartWorkflow(),
            m.PauseWorkflow(StopMode.IMMEDIATE),
            m.ResumeWorkflow(),
            m.CancelWorkflow(StopMode.IMMEDIATE),
            m.UpdateWorkflow(priority=5),
            m.EditPlan((AddTask(TaskSpec("two", "Two", TEXT, "research")),)),
            m.TasksProposed((TaskSpec("two", "Two", TEXT, "research"),), PlanSource.CLIENT),
            m.Replan(TEXT),
            m.SendMessage(TEXT),
            m.RetryTask(TASK.id),
            m.SkipTask(TASK.id),
            m.CancelTask(TASK.id),
            m.AnswerInput("i1", TEXT),
            m.ResolveApproval("i1", Decision.APPROVE, SHOWN),
            m.DeleteWorkflow(),
        )
    }


def task_requests() -> dict[str, m.Request]:
    """Return the requests to a single task, by what they ask for."""
    return {
        "RetryTask": m.RetryTask(TASK.id),
        "RetryTask, with dependants": m.RetryTask(TASK.id, include_dependants=True),
        "SkipTask": m.SkipTask(TASK.id),
        "CancelTask": m.CancelTask(TASK.id),
        "EditPlan, changes it": m.EditPlan((ChangeTask(TASK.id, title="Another"),)),
        "EditPlan, removes it": m.EditPlan((RemoveTask(TASK.id), SetDependencies(NEXT.id, ()))),
        "SendMessage": m.SendMessage(TEXT, task_id=TASK.id),
        "AnswerInput": m.AnswerInput("i1", TEXT),
        "ResolveApproval": m.ResolveApproval("i1", Decision.APPROVE, TASK_SHOWN),
    }


def _created(spec: WorkflowSpec, tasks: tuple[TaskSpec, ...] | None) -> m.CreateWorkflow:
    return m.CreateWorkflow("samples", "sample", spec, tasks)


def _led(*messages: m.Message) -> WorkflowState | None:
    state: WorkflowState | None = None
    for message in messages:
        state, _ = take(state, message, 0)
    return state


def _shown(state: WorkflowState | None) -> Digest | None:
    return None if state is None else state.inputs["i1"].need.shown


SHOWN = _shown(_led(_created(replace(WAITING, approval_policy=ApprovalPolicy.PLAN), (TASK,))))
TASK_SHOWN = _shown(_led(_created(PLANNED, (replace(TASK, needs_approval=True), NEXT, OTHER))))


def answer(state: WorkflowState | None, request: m.Request) -> str:
    """Return the first event that the request causes in this state, or the reason why it is refused."""
    try:
        events = decide(state, request, 0)
    except OrcsError as refusal:
        return refusal.reason
    return f"`{type(events[0]).__name__}`" if events else "nothing happens"


def render() -> str:
    """Return the whole document."""
    return "\n".join(
        (
            PROSE,
            "## Workflows\n",
            _diagram(
                _pairs(WORKFLOW_MOVES), WorkflowStatus, WORKFLOW_TERMINAL, WorkflowStatus.PLANNING, "WorkflowCreated"
            ),
            "## Tasks\n",
            _diagram(
                {name: list(row.items()) for name, row in TASK_MOVES.items()},
                TaskStatus,
                TASK_TERMINAL,
                TaskStatus.PENDING,
                "PlanAdopted, PlanAmended",
            ),
            "## Requests\n",
            REQUESTS,
            _tables(requests(), sample_states()),
            "## Requests to a task\n",
            "The same by the state of the task, in a workflow that is RUNNING.\n",
            _tables(task_requests(), task_states()),
        )
    )


def _pairs(
    moves: Mapping[str, Mapping[WorkflowStatus, tuple[WorkflowStatus, ...]]],
) -> dict[str, list[tuple[WorkflowStatus, WorkflowStatus]]]:
    return {name: [(before, to) for before, after in row.items() for to in after] for name, row in moves.items()}


def _diagram(
    moves: Mapping[str, Sequence[tuple[Status, Status]]],
    vocabulary: Iterable[Status],
    terminal: Collection[Status],
    first: Status,
    beginning: str,
) -> str:
    """Events that make the same move share an arrow, so that each pair of states has one label at most."""
    arrows: dict[tuple[Status, Status], list[str]] = {}
    for event, row in moves.items():
        for before, after in row:
            arrows.setdefault((before, after), []).append(event)
    reached = {first, *(after for _, after in arrows)}
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}: {beginning}"]
    lines += [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    lines += [f"    {status} --> [*]" for status in vocabulary if status in terminal and status in reached]
    lines += ["```", ""]
    if missing := [f"`{status}`" for status in vocabulary if status not in reached]:
        lines += [f"In the vocabulary, but nothing leads there yet: {', '.join(missing)}.", ""]
    return "\n".join(lines)


def _tables(asked: Mapping[str, m.Request], states: Mapping[str, WorkflowState | None]) -> str:
    """A table for each request, with a row for each answer."""
    lines = []
    for name, request in asked.items():
        answers: dict[str, list[str]] = {}
        for state, sample in states.items():
            answers.setdefault(answer(sample, request), []).append(state)
        lines += [f"### {name}\n", "| answer | in |", "| --- | --- |"]
        lines += [f"| {said} | {'; '.join(where)} |" for said, where in answers.items()]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the document is out of date")
    parser.add_argument("document", nargs="?", type=Path, default=DOCUMENT, help="default: docs/states.md")
    options = parser.parse_args()
    document: Path = options.document
    wanted = render()
    if not options.check:
        document.write_text(wanted, encoding="utf-8")
        print(f"wrote {document}")
        return 0
    if document.exists() and document.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{document} is out of date: run `python tools/generate_state_diagrams.py` and commit it.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
