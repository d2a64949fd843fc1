"""The graph in each form."""

from __future__ import annotations

import itertools
import json
import re
from xml.etree import ElementTree as ET

import pytest

from orcs_server.errors import InvalidArgument
from orcs_server.outputs.graph import COLOURS, GraphFormat, GraphTask, render_graph
from orcs_server.workflow.states import TaskStatus

MERMAID, DOT, SVG, JSON = GraphFormat.MERMAID, GraphFormat.DOT, GraphFormat.SVG, GraphFormat.JSON
SVG_SPACE = "{http://www.w3.org/2000/svg}"

DIAMOND = [
    GraphTask("a", "Start", "research_agent", TaskStatus.COMPLETED),
    GraphTask("b", "Left", "research_agent", TaskStatus.RUNNING, ("a",)),
    GraphTask("c", "Right", "data_agent", TaskStatus.FAILED, ("a", "a")),
    GraphTask("end", "Join", "writing_agent", TaskStatus.PENDING, ("b", "c")),
]
HOSTILE = 'a"] --> b; click x "javascript:1"\n<script>&#60;\\N\x1b[1m`{}|%% \ufffe'


def text_of(tasks: list[GraphTask], graph_format: GraphFormat, title: str = "Plan") -> str:
    return render_graph(title, tasks, graph_format).content.decode()


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own drawing


def wide(count: int) -> list[GraphTask]:
    middle = [GraphTask(f"t{n}", f"Task {n}", "a", TaskStatus.READY, ("t0",)) for n in range(1, count)]
    return [GraphTask("t0", "Root", "a", TaskStatus.READY), *middle]


def chain(count: int) -> list[GraphTask]:
    return [GraphTask(f"t{n}", "T", "a", TaskStatus.READY, (f"t{n - 1}",) if n else ()) for n in range(count)]


def test_every_status_has_a_colour() -> None:
    assert set(COLOURS) == set(TaskStatus)


def test_mermaid_draws_tasks_edges_and_statuses() -> None:
    text = text_of(DIAMOND, MERMAID)
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "flowchart TD"
    assert 'n0["Start<br/>research_agent · completed"]:::completed' in lines
    assert [line for line in lines if "-->" in line] == ["n0 --> n1", "n0 --> n2", "n1 --> n3", "n2 --> n3"]
    assert sum(line.startswith("classDef") for line in lines) == 4


def test_a_hostile_title_stays_text_in_mermaid() -> None:
    text = text_of([GraphTask("a", HOSTILE, "x", TaskStatus.READY)], MERMAID)
    (label,) = re.findall(r'^    n0\["(.*)"\]:::ready$', text, re.MULTILINE)
    assert not set(label.replace("<br/>", "")) & set('"<>`[]{}|%\\\x1b&')
    assert "#34;" in label


def test_dot_draws_tasks_and_edges_and_escapes() -> None:
    text = text_of(DIAMOND, DOT)
    assert text.startswith('digraph "Plan" {')
    assert "n2 -> n3;" in text
    assert 'label="Start\\nresearch_agent · completed"' in text
    hostile = text_of([GraphTask("a", HOSTILE, "x", TaskStatus.READY)], DOT, HOSTILE)
    (label,) = re.findall(r'label="((?:[^"\\]|\\.)*)", fillcolor', hostile)
    assert '\\"] --> b' in label
    assert "\\\\N" in label
    assert "&amp;#60;" in label


def test_svg_is_well_formed_and_layered() -> None:
    root = parsed(text_of(DIAMOND, SVG, "<Plan>"))
    assert root.findtext(f"{SVG_SPACE}title") == "<Plan>"
    tops = [int(rect.get("y", "")) for rect in root.iter(f"{SVG_SPACE}rect")]
    assert tops[0] < tops[1] == tops[2] < tops[3]
    # Four edges and the arrow's tip.
    assert len(list(root.iter(f"{SVG_SPACE}path"))) == 5
    assert parsed(text_of([], SVG)) is not None


def test_a_hostile_title_stays_text_in_svg() -> None:
    root = parsed(text_of([GraphTask("a", HOSTILE, HOSTILE, TaskStatus.READY)], SVG, HOSTILE))
    assert not list(root.iter(f"{SVG_SPACE}script"))
    assert any("<script>" in (title.text or "") for title in root.iter(f"{SVG_SPACE}title"))


def test_svg_boxes_do_not_overlap() -> None:
    tasks = [*wide(40), GraphTask("z", "Loose", "a", TaskStatus.READY)]
    root = parsed(text_of(tasks, SVG))
    corners = [(int(rect.get("x", "")), int(rect.get("y", ""))) for rect in root.iter(f"{SVG_SPACE}rect")]
    assert len(set(corners)) == len(tasks)
    for row in {y for _, y in corners}:
        columns = sorted(x for x, y in corners if y == row)
        assert all(right - left >= 220 for left, right in itertools.pairwise(columns))


def test_json_carries_everything() -> None:
    body = json.loads(text_of(DIAMOND, JSON))
    assert body["title"] == "Plan"
    assert body["tasks"][2] == {
        "id": "c",
        "title": "Right",
        "agent_id": "data_agent",
        "state": "FAILED",
        "dependencies": ["a"],
    }


@pytest.mark.parametrize("graph_format", [MERMAID, DOT, JSON])
@pytest.mark.parametrize("shape", [wide, chain])
def test_ten_thousand_tasks_are_drawn(graph_format: GraphFormat, shape: object) -> None:
    tasks = wide(10_000) if shape is wide else chain(10_000)
    assert len(text_of(tasks, graph_format)) < 4_000_000


def test_what_is_too_large_is_refused_with_what_to_ask_for() -> None:
    parsed(text_of(chain(2_000), SVG))
    with pytest.raises(InvalidArgument, match="ask for JSON or DOT"):
        render_graph("P", wide(2_001), SVG)
    with pytest.raises(InvalidArgument, match="more than the 10000"):
        render_graph("P", chain(10_001), JSON)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([DIAMOND[0], DIAMOND[0]], "two tasks alike"),
        ([DIAMOND[1]], "task b depends on a, which is not there"),
        (
            [
                GraphTask("a", "A", "x", TaskStatus.READY, ("b",)),
                GraphTask("b", "B", "x", TaskStatus.READY, ("a",)),
            ],
            "cycle",
        ),
    ],
)
def test_what_is_no_plan_is_refused(tasks: list[GraphTask], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        render_graph("P", tasks, SVG)
