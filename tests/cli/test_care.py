"""`backup`, `restore` and `doctor` as an operator has them, on the files of a real server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from orcs_client import OrcsClient
from orcs_client.v1 import workflow_pb2, workflow_service_pb2
from tests.cli.command_line import PLAN, orcs
from tests.rpc.wire import connected, plan_of, refused, rest_of
from tests.server_process import ServerProcess

Start = Callable[..., ServerProcess]
_w = workflow_service_pb2

REGISTRY = """
from agents import Agent
registry = {"surveyor": Agent(name="surveyor", instructions="Survey.")}
"""


async def test_a_backup_taken_under_load_is_restored_and_its_runs_go_on_while_old_cursors_are_refused(
    start_server: Start, tmp_path: Path
) -> None:
    server, copy = start_server(offline_pace="0.2"), tmp_path / "copy.db"
    async with connected(server.address, server.token) as wire:
        created = await wire.create(workflow_id="before", plan=plan_of(a=(), b=("a",), c=("b",)))
        made = await asyncio.to_thread(orcs, "backup", str(copy), "--data", str(server.data), "--json")
        assert made.code == 0, made.err
        assert made.json["size"] == copy.stat().st_size
        later = await wire.create(workflow_id="after", plan=plan_of(a=()))
        await wire.finished("before")
        await wire.finished("after")
    refusal = await asyncio.to_thread(orcs, "restore", str(copy), "--data", str(server.data))
    assert refusal.code == 2
    assert f"process id {server.pid}" in refusal.err
    server.terminate()
    restored = await asyncio.to_thread(orcs, "restore", str(copy), "--data", str(server.data), "--json")
    assert (restored.code, restored.json["position"]) == (0, made.json["position"])
    server.start()
    async with connected(server.address, server.token) as wire:
        answer = await refused(rest_of(wire.watch(workflow_id="before", after_cursor=created.cursor)))
        assert (answer.code.name, answer.reason) == ("INVALID_ARGUMENT", "CURSOR_FOREIGN_EPOCH")
        workflow = await wire.finished("before")
        assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
        answer = await refused(wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="after")))
        assert answer.reason == "WORKFLOW_NOT_FOUND"
    assert later.workflow.id == "after"
    kept = orcs("doctor", "--data", restored.json["replaced"], "--json")
    assert (kept.code, kept.json["workflows"]) == (0, 2)


async def test_the_doctor_finds_a_server_healthy_while_it_works_and_after_it_was_killed(start_server: Start) -> None:
    server = start_server(offline_pace="30")
    async with OrcsClient(server.address, token=server.token) as client:
        await client.create_workflow("Compare tea and coffee")
        await client.create_workflow(plan=plan_of(a=(), b=("a",)))
        working = await asyncio.to_thread(orcs, "doctor", "--data", str(server.data), "--json")
        assert (working.code, working.json["findings"], working.json["live"]) == (0, [], 2)
    server.kill()
    killed = orcs("doctor", "--data", str(server.data))
    assert (killed.code, killed.err) == (0, "")
    assert "findings   none" in killed.out


def test_the_doctor_names_what_is_wrong_for_people_and_for_programs(start_server: Start) -> None:
    server = start_server()
    assert orcs("run", "--plan", "-", "--id", "w1", server=server, stdin=json.dumps(PLAN)).code == 0
    server.kill()
    with closing(sqlite3.connect(server.data)) as connection:
        connection.execute("DELETE FROM events WHERE seq = 2")
        connection.commit()
    told = orcs("doctor", "--data", str(server.data))
    assert told.code == 1
    assert "its log has a hole: event 2 is missing, the next one is 3" in told.out
    report = orcs("doctor", "--data", str(server.data), "--json")
    assert (report.code, report.json["healthy"]) == (1, False)
    assert {"check": "log", "namespace": "default", "workflow_id": "w1"}.items() <= report.json["findings"][0].items()


def test_the_doctor_names_the_live_workflows_that_a_server_with_these_settings_could_not_continue(
    start_server: Start, tmp_path: Path
) -> None:
    (tmp_path / "survey.py").write_text(REGISTRY)
    plan = {"tasks": [{"id": "t", "title": "Survey", "agent_id": "surveyor", "description": "Survey it."}]}
    server = ServerProcess(tmp_path, agent_registry="survey:registry", offline_pace="60")
    server.start()
    try:
        started = orcs("run", "--plan", "-", "--id", "w1", "--detach", server=server, stdin=json.dumps(plan))
        assert started.code == 0, started.err
    finally:
        server.kill()
    gone = orcs("doctor", "--data", str(server.data), "--json")
    assert gone.code == 1
    (finding,) = gone.json["findings"]
    assert (finding["check"], finding["workflow_id"]) == ("continue", "w1")
    assert "the agent 'surveyor' of unfinished tasks is gone" in finding["message"]
    with_it = orcs(
        "doctor", "--data", str(server.data), "--agents", "survey:registry", PYTHONPATH=f"{tmp_path}:{Path.cwd()}"
    )
    assert with_it.code == 0, with_it.out


def test_files_that_are_not_there_are_named_and_nothing_is_made(tmp_path: Path) -> None:
    data = tmp_path / "orcs.db"
    for arguments in (("doctor",), ("backup", str(tmp_path / "copy.db")), ("restore", str(tmp_path / "copy.db"))):
        done = orcs(*arguments, "--data", str(data))
        assert done.code == 2
        assert "There is no data file" in done.err
    assert list(tmp_path.iterdir()) == []
