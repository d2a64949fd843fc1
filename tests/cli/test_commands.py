"""What each command does, as a process of its own, against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command_line import PLAN, orcs
from tests.server_process import ServerProcess

QUERY = "Compare SQLite, PostgreSQL and DuckDB for analytics, then write a recommendation"


@pytest.fixture(scope="module")
def finished(orcs_server_process: ServerProcess) -> str:
    """The id of a workflow from a plan that has completed."""
    done = orcs("run", "--plan", "-", "--id", "finished", server=orcs_server_process, stdin=json.dumps(PLAN))
    assert done.code == 0, done.err
    return "finished"


def test_run_prints_the_output_and_tells_the_progress_beside_it_in_plain_lines(
    orcs_server_process: ServerProcess,
) -> None:
    done = orcs("run", QUERY, "--title", "Databases", server=orcs_server_process)
    assert done.code == 0
    assert done.out.startswith("# Write up the comparison of SQLite, PostgreSQL and DuckDB\n")
    assert "\x1b" not in done.out + done.err
    sentences = [line.partition(" ")[2] for line in done.err.splitlines()]
    assert sentences[0].endswith("created: Databases")
    assert sentences[1:4] == ["planning", "plan of 4 tasks adopted", "workflow started"]
    assert "t1 (Look into SQLite) started by research_agent" in sentences
    assert sentences[-1].startswith("workflow completed in ")
    assert "tokens" in sentences[-1]


def test_run_prints_each_item_of_the_watch_as_a_line_of_json(orcs_server_process: ServerProcess) -> None:
    done = orcs("run", QUERY, "--json", server=orcs_server_process)
    events = [event for line in done.json_lines for event in line["events"]]
    assert (done.code, done.err) == (0, "")
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert events[0]["workflow_created"]["workflow"]["state"] == "WORKFLOW_STATE_PLANNING"
    assert [task["agent_id"] for event in events for task in event.get("plan_adopted", {}).get("tasks", ())] == [
        *["research_agent"] * 3,
        "writing_agent",
    ]
    assert "workflow_completed" in events[-1]


def test_a_plan_of_ones_own_is_carried_out_as_it_is(orcs_server_process: ServerProcess, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN))
    done = orcs("run", "--plan", str(plan), "--sequential", "--json", server=orcs_server_process)
    started = [
        event["attempt_started"]["task_id"]
        for line in done.json_lines
        for event in line["events"]
        if "attempt_started" in event
    ]
    assert started == ["left", "right", "both"]


def test_a_detached_run_prints_the_new_id_which_can_be_watched_to_its_end(orcs_server_process: ServerProcess) -> None:
    options = ("--label", "team=red", "--context", '{"audience": "engineers"}', "--priority", "7", "--deadline", "1h")
    detached = orcs("run", QUERY, "--detach", *options, server=orcs_server_process)
    workflow_id = detached.out.strip()
    assert (detached.code, detached.err, detached.out) == (0, "", f"{workflow_id}\n")
    watched = orcs("watch", workflow_id, server=orcs_server_process)
    assert watched.code == 0
    assert watched.out.splitlines()[-1].partition(" ")[2].startswith("workflow completed")
    shown = orcs("show", workflow_id, "--json", server=orcs_server_process).json
    assert shown["workflow"]["labels"] == {"team": "red"}
    assert shown["workflow"]["priority"] == 7
    assert [task["id"] for task in shown["tasks"]] == ["t1", "t2", "t3", "t4"]
    listed = orcs("list", "--label", "team=red", "--state", "completed", "--json", server=orcs_server_process).json
    assert [workflow["id"] for workflow in listed["workflows"]] == [workflow_id]


def test_a_watch_goes_on_exactly_after_its_cursor(orcs_server_process: ServerProcess, finished: str) -> None:
    every = orcs("watch", finished, "--json", server=orcs_server_process).json_lines
    for place in (0, 4, len(every) - 2):
        rest = orcs("watch", finished, "--after", every[place]["cursor"], "--json", server=orcs_server_process)
        assert [line["events"] for line in rest.json_lines] == [line["events"] for line in every[place + 1 :]]
    plain = orcs("watch", finished, "--after", every[-2]["cursor"], server=orcs_server_process)
    assert len(plain.out.splitlines()) == 1
    assert "workflow completed" in plain.out


def test_a_watch_may_begin_with_a_snapshot(orcs_server_process: ServerProcess, finished: str) -> None:
    (line,) = orcs("watch", finished, "--snapshot", "--json", server=orcs_server_process).json_lines
    assert line["snapshot_complete"]
    assert [task["state"] for task in line["snapshot"]["tasks"]] == ["TASK_STATE_COMPLETED"] * 3


def test_show_tells_of_a_workflow_and_of_one_task_with_its_texts(
    orcs_server_process: ServerProcess, finished: str
) -> None:
    workflow = orcs("show", finished, server=orcs_server_process).out
    assert "state     completed" in workflow
    assert "left, right" in workflow
    task = orcs("show", finished, "both", server=orcs_server_process).out
    assert "description:\n\nJoin.\n" in task
    assert "output:\n\n# Join\n" in task


@pytest.mark.parametrize(
    ("output_format", "beginning"),
    [("text", "# Join"), ("markdown", "# Join"), ("json", "{"), ("html", "<!DOCTYPE html>")],
)
def test_an_output_comes_in_the_form_that_is_asked_for(
    orcs_server_process: ServerProcess, finished: str, output_format: str, beginning: str
) -> None:
    done = orcs("output", finished, "--format", output_format, server=orcs_server_process)
    assert done.code == 0
    assert done.out.lower().startswith(beginning.lower())


@pytest.mark.parametrize(
    ("graph_format", "beginning"), [("mermaid", "flowchart"), ("dot", "digraph"), ("svg", "<svg"), ("json", "{")]
)
def test_a_graph_comes_in_the_form_that_is_asked_for(
    orcs_server_process: ServerProcess, finished: str, graph_format: str, beginning: str
) -> None:
    done = orcs("graph", finished, "--format", graph_format, server=orcs_server_process)
    assert done.code == 0
    assert done.out.startswith(beginning)


def test_agents_and_the_server_are_described_to_people_and_programs(orcs_server_process: ServerProcess) -> None:
    agents = orcs("agents", "--json", server=orcs_server_process).json["agents"]
    assert [agent["id"] for agent in agents] == ["coding_agent", "data_agent", "research_agent", "writing_agent"]
    assert "research_agent" in orcs("agents", server=orcs_server_process).out
    assert orcs("info", "--json", server=orcs_server_process).json["model"]["offline"]
    assert "in namespace default" in orcs("info", server=orcs_server_process).out


def test_info_names_the_model_server_that_is_used(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server(model_base_url="http://127.0.0.1:1/v1", model_name="the-model")
    assert "the-model (openai at http://127.0.0.1:1/v1" in orcs("info", server=server).out


def test_a_planned_workflow_waits_for_its_start_and_an_ended_one_can_be_deleted(
    orcs_server_process: ServerProcess,
) -> None:
    workflow_id = orcs(
        "run", "--plan", "-", "--no-start", server=orcs_server_process, stdin=json.dumps(PLAN)
    ).out.strip()
    refused = orcs("delete", workflow_id, server=orcs_server_process)
    assert refused.code == 4
    assert orcs("start", workflow_id, server=orcs_server_process).out == f"{workflow_id} started\n"
    assert orcs("watch", workflow_id, server=orcs_server_process).code == 0
    assert orcs("delete", workflow_id, server=orcs_server_process).out == f"{workflow_id} deleted\n"
    assert orcs("show", workflow_id, server=orcs_server_process).code == 4


def test_health_is_told_without_a_token(orcs_server_process: ServerProcess) -> None:
    served = orcs("health", server=orcs_server_process, XDG_STATE_HOME="/nowhere", ORCS_TOKEN_FILE="/nowhere")
    assert (served.code, served.out) == (0, f"{orcs_server_process.address} receives work\n")
    unserved = orcs("health", "--server", "127.0.0.1:1")
    assert unserved.code == 3
    assert unserved.err.startswith("orcs: 127.0.0.1:1 does not answer")
