"""Writes docs/states.md from the tables of the core, or checks that what is committed is what would be written.

The diagrams come from the tables; which request is allowed where is found out by asking the core itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from orcs_server.errors import OrcsError  # noqa: E402 - the checkout's own package, installed or not
from orcs_server.workflow import messages as m  # noqa: E402
from orcs_server.workflow.decide import decide, take  # noqa: E402
from orcs_server.workflow.model import (  # noqa: E402
    Digest,
    Failure,
    FailureKind,
    Output,
    PlanSource,
    TaskSpec,
    WorkflowSpec,
)
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

PROSE = """\
# States

Generated from `orcs_server/workflow/states.py` by `python tools/generate_state_diagrams.py`; do not edit.

Every arrow carries the events that make the move. A move that is not drawn cannot happen: `evolve` looks each one up in the
same table.
"""


def sample_states() -> dict[str, WorkflowState | None]:
    """Return a workflow in each state that the core can reach so far, by the words that the document has for it."""
    planned = WorkflowSpec("Sample", agents=(("research", "1"),))
    waiting = WorkflowSpec("Sample", agents=planned.agents, auto_start=False)
    holding = WorkflowSpec("Sample", agents=planned.agents, holds_resources=True)
    refused = Failure(FailureKind.REFUSED, "The model refused.")
    slot = m.SlotGranted(1, TASK.id)
    return {
        "none yet": None,
        "PLANNING": _led(_created(planned, None)),
        "READY": _led(_created(waiting, (TASK,))),
        "RUNNING": _led(_created(planned, (TASK,))),
        "COMPLETED": _led(
            _created(planned, (TASK,)), slot, m.AttemptFinished(TASK.id, 1, Output(TEXT, "text/plain", 1))
        ),
        "FAILED": _led(_created(planned, (TASK,)), slot, m.AttemptFinished(TASK.id, 1, None, refused)),
        "FAILED, holds resources": _led(_created(holding, (TASK,)), m.ResourcesRefused("None are left.")),
    }


def requests() -> dict[str, m.Request]:
    """Return one of each request, by its name."""
    one_of_each: Sequence[m.Request] = (
        _created(WorkflowSpec("Sample", agents=(("research", "1"),)), (TASK,)),
        m.StartWorkflow(),
        m.TasksProposed((TaskSpec("two", "Two", TEXT, "research"),), PlanSource.CLIENT),
        m.DeleteWorkflow(),
    )
    return {type(request).__name__: request for request in one_of_each}


def _created(spec: WorkflowSpec, tasks: tuple[TaskSpec, ...] | None) -> m.CreateWorkflow:
    return m.CreateWorkflow("samples", "sample", spec, tasks)


def _led(*messages: m.Message) -> WorkflowState | None:
    state: WorkflowState | None = None
    for message in messages:
        state, _ = take(state, message, 0)
    return state


def answer(state: WorkflowState | None, request: m.Request) -> str:
    """Return the first event that the request causes in this state, or the reason why it is refused."""
    try:
        events = decide(state, request, 0)
    except OrcsError as refusal:
        return f"refused: {refusal.reason}"
    return f"`{type(events[0]).__name__}`"


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
            "The first event that each request leads to, by the state of the workflow, or the reason why it is refused.\n",
            _request_table(),
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


def _request_table() -> str:
    asked = requests()
    lines = [f"| | {' | '.join(f'`{name}`' for name in asked)} |", f"| --- |{' --- |' * len(asked)}"]
    for name, state in sample_states().items():
        lines.append(f"| {name} | {' | '.join(answer(state, request) for request in asked.values())} |")
    return "\n".join(lines) + "\n"


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
