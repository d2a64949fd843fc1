"""What model calls consume is counted once, whatever the moment at which the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from agents import Agent, function_tool
from agents import Usage as SdkUsage
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from orcs_server import idempotent
from orcs_server.agents.catalog import definition_of
from orcs_server.agents.definition import AgentDefinition
from orcs_server.engines.local import actor
from orcs_server.storage.journal import JournalKey, ModelCall, Spent
from orcs_server.storage.store import Write, blob_of
from orcs_server.workflow import events as e
from orcs_server.workflow.model import RetryPolicy, Usage
from tests.engines.support import PLANNING, FaultyStore, Gate, Stage, plan_of, server, task


@pytest.fixture(autouse=True)
def _usage_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Usage by itself is never stored in time: only what it comes along with takes it into the file."""
    monkeypatch.setattr(actor, "USAGE_PAUSE_S", 3_600)


def acting(steps: Sequence[ModelStep], reached: asyncio.Event | None = None, passes: int = 99) -> AgentDefinition:
    """Return an agent whose tool returns so many times; then it says that it was called, and does not return."""
    called = 0

    @idempotent
    @function_tool
    async def act() -> str:
        """Act."""
        nonlocal called
        called += 1
        if called > passes and reached is not None:
            reached.set()
            await asyncio.Event().wait()
        return "done"

    agent: Agent[Any] = Agent(name="acting", tools=[act], model=ScriptedModel(list(steps)))
    return definition_of("acting", agent)


def spent(taken: int, given: int) -> SdkUsage:
    return SdkUsage(requests=1, input_tokens=taken, output_tokens=given, total_tokens=taken + given)


def asks(call_id: str, taken: int, given: int) -> ModelStep:
    return ModelStep(output=[function_call("act", {}, call_id=call_id)], usage=spent(taken, given))


def answers(taken: int, given: int) -> ModelStep:
    return ModelStep(output=[assistant_message("well done")], usage=spent(taken, given))


async def test_usage_of_stored_calls_outlives_crashes_and_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    lives = [
        ([asks("one", 10, 4)], 0),
        ([], 1),  # The tool is called again, and the process ends again: without a call, nothing is added.
        ([asks("two", 20, 5)], 1),
    ]
    for steps, counted in lives:
        reached = asyncio.Event()
        agent = acting(steps, reached, passes=len(steps) if counted else 0)
        async with server(path, agents=[agent], stop=False) as world:
            if not counted:
                await world.create(tasks=[task("a", agent_id="acting")])
            await reached.wait()
            assert (await world.happened()).count("UsageRecorded a") == counted
    async with server(path, agents=[acting([answers(7, 3)])]) as world:
        ended = await world.end()
        moved = ended.tasks[0].progress
        assert moved.usage == ended.summary.progress.usage == Usage(3, 37, 0, 12)
        assert (moved.attempt, moved.calls, moved.attempt_usage) == (4, 1, Usage(1, 7, 0, 3))
        happened = await world.happened()
        assert happened.count("AttemptLost a") == 3
        assert happened.index("UsageRecorded a") + 1 == happened.index("AttemptLost a")


async def test_usage_of_an_attempt_that_had_ended_by_then_is_counted_too(tmp_path: Path) -> None:
    path, stage, gate = tmp_path / "orcs.db", Stage(), Gate()
    stage.acts["a"] = [gate]
    late, patience = blob_of("a response"), RetryPolicy(3, 60_000_000, 60_000_000)
    async with server(path, stage) as world:
        await world.create(tasks=[task("a", timeout_us=50_000)], retry=patience)
        await world.until_happened("AttemptTimedOut a")
        # Stored while the attempt was being given up, by a process that ends before it can count it.
        entry, spent = ModelCall("", 0, "hash", late.digest), Spent(2, Usage(2, 10, 0, 4))
        await world.store.append_journal(JournalKey("default", "w1", "a", 1), 1, [entry], [late], spent)
        counted = [record.event for record in await world.log() if isinstance(record.event, e.UsageRecorded)]
    async with server(path) as world:
        async with asyncio.timeout(10):
            while (await world.store.list_tasks("default", "w1"))[0].progress.calls < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        (row,) = await world.store.list_tasks("default", "w1")
        assert (row.progress.attempt, row.progress.usage) == (1, Usage(2, 10, 0, 4))
        assert all(event.calls == 1 for event in counted)


async def test_no_end_of_an_attempt_is_stored_without_its_last_calls_usage(tmp_path: Path) -> None:
    stage, writes = Stage(), list[Write]()
    stage.acts[PLANNING] = [ConnectionError("no route"), plan_of(("a", ()), ("b", ()))]
    stage.acts["a"] = [ConnectionError("no route")]
    async with server(tmp_path / "orcs.db", stage, faulty=True) as world:
        cast("FaultyStore", world.store).raises = writes.append
        await world.create()
        ended = await world.end()
        assert ended.summary.progress.usage.requests == len(stage.calls) == 5
    counted: set[tuple[str, int]] = set()
    over: set[tuple[str, int]] = set()
    for write in writes:
        for event in (record.event for record in write.events):
            if isinstance(event, e.UsageRecorded):
                counted.add((event.task_id, event.attempt))
            elif isinstance(event, e.AttemptFailed | e.AttemptSucceeded):
                over.add((event.task_id, event.attempt))
            elif isinstance(event, e.PlanRejected | e.PlanAdopted):
                over.add((PLANNING, write.state.progress.planning.attempt))
        assert over <= counted
    assert len(over) == 5
