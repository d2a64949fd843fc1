"""The examples run as they stand, against real servers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from llmock.pytest_plugin import LLMock

from tests.cli.command_line import environ_for, orcs
from tests.server_process import ServerProcess

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, server: ServerProcess | None = None, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environ_for(server), timeout=60, check=False)
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


def test_an_agent_of_ones_own_calls_its_tool(tmp_path: Path, llmock: LLMock) -> None:
    server = ServerProcess(
        tmp_path, agent_registry="own_agents:registry", model_base_url=llmock.base_url("openai"), model_name="any-model"
    )
    shutil.copy(EXAMPLES / "own_agents.py", tmp_path)  # a server looks for modules where it is started
    llmock.call_tool("count_words", {"text": "All trains ten minutes late today."})
    llmock.reply("All trains ten minutes late today.")
    server.start()
    try:
        agents = orcs("agents", "--json", server=server).json["agents"]
        done = orcs("run", "--plan", str(EXAMPLES / "own_agents_plan.json"), server=server)
    finally:
        server.kill()
    assert {agent["id"]: agent.get("tools") for agent in agents}["editor_agent"] == ["count_words"]
    assert done.code == 0, done.err
    assert "All trains ten minutes late today." in done.out
    assert "6 words, 34 characters (counted for task shorten)" in str(llmock.last_request.body)


@pytest.mark.parametrize("name", [path.name for path in EXAMPLES.glob("*.py")])
def test_every_example_says_how_to_run_it(name: str) -> None:
    introduction = (EXAMPLES / name).read_text().split('"""')[1]
    assert f"examples/{name}" in introduction or "orcs serve --agents" in introduction
