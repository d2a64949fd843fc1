"""The local engine when things go wrong: crashes, shutdowns, repeated requests, agents that misbehave."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from orcs_server.engines.base import Receipt
from orcs_server.engines.local.flights import Flights
from orcs_server.errors import AlreadyExists, IllegalTransition, InvalidArgument, NotFound, Unavailable
from orcs_server.storage.store import Write
from orcs_server.workflow import messages as m
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import WorkflowStatus
from tests.engines.support import PLANNING, Gate, Stage, World, outcome, plan_of, server, task

# Repetition


async def test_a_repeated_request_gets_the_first_receipt(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        first = await world.create(tasks=[task("a")], request_id="r1", auto_start=False)
        second = await world.create(tasks=[task("a")], request_id="r1", auto_start=False)
        assert (second.workflow_id, second.seq, second.repeated) == (first.workflow_id, first.seq, True)
        started = await world.send(m.StartWorkflow(), request_id="s1")
        await world.end()
        assert (await world.send(m.StartWorkflow(), request_id="s1")).seq == started.seq
        with pytest.raises(IllegalTransition):
            await world.send(m.StartWorkflow(), request_id="s2")


async def test_a_request_id_of_another_command_is_refused(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        await world.create(tasks=[task("a")], request_id="r1")
        for workflow_id in ("w1", "w2"):
            with pytest.raises(InvalidArgument, match="belongs to another"):
                await world.create(workflow_id, tasks=[task("a"), task("b")], request_id="r1")
        await world.end()
        with pytest.raises(NotFound):
            await world.send(m.StartWorkflow(), "w2")


async def test_a_request_repeated_at_once_is_carried_out_once(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        receipts = await asyncio.gather(*(world.create(tasks=[task("a")], request_id="r1") for _ in range(8)))
        assert len({receipt.seq for receipt in receipts}) == 1
        assert sum(not receipt.repeated for receipt in receipts) == 1
        await world.end()
        assert world.stage.calls == ["a"]


async def test_a_request_repeated_after_a_restart_is_known(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        first = await world.create(tasks=[task("a")], request_id="r1")
        await world.end()
    async with server(tmp_path / "orcs.db") as world:
        second = await world.create(tasks=[task("a")], request_id="r1")
        assert (second.seq, second.repeated) == (first.seq, True)
        assert world.stage.calls == []


async def test_a_taken_id_is_refused_and_harms_nobody(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        await world.create(tasks=[task("a")])
        for _ in range(2):  # While it runs, and after it has left memory.
            with pytest.raises(AlreadyExists):
                await world.create(tasks=[task("b")])
            await world.end()
            await world.at_rest()


async def test_a_start_and_a_doomed_create_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        await world.create(tasks=[task("a")], auto_start=False)
        await world.at_rest()
        created, started = await asyncio.gather(
            outcome(world.create(tasks=[task("b")])), outcome(world.send(m.StartWorkflow()))
        )
        assert isinstance(created, AlreadyExists)
        assert isinstance(started, Receipt)
        await world.end()


async def test_a_start_while_a_doomed_create_is_being_stored_is_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(tmp_path / "orcs.db") as world:
        await world.create(tasks=[task("a")], auto_start=False)
        await world.at_rest()
        storing, go_on, commit = asyncio.Event(), asyncio.Event(), world.store.commit

        async def slow(write: Write) -> None:
            storing.set()
            await go_on.wait()
            await commit(write)

        monkeypatch.setattr(world.store, "commit", slow)
        creating = asyncio.create_task(outcome(world.create(tasks=[task("b")])))
        await storing.wait()
        starting = asyncio.create_task(outcome(world.send(m.StartWorkflow())))
        await asyncio.sleep(0)
        go_on.set()
        assert isinstance(await creating, AlreadyExists)
        assert isinstance(await starting, Receipt)
        await world.end()


async def test_a_start_that_loads_the_workflow_is_carried_out_despite_a_doomed_create(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(tmp_path / "orcs.db") as world:
        await world.create(tasks=[task("a")], auto_start=False)
        await world.at_rest()
        loading, go_on, load = asyncio.Event(), asyncio.Event(), world.store.load

        async def slow(namespace: str, workflow_id: str) -> Any:
            loading.set()
            await go_on.wait()
            return await load(namespace, workflow_id)

        monkeypatch.setattr(world.store, "load", slow)
        starting = asyncio.create_task(outcome(world.send(m.StartWorkflow())))
        await loading.wait()
        creating = asyncio.create_task(outcome(world.create(tasks=[task("b")])))
        await asyncio.sleep(0)
        go_on.set()
        assert isinstance(await starting, Receipt)
        assert isinstance(await creating, AlreadyExists)
        await world.end()


async def test_a_deleted_workflow_is_gone_and_its_id_stays_taken(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        await world.create(tasks=[task("a")])
        with pytest.raises(IllegalTransition):
            await world.send(m.DeleteWorkflow())
        await world.end()
        answers = await asyncio.gather(*(outcome(world.send(m.DeleteWorkflow())) for _ in range(3)))
        assert [type(answer) for answer in answers] == [Receipt, NotFound, NotFound]
        assert await world.store.get_summary("default", "w1") is None
        assert await world.happened() == ["WorkflowDeleted"]
        with pytest.raises(AlreadyExists):
            await world.create(tasks=[task("a")])
        await world.at_rest()


# Restarts


async def test_what_a_crash_cut_off_counts_as_lost_and_finishes(tmp_path: Path) -> None:
    stage, gates = Stage(), [Gate(), Gate()]
    stage.acts.update({"b": [gates[0]], PLANNING: [plan_of(("a", ()), ("b", ()), ("c", (0, 1)))]})
    async with server(tmp_path / "orcs.db", stage, stop=False) as world:
        await world.create()
        await gates[0].reached.wait()
        await _until_completed(world, "a")
    async with server(tmp_path / "orcs.db") as world:
        ended = await world.end()
        assert world.stage.calls == ["b", "c"]
        moved = {one.spec.title: one.progress for one in ended.tasks}
        assert (moved["b"].failures, moved["b"].attempt) == (0, 2)
        assert (await world.happened()).count("AttemptLost t2") == 1


async def test_a_crash_while_planning_plans_again(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts[PLANNING] = [gate]
    async with server(tmp_path / "orcs.db", stage, stop=False) as world:
        await world.create()
        await gate.reached.wait()
    stage = Stage()
    stage.acts[PLANNING] = [plan_of(("a", ()))]
    async with server(tmp_path / "orcs.db", stage) as world:
        assert (await world.end()).summary.progress.planning.attempt == 2
        assert (await world.happened()).count("AttemptLost") == 1


async def test_an_orderly_stop_costs_attempts_nothing(tmp_path: Path) -> None:
    stage, gates = Stage(), [Gate(), Gate()]
    stage.acts.update({"a": [gates[0]], "b": [gates[1]]})
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b"), task("c", "a", "b")])
        await asyncio.gather(*(gate.reached.wait() for gate in gates))
    assert all(gate.cancelled for gate in gates)
    async with server(tmp_path / "orcs.db") as world:
        ended = await world.end()
        assert [(one.progress.losses, one.progress.failures) for one in ended.tasks] == [(0, 0)] * 3
        assert (await world.happened()).count("AttemptInterrupted a") == 1


async def test_a_stop_lets_attempts_end_and_starts_no_others(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a")])
        await gate.reached.wait()
        stopping = asyncio.create_task(world.engine.stop(10))
        await asyncio.sleep(0)
        refused = await outcome(world.create("w2", tasks=[task("a")]))
        gate.opened.set()
        await stopping
        assert isinstance(refused, Unavailable)
        assert (await world.happened())[-1] == "TaskReady b"


async def test_a_stop_in_the_middle_of_commits_loses_nothing(tmp_path: Path) -> None:
    for turns in range(0, 60, 6):
        path = tmp_path / f"{turns}.db"
        async with server(path) as world:
            await world.create(tasks=[task(f"t{number}") for number in range(12)])
            for _ in range(turns):
                await asyncio.sleep(0)
        async with server(path) as world:
            ended = await world.end()
            assert {(one.progress.losses, one.progress.failures) for one in ended.tasks} == {(0, 0)}


async def test_a_stop_in_the_moment_in_which_an_attempt_begins_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(tmp_path / "orcs.db") as world:
        follow = Flights.follow

        def follow_and_stop(flights: Flights, state: WorkflowState, now_us: int) -> int | None:
            wake_at_us = follow(flights, state, now_us)
            if flights:
                world.engine.draining = True
                flights.interrupt()
            return wake_at_us

        async def endless(*_: Any, **__: Any) -> Any:
            await asyncio.Event().wait()

        monkeypatch.setattr(Flights, "follow", follow_and_stop)
        monkeypatch.setattr(world.engine.executor, "run_attempt", endless)
        await world.create(tasks=[task("a")])
    async with server(tmp_path / "orcs.db") as world:
        monkeypatch.undo()
        ended = await world.end()
        assert "AttemptInterrupted a" in await world.happened()
        assert (ended.tasks[0].progress.losses, ended.tasks[0].progress.failures) == (0, 0)


async def test_an_agent_that_ignores_its_cancellation_does_not_hold_up_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("orcs_server.engines.local.ending.STOP_PATIENCE_S", 0.05)
    stage, release = Stage(), asyncio.Event()
    reached = asyncio.Event()

    async def stubborn(*_: Any, **__: Any) -> Any:
        reached.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        raise ValueError("too late")

    async with server(tmp_path / "orcs.db", stage) as world:
        monkeypatch.setattr(world.engine.executor, "run_attempt", stubborn)
        await world.create(tasks=[task("a")])
        await reached.wait()
        with caplog.at_level(logging.ERROR):
            await world.engine.stop(0)
        assert "ignores its cancellation" in caplog.text
        assert (await world.happened())[-1] == "AttemptInterrupted a"
        release.set()
        await asyncio.sleep(0.01)


# Agents that misbehave


async def test_a_cancellation_that_an_agent_lets_slip_fails_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slips(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    async with server(tmp_path / "orcs.db") as world:
        monkeypatch.setattr(world.engine.executor, "run_attempt", slips)
        await world.create(tasks=[task("a")])
        ended = await world.until(WorkflowStatus.FAILED)
        assert ended.tasks[0].progress.failure is not None
        assert "fault" in ended.tasks[0].progress.failure.message


async def test_usage_that_comes_after_the_attempts_end_still_counts(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["b"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b")])
        await _until_completed(world, "a")
        actor = world.engine._actors["default", "w1"]
        before = (await world.store.list_tasks("default", "w1"))[0].progress.usage
        actor.tell_usage(m.UsageRecorded(1, 5, before + before, "a"), actor="agent:worker")
        gate.opened.set()
        ended = await world.end()
        assert ended.tasks[0].progress.usage == before + before
        actor.tell_usage(m.UsageRecorded(1, 9, before, "a"), actor="agent:worker")
        await world.at_rest()


async def _until_completed(world: World, title: str) -> None:
    async with asyncio.timeout(10):
        while True:
            tasks = await world.store.list_tasks("default", "w1")
            if any(one.spec.title == title and one.progress.output is not None for one in tasks):
                return
            await asyncio.sleep(0.002)
