"""A plan as a graph, for people (Mermaid, DOT, SVG) and programs (JSON). Titles are hostile: each form escapes them its own way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct

from orcs_server.errors import InvalidArgument, Violation
from orcs_server.outputs.compose import Rendered
from orcs_server.outputs.safe_text import one_line
from orcs_server.outputs.svg import SVG_LIMIT, draw_svg
from orcs_server.workflow.states import TaskStatus

TASK_LIMIT = 10_000

COLOURS = {
    TaskStatus.PENDING: "#e8e8e8",
    TaskStatus.READY: "#d5e4f7",
    TaskStatus.RUNNING: "#9cc4f5",
    TaskStatus.INPUT_REQUIRED: "#f9e08b",
    TaskStatus.EVALUATING: "#c5b8f0",
    TaskStatus.RETRYING: "#f7c99b",
    TaskStatus.COMPLETED: "#b5e3b5",
    TaskStatus.FAILED: "#f3a9a9",
    TaskStatus.CANCELLED: "#d0c4c4",
    TaskStatus.SKIPPED: "#dadada",
}
"""Fill of a task in each status; the text on it is black."""

_MERMAID_SPECIAL = re.compile(r"[^\w ,.!?…·–-]")


class GraphFormat(StrEnum):
    """The form of a drawn task graph."""

    MERMAID = "MERMAID"
    DOT = "DOT"
    SVG = "SVG"
    JSON = "JSON"


class GraphTask(Struct, frozen=True, rename={"status": "state"}):
    """A task as the graph shows it, and, with the protos' names, as its JSON has it."""

    id: str
    title: str
    agent_id: str
    status: TaskStatus
    dependencies: tuple[str, ...] = ()


def render_graph(title: str, tasks: Sequence[GraphTask], graph_format: GraphFormat) -> Rendered:
    """Return the graph of up to 10,000 tasks as a document.

    Raises `InvalidArgument`: beyond that, beyond 2,000 tasks in SVG, and for a graph with repeated ids, unknown dependencies or
    (SVG) a cycle.
    """
    if len(tasks) > TASK_LIMIT:
        raise _invalid("workflow_id", f"the plan has {len(tasks)} tasks, more than the {TASK_LIMIT} that can be drawn")
    places = {task.id: place for place, task in enumerate(tasks)}
    if len(places) != len(tasks):
        raise _invalid("workflow_id", "the plan names two tasks alike")
    for task in tasks:
        for dependency in task.dependencies:
            if dependency not in places:
                raise _invalid(
                    "workflow_id", f"task {one_line(task.id)} depends on {one_line(dependency)}, which is not there"
                )
    edges = [[places[dependency] for dependency in dict.fromkeys(task.dependencies)] for task in tasks]
    match graph_format:
        case GraphFormat.MERMAID:
            return Rendered("text/vnd.mermaid; charset=utf-8", _mermaid(tasks, edges).encode())
        case GraphFormat.DOT:
            return Rendered("text/vnd.graphviz; charset=utf-8", _dot(title, tasks, edges).encode())
        case GraphFormat.SVG:
            return Rendered("image/svg+xml", _svg(title, tasks, edges).encode())
        case GraphFormat.JSON:
            return Rendered("application/json", _json(title, tasks))


def _mermaid(tasks: Sequence[GraphTask], edges: Sequence[Sequence[int]]) -> str:
    # Nodes are numbered, because ids such as `end` are words of Mermaid's.
    lines = ["flowchart TD"]
    for place, task in enumerate(tasks):
        label = f"{_mermaid_text(one_line(task.title))}<br/>{_mermaid_text(_caption(task))}"
        lines.append(f'    n{place}["{label}"]:::{task.status.lower()}')
    lines += [f"    n{before} --> n{place}" for place, befores in enumerate(edges) for before in befores]
    for status in TaskStatus:
        if any(task.status is status for task in tasks):
            lines.append(f"    classDef {status.lower()} fill:{COLOURS[status]},stroke:#555,color:#000")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    # Mermaid's entities are #NUMBER; and its parsers differ in what else they take amiss.
    return _MERMAID_SPECIAL.sub(lambda found: f"#{ord(found.group())};", text)


def _dot(title: str, tasks: Sequence[GraphTask], edges: Sequence[Sequence[int]]) -> str:
    lines = [
        f"digraph {_dot_text(one_line(title))} {{",
        '    node [shape=box, style="rounded,filled", fontname="sans-serif"];',
    ]
    for place, task in enumerate(tasks):
        label = _dot_text(f"{one_line(task.title)}\n{_caption(task)}")
        lines.append(f'    n{place} [label={label}, fillcolor="{COLOURS[task.status]}"];')
    lines += [f"    n{before} -> n{place};" for place, befores in enumerate(edges) for before in befores]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(text: str) -> str:
    # Graphviz reads \N, \G and the like in labels, so a backslash must be doubled, and & begins an entity.
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;").replace("\n", "\\n")
    return f'"{escaped}"'


def _svg(title: str, tasks: Sequence[GraphTask], edges: Sequence[Sequence[int]]) -> str:
    if len(tasks) > SVG_LIMIT:
        raise _invalid(
            "format", f"an SVG of {len(tasks)} tasks would be unreadable (at most {SVG_LIMIT}): ask for JSON or DOT"
        )
    boxes = [(one_line(task.title), _caption(task), COLOURS[task.status]) for task in tasks]
    try:
        return draw_svg(one_line(title), boxes, edges)
    except ValueError as error:
        raise _invalid("workflow_id", str(error)) from None


def _json(title: str, tasks: Sequence[GraphTask]) -> bytes:
    shown = [
        GraphTask(task.id, one_line(task.title), task.agent_id, task.status, tuple(dict.fromkeys(task.dependencies)))
        for task in tasks
    ]
    return msgspec.json.encode({"title": one_line(title), "tasks": shown})


def _caption(task: GraphTask) -> str:
    return f"{one_line(task.agent_id, 80)} · {task.status.lower()}"


def _invalid(field: str, description: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", description, (Violation(field, description),))
