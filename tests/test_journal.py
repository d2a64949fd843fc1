"""Servers that are killed in the middle of agents' runs: what is finished is never paid for, and never done, again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import zlib
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from orcs_client.v1 import workflow_pb2
from tests.journal_agents import TURNS, arguments_of
from tests.rpc.wire import connected
from tests.server_process import ServerProcess

TASKS = ("one", "two")
KILLED_AT = (5, 14, 22)
"""Lines in the notes at which the server is killed."""


async def test_what_is_finished_is_not_done_again_however_often_the_server_is_killed(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, agent_registry="tests.journal_agents:REGISTRY")
    notes = tmp_path / "state" / "notes.txt"
    plan = workflow_pb2.Plan(
        tasks=[workflow_pb2.PlanTask(id=name, title=name, description="Go.", agent_id="outer") for name in TASKS]
    )
    finished_before: list[tuple[int, set[str]]] = []
    try:
        server.start()
        async with connected(server.address, server.token) as wire:
            workflow_id = (await wire.create(plan=plan)).workflow.id
        for lines in KILLED_AT:
            while len(lines_of(notes)) < lines:  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(0.002)
            server.kill()
            finished_before.append((len(lines_of(notes)), finished(server.data)))
            server.start()
        async with connected(server.address, server.token) as wire:
            workflow = await wire.finished(workflow_id)
            log = [event for reply in await wire.watched(workflow_id=workflow_id) for event in reply.events]
    finally:
        server.kill()
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    done = lines_of(notes)
    for place, stored in finished_before:
        assert stored, "something was finished"
        assert not stored & set(done[place:])
    assert set(done) == every_call()
    in_flight = len(TASKS) * 4 * len(KILLED_AT)
    assert sum(Counter(done).values()) <= len(every_call()) + in_flight
    lost = [event.attempt_lost for event in log if event.WhichOneof("body") == "attempt_lost"]
    assert len(lost) == len(TASKS) * len(KILLED_AT)
    assert any(one.progressed for one in lost)
    assert not [event for event in log if event.WhichOneof("body") == "journal_mismatch"]
    asked = sum(line.startswith("model ") for line in done)
    answers = len(TASKS)
    assert stored_calls(server.data) + answers <= workflow.usage.requests <= asked


def lines_of(notes: Path) -> list[str]:
    return notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []


def stored_calls(data: Path) -> int:
    """Return how many model calls the journals hold."""
    with closing(sqlite3.connect(data)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM journal_model_calls").fetchone()
    return int(count)


def every_call() -> set[str]:
    calls = set()
    for name in TASKS:
        calls |= {f"model {name}/{turn}" for turn in range(TURNS + 1)}
        for here in (f"{name}.{turn}" for turn in range(TURNS)):
            calls |= {f"tool {name}:{here}", f"model {here}/0", f"tool {name}:{here}.0", f"model {here}/1"}
    return calls


def finished(data: Path) -> set[str]:
    """Return the lines of all calls whose results are stored. The model's calls are told by the tools that they asked for."""
    with closing(sqlite3.connect(data)) as connection:
        query = "SELECT sha256, codec, bytes FROM blobs"
        texts = {
            name: zlib.decompress(body) if codec == "zlib" else body for name, codec, body in connection.execute(query)
        }
        calls = connection.execute("SELECT task_id, path, turn, response FROM journal_model_calls").fetchall()
        tools = set(
            connection.execute("SELECT task_id, path, call_id FROM journal_tool_calls WHERE result IS NOT NULL")
        )
    outputs: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = {}
    for task_id, path, turn, response in calls:
        outputs.setdefault((task_id, path), {})[turn] = json.loads(texts[response])["output"]
    asked_in = {
        (task_id, item["call_id"]): arguments_of(item)["input"]
        for (task_id, _), turns in outputs.items()
        for items in turns.values()
        for item in items
        if item.get("name") == "ask"
    }
    lines = set()
    for (task_id, path), turns in outputs.items():
        name = asked_in[task_id, path] if path else task_id
        for turn, items in turns.items():
            lines.add(f"model {name}/{turn}")
            lines |= {
                f"tool {task_id}:{arguments_of(item)['what']}"
                for item in items
                if item.get("name") == "act" and (task_id, path, item["call_id"]) in tools
            }
    return lines
