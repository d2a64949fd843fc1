"""The local engine over a store that fails: nothing is lost, nothing is done twice, and whoever asked is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from orcs_server.errors import Unavailable
from orcs_server.storage.store import Write
from orcs_server.workflow import events as e
from orcs_server.workflow.model import FailureKind
from orcs_server.workflow.states import WorkflowStatus
from tests.engines.support import FaultyStore, Gate, Stage, World, outcome, server, task


def faults(world: World) -> FaultyStore:
    return cast("FaultyStore", world.store)


async def test_a_store_that_fails_for_a_while_loses_nothing(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate("kept")
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage, faulty=True) as world:
        await world.create(tasks=[task("a"), task("b", "a"), task("c")])
        await gate.reached.wait()
        faults(world).down = True
        gate.opened.set()
        await _until_refused(world, 2)
        refused = await outcome(world.create("w2", tasks=[task("a")]))
        faults(world).down = False
        ended = await world.end()
        assert isinstance(refused, Unavailable)
        assert sorted(stage.calls) == ["a", "b", "c"]
        assert {one.progress.attempt for one in ended.tasks} == {1}
        await world.at_rest()
        assert world.engine.slots.free == 8


async def test_a_start_that_could_not_be_stored_is_tried_again(tmp_path: Path) -> None:
    """The turn had no message at all: only a slot that had come free."""
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage, faulty=True) as world:
        await world.create("first", tasks=[task("a")], max_parallel_tasks=1)
        await gate.reached.wait()
        failed = 0

        def refuse_two_starts(write: Write) -> Exception | None:
            nonlocal failed
            only_starts = all(isinstance(record.event, e.AttemptStarted) for record in write.events)
            if only_starts and failed < 2:
                failed += 1
                return Unavailable("STORAGE_UNAVAILABLE", "not now")
            return None

        faults(world).raises = refuse_two_starts
        world.engine.slots._free = 0
        await world.create("second", tasks=[task("b")])
        for _ in range(7):
            world.engine.slots.release("default", "worker")
        await world.end("second")
        assert failed > 0
        gate.opened.set()
        await world.end("first")


async def test_a_commit_whose_answer_was_lost_is_found_and_watchers_see_it_all(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    told: list[int] = []
    async with server(
        tmp_path / "orcs.db",
        stage,
        faulty=True,
        on_commit=lambda _, __, records, ___: told.extend(r.seq for r in records),
    ) as world:
        await world.create(tasks=[task("a"), task("b", "a")])
        await gate.reached.wait()
        faults(world).lose_answers = 1
        gate.opened.set()
        await world.end()
        await world.at_rest()
        assert told == [record.seq for record in await world.log()]
        assert stage.calls == ["a", "b"]


async def test_a_creation_whose_answer_was_lost_runs_and_its_repetition_is_answered(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db", faulty=True) as world:
        faults(world).lose_answers = 1
        lost = await outcome(world.create(tasks=[task("a")], request_id="r1"))
        assert isinstance(lost, Unavailable)
        assert (await world.create(tasks=[task("a")], request_id="r1")).repeated
        await world.end()
        await world.at_rest()


async def test_a_report_that_cannot_be_stored_fails_its_attempt_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def poison(write: Write) -> Exception | None:
        bad = any(isinstance(one.event, e.AttemptSucceeded) and one.event.task_id == "a" for one in write.events)
        return OverflowError("integer out of range") if bad else None

    async with server(tmp_path / "orcs.db", faulty=True) as world:
        faults(world).raises = poison
        await world.create(tasks=[task("a"), task("b")])
        ended = await world.until(WorkflowStatus.FAILED)
        failure = ended.tasks[0].progress.failure
        assert failure is not None
        assert failure.kind is FailureKind.INTERNAL
        assert "integer out of range" not in failure.message
        assert ended.tasks[1].progress.output is not None
        assert "integer out of range" in caplog.text


async def test_a_listener_that_fails_does_not_harm_the_run(tmp_path: Path) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("broken")

    async with server(tmp_path / "orcs.db", on_commit=broken) as world:
        await world.create(tasks=[task("a")])
        await world.end()


async def _until_refused(world: World, times: int) -> None:
    async with asyncio.timeout(10):
        while faults(world).refusals < times:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.002)
