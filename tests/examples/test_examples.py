"""The examples run as they stand, against real servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from llmock.pytest_plugin import LLMock

from tests.cli.command_line import environ_for, orcs
from tests.server_process import ServerProcess

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, server: ServerProcess | None = None, *arguments: str, typed: str = "") -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(
        command, input=typed, capture_output=True, text=True, env=environ_for(server), timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demonstration_shows_parallel_tasks_the_document_and_an_orderly_end() -> None:
    shown = run_example("demo.py").splitlines()
    events = [line[9:] for line in shown if re.match(r"\d\d:\d\d:\d\d ", line)]
    first_end = next(index for index, line in enumerate(events) if " completed in " in line)
    assert sum(" started by research_agent" in line for line in events[:first_end]) == 3
    assert events[-1].startswith("workflow completed in ")
    assert "# Write up the comparison of SQLite, PostgreSQL and DuckDB" in shown
    assert "the server ended with status 0" in shown[-1]


def test_the_quickstart_watches_and_goes_on_after_a_cursor(orcs_server_process: ServerProcess) -> None:
    shown = run_example("quickstart.py", orcs_server_process, "Compare tea, coffee and cocoa, then recommend one")
    assert "✔ t4 is done" in shown
    total, rest = map(int, re.findall(r"(\d+) events in all, (\d+) of them after the first", shown)[0])
    assert rest == total - 1


def test_the_blocking_client_carries_out_a_plan_and_refuses_a_wrong_one(orcs_server_process: ServerProcess) -> None:
    shown = run_example("blocking.py", orcs_server_process)
    assert re.search(r"^verdict: \d+ tokens, \d+ bytes$", shown, re.MULTILINE)
    assert "refused, as it should be: plan.tasks[0]" in shown


@contextmanager
def server_with(folder: Path, agents: str, llmock: LLMock) -> Iterator[ServerProcess]:
    """A server with the agents of an example. The model, which says what the test has it say, is the only stand-in."""
    shutil.copy(EXAMPLES / f"{agents}.py", folder)  # a server looks for modules where it is started
    model = {"model_base_url": llmock.base_url("openai"), "model_name": "any-model"}
    server = ServerProcess(folder, agent_registry=f"{agents}:registry", **model)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def test_an_agent_of_ones_own_calls_its_tool(tmp_path: Path, llmock: LLMock) -> None:
    llmock.call_tool("count_words", {"text": "All trains ten minutes late today."})
    llmock.reply("All trains ten minutes late today.")
    with server_with(tmp_path, "own_agents", llmock) as server:
        agents = orcs("agents", "--json", server=server).json["agents"]
        done = orcs("run", "--plan", str(EXAMPLES / "own_agents_plan.json"), server=server)
    assert {agent["id"]: agent.get("tools") for agent in agents}["editor_agent"] == ["count_words"]
    assert done.code == 0, done.err
    assert "All trains ten minutes late today." in done.out
    assert "6 words, 34 characters (counted for task shorten)" in str(llmock.last_request.body)


def test_a_tool_and_a_task_wait_for_approval_and_the_arguments_approved_are_those_it_is_called_with(
    tmp_path: Path, llmock: LLMock
) -> None:
    llmock.call_tool("refund", {"order": "A-17", "amount": 80})
    llmock.reply("30 euros were paid back.")
    llmock.reply("Dear customer, 30 euros are on their way.")
    with server_with(tmp_path, "people_agents", llmock) as server:
        shown = run_example("approval.py", server, typed="change\n30\nyes\n")
    assert 'May the tool "refund" be called with these arguments?' in shown
    assert "Shall task letter (Write to the customer) start?" in shown
    assert "Write three friendly sentences to the customer about what was settled." in shown
    assert "Dear customer, 30 euros are on their way." in shown
    assert (tmp_path / "refunds.txt").read_text() == "A-17: 30.00 (for task refund)\n"


def test_a_rejected_tool_is_not_called_and_the_agent_reads_why(tmp_path: Path, llmock: LLMock) -> None:
    llmock.call_tool("refund", {"order": "A-17", "amount": 80})
    llmock.reply("Nothing was paid back.")
    llmock.reply("Dear customer, we are sorry.")
    with server_with(tmp_path, "people_agents", llmock) as server:
        run_example("approval.py", server, typed="no\nIt came in time.\nyes\n")
    assert "It came in time." in str(llmock.requests[1].body)
    assert not (tmp_path / "refunds.txt").exists()


def test_a_small_refund_asks_nobody(tmp_path: Path, llmock: LLMock) -> None:
    llmock.call_tool("refund", {"order": "A-17", "amount": 20})
    llmock.reply("20 euros were paid back.")
    llmock.reply("Dear customer, 20 euros are on their way.")
    with server_with(tmp_path, "people_agents", llmock) as server:
        shown = run_example("approval.py", server, typed="yes\n")
    assert "refund" not in shown.splitlines()[0]
    assert (tmp_path / "refunds.txt").read_text() == "A-17: 20.00 (for task refund)\n"


def test_a_question_is_answered_in_the_inbox_and_an_answer_that_does_not_fit_is_refused(
    tmp_path: Path, llmock: LLMock
) -> None:
    llmock.call_tool("ask_user", {"question": "What do the guests not eat?", "choices": ["fish", "nuts"]})
    llmock.reply("Soup, a roast, pears.")
    with server_with(tmp_path, "people_agents", llmock) as server:
        shown = run_example("clarification.py", server, typed="soup\nfish\n")
    assert "What do the guests not eat? ['fish', 'nuts']\n> " in shown
    assert shown.count("> ") == 2
    assert "Soup, a roast, pears." in shown
    assert llmock.last_request.body["messages"][-1]["content"] == "fish"


def test_a_budget_that_is_used_up_is_asked_about_and_raised_and_nothing_runs_twice(
    orcs_server_process: ServerProcess,
) -> None:
    shown = run_example("budget.py", orcs_server_process).splitlines()
    assert shown[:3] == [
        "… tea is under way",
        "The workflow has used up its 10 tokens. Shall it get as much again?",
        "… verdict is under way",
    ]
    assert int(shown[3].split()[0]) > 10


def test_a_plan_is_edited_skipped_in_and_planned_anew_while_it_runs(orcs_server_process: ServerProcess) -> None:
    shown = run_example("live_edit.py", orcs_server_process)
    revisions = re.findall(r"^revision (\d+): (\d+) tasks added, (\d+) changed, (\d+) removed$", shown, re.MULTILINE)
    assert [revision for revision, *_ in revisions] == ["1", "2", "3", "4"]
    assert revisions[1][1:] == ("2", "0", "0")
    assert revisions[2][1:] == ("0", "1", "0")
    assert int(revisions[3][3]) >= 1
    assert re.search(r"^cocoa And cocoa: skipped$", shown, re.MULTILINE)
    assert not re.search(r"^poster ", shown, re.MULTILINE)


@pytest.mark.parametrize("name", [path.name for path in EXAMPLES.glob("*.py")])
def test_every_example_says_how_to_run_it(name: str) -> None:
    introduction = (EXAMPLES / name).read_text().split('"""')[1]
    assert f"examples/{name}" in introduction or "orcs serve --agents" in introduction


