"""A restart tells, in one report, which workflows it cannot continue and why, and goes on with all the others."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from agents import Agent

from orcs_server.agents.definition import AgentDefinition
from orcs_server.engines.local.takeover import MOST_NAMED, Takeover
from orcs_server.workflow.states import WorkflowStatus
from tests.engines.support import Gate, Stage, server, task


def surveyor() -> AgentDefinition:
    return AgentDefinition("surveyor", "Survey.", source="registry", template=Agent(name="surveyor"))


async def told(caplog: pytest.LogCaptureFixture, words: str) -> str:
    """Wait for a line of the log with these words; return it."""
    async with asyncio.timeout(30):
        while True:
            for line in caplog.messages:
                if words in line:
                    return line
            await asyncio.sleep(0.005)


async def test_a_restart_names_every_run_that_it_cannot_continue_and_continues_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "orcs.db"
    stage = Stage()
    stage.acts.update({name: [Gate()] for name in ("good", "gone", "bad")})
    async with server(path, stage, agents=[surveyor()], stop=False) as world:
        await world.create("w-good", tasks=[task("good")])
        await world.create("w-gone", tasks=[task("gone", agent_id="surveyor")])
        await world.create("w-bad", tasks=[task("bad")])
        await world.create("w-waits", tasks=[task("later", agent_id="surveyor")], auto_start=False)
        await world.create("w-waits-bad", tasks=[task("later")], auto_start=False)
        for name in ("w-good", "w-gone", "w-bad"):
            await world.until(WorkflowStatus.RUNNING, name)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE tasks SET spec = '{' WHERE workflow_id IN ('w-bad', 'w-waits-bad')")
        connection.commit()
    with caplog.at_level(logging.INFO, "orcs.engine"):
        async with server(path) as world:
            assert (await world.end("w-good")).summary.progress.status is WorkflowStatus.COMPLETED
            report = await told(caplog, "cannot be continued by this server")
    first, *lines = report.splitlines()
    assert first.startswith("4 of 5 unfinished workflows")
    named = {line.split()[0]: line for line in lines}
    assert sorted(named) == ["w-bad", "w-gone", "w-waits", "w-waits-bad"]
    for name in ("w-gone", "w-waits"):
        assert "the agent 'surveyor' of unfinished tasks is gone: start the server with it again" in named[name]
    for name in ("w-bad", "w-waits-bad"):
        assert "unreadable (task spec)" in named[name]


async def test_a_restart_that_can_continue_everything_says_how_much_that_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server(tmp_path / "orcs.db", agents=[surveyor()]) as world:
        await world.create("w1", tasks=[task("later", agent_id="surveyor")], auto_start=False)
        await world.create("w2", tasks=[task("later")], auto_start=False)
    with caplog.at_level(logging.INFO, "orcs.engine"):
        async with server(tmp_path / "orcs.db", agents=[surveyor()]):
            assert await told(caplog, "go on") == "2 unfinished workflows go on"


def test_a_report_names_only_so_many_and_counts_the_others(caplog: pytest.LogCaptureFixture) -> None:
    found = Takeover()
    for number in range(MOST_NAMED + 3):
        found.note("default", f"w{number}", "its agent is gone")
    found.report()
    assert caplog.messages[0].endswith("and 3 more, which `orcs doctor` names")