def chart_plan(*agents: str) -> str:
    """Return a plan in which these agents chart a harbour one after the other."""
    tasks = [
        {
            "title": agent,
            "description": "Chart Kinsale.",
            "agent_id": agent,
            "dependencies": [index - 1] if index else [],
        }
        for index, agent in enumerate(agents)
    ]
    return json.dumps({"tasks": tasks})


def charts(llmock: LLMock, value: str, expected_version: int | None) -> None:
    arguments = {"key": "kinsale", "value": value, "scope": "shared:chart", "expected_version": expected_version}
    llmock.call_tool("memory_put", {**arguments, "as_json": False, "ttl_seconds": None})


def test_two_agents_share_conflict_and_are_rolled_back(tmp_path: Path, llmock: LLMock) -> None:
    llmock.reply(chart_plan("scout_agent", "pilot_agent"))
    charts(llmock, "11 fathoms", 0)
    llmock.reply("It is 11 fathoms deep.")
    charts(llmock, "a rock off the pier", 0)
    charts(llmock, "11 fathoms; a rock off the pier", 1)
    llmock.reply("There is a rock.")
    llmock.reply(chart_plan("scout_agent"))
    charts(llmock, "dry land", None)
    llmock.reply("It is dry.")
    environ = environ_for(
        ORCS_MODEL_BASE_URL=llmock.base_url("openai"), ORCS_MODEL_NAME="any-model", XDG_DATA_HOME=str(tmp_path)
    )
    command = [sys.executable, str(EXAMPLES / "shared_memory.py"), str(tmp_path / "chart.db")]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Chart the harbour of Kinsale: COMPLETED",
        "the chart says: 11 fathoms; a rock off the pier",
        "Chart the harbour of Kinsale once more: COMPLETED",
        "the chart says: dry land",
        "taken back: kinsale, agent_run:t1:1:result, agent_run:t1:1:start, task_result:t1",
        "the chart says: 11 fathoms; a rock off the pier",
        "version 4 by harbour-master",
        "version 3 by scout_agent",
        "version 2 by pilot_agent",
        "version 1 by scout_agent",
    ]
    merging = str(llmock.requests[4].body["messages"][-1]["content"])
    assert "is not at version 0 but at 1" in merging
    assert "11 fathoms" in merging


def test_an_agent_keeps_a_notebook_by_an_mcp_server(
    tmp_path: Path, llmock: LLMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name in ("mcp.toml", "mcp_notes.py", "haiku_agent.toml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    llmock.call_tool("notes__add_note", {"text": "Buy tea."})
    llmock.call_tool("notes__read_notes", {})
    llmock.reply("Tea is noted.")
    plan = tmp_path / "plan.json"
    task = {"id": "note", "title": "Note", "description": "Note that tea is to be bought.", "agent_id": "notes_agent"}
    plan.write_text(json.dumps({"tasks": [task]}))
    model = {"model_base_url": llmock.base_url("openai"), "model_name": "any-model"}
    server = ServerProcess(tmp_path, config=str(tmp_path / "mcp.toml"), **model)
    server.start()
    try:
        assert orcs("run", "--plan", str(plan), "--id", "w", "--detach", server=server).code == 0
        inbox = ""
        for _ in range(50):
            inbox = orcs("inbox", "w", server=server).out
            if "notes__add_note" in inbox:
                break
        assert "notes__add_note" in inbox
        assert not (tmp_path / "notes.txt").exists()
        assert orcs("approve", "w", "i1", "--yes", server=server).code == 0
        assert orcs("watch", "w", server=server).code == 0
        assert "Tea is noted." in orcs("output", "w", server=server).out
        assert (tmp_path / "notes.txt").read_text() == "Buy tea.\n"
        assert "Buy tea." in str(llmock.last_request.body)
        registered = orcs("agents", "register", str(tmp_path / "haiku_agent.toml"), server=server)
        assert registered.out.startswith("haiku_agent is registered")
    finally:
        server.kill()
