"""Quotas of namespaces: who is refused, who waits, and that all goes on by itself once there is room."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any, cast

import pytest

from orcs_server.engines.base import Receipt
from orcs_server.engines.local import actor, spending
from orcs_server.engines.local.engine import EngineLimits
from orcs_server.errors import QuotaExceeded, Unavailable
from orcs_server.identity import Clock
from orcs_server.identity.quotas import DAY_US, NamespaceQuota, QuotaKind, Quotas, day_after, day_of
from orcs_server.storage.store import Write, blob_of
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import StopMode, Usage
from orcs_server.workflow.people import MessageMode
from orcs_server.workflow.states import TaskStatus
from tests.engines.support import PLANNING, FaultyStore, Gate, Stage, World, outcome, plan_of, server, statuses, task
from tests.engines.test_local_usage import acting, answers, asks

CALL = 6
"""Tokens of a call on the stage."""


class Calendar(Clock):
    """A clock that a test can set forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us

    def next_day(self) -> None:
        """Go on to a minute past the next midnight."""
        self.ahead_us += day_after(self.now_us()) + 60_000_000 - self.now_us()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    """A clock early in its day, to which midnight comes as soon as it is set there."""
    monkeypatch.setattr(spending, "LOOK_AGAIN_S", 0.01)
    calendar = Calendar()
    calendar.next_day()
    return calendar


def limited(slots: int = 8, **red: int) -> EngineLimits:
    """Return limits under which the namespace `default` has a quota, and no other one."""
    return EngineLimits(slots, quotas=Quotas({"default": NamespaceQuota(**red)}))


async def tokens(world: World, clock: Clock, namespace: str = "default") -> int:
    today = day_of(clock.now_us())
    return sum(day.tokens for day in await world.store.usage_days(namespace, today, today))


async def used_up(world: World) -> None:
    """Wait until the namespace starts nothing any more."""
    async with asyncio.timeout(10):
        while world.engine.standing("default").used_up is None:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


# What a day may consume


async def test_a_day_that_is_used_up_holds_what_is_ready_until_midnight_and_nobody_else(
    tmp_path: Path, clock: Calendar
) -> None:
    stage = Stage()
    chain = [task("a"), task("b", "a"), task("c", "b"), task("d", "c")]
    async with server(tmp_path / "orcs.db", stage, limits=limited(tokens_per_day=2 * CALL), clock=clock) as world:
        await world.create(tasks=chain)
        await world.until_happened("TaskReady c")
        await used_up(world)
        assert world.engine.standing("default").used_up == (QuotaKind.TOKENS_PER_DAY, 2 * CALL, 2 * CALL)
        with pytest.raises(QuotaExceeded) as refused:
            await world.create("w2", tasks=[task("x")])
        assert (refused.value.quota, refused.value.limit, refused.value.in_use) == ("tokens_per_day", 12, 12)
        assert refused.value.free_us == day_after(clock.now_us())
        assert 0 < (refused.value.retry_after_us or 0) <= DAY_US
        await world.create("other", tasks=[task("o"), task("p", "o"), task("q", "p")], namespace="blue")
        await world.end("other", "blue")
        assert world.engine.standing("blue").used_up is None
        snapshot = await world.store.snapshot("default", "w1")
        assert snapshot is not None
        assert statuses(snapshot) == {
            "a": TaskStatus.COMPLETED,
            "b": TaskStatus.COMPLETED,
            "c": TaskStatus.READY,
            "d": TaskStatus.PENDING,
        }
        happened = await world.happened()
        assert "AttemptStarted c" not in happened
        clock.next_day()
        ended = await world.end()
        assert ended.summary.progress.usage.requests == 4
        assert stage.calls.count("c") == 1
        assert await tokens(world, clock) == 2 * CALL
        # It was the last of this day, too.
        await used_up(world)


async def test_what_runs_ends_its_turn_and_goes_on_by_its_journal_the_next_day(tmp_path: Path, clock: Calendar) -> None:
    agent = acting([asks("one", 10, 4), asks("two", 20, 5), answers(7, 3)])
    limits = limited(tokens_per_day=14)
    async with server(tmp_path / "orcs.db", agents=[agent], limits=limits, clock=clock) as world:
        await world.create(tasks=[task("a", agent_id="acting")])
        await world.until_happened("AttemptInterrupted a")
        assert await tokens(world, clock) == 14
        assert world.engine.slots.free == limits.slots
        clock.next_day()
        async with asyncio.timeout(10):
            while (await world.happened()).count("AttemptInterrupted a") < 2:  # noqa: ASYNC110 - it is the second one
                await asyncio.sleep(0.005)
        clock.next_day()
        ended = await world.end()
        # Each call was made, and counted, once.
        assert ended.tasks[0].progress.usage == Usage(3, 37, 0, 12)
        assert ended.tasks[0].progress.failures == 0
        today = day_of(clock.now_us())
        days = await world.store.usage_days("default", today - 2, today)
        assert [day.tokens for day in days] == [10, 25, 14]


async def test_planning_waits_for_the_next_day_too(tmp_path: Path, clock: Calendar) -> None:
    stage = Stage()
    stage.acts[PLANNING] = [plan_of(("x", ()))]
    gate = Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage, limits=limited(tokens_per_day=CALL, slots=1), clock=clock) as world:
        await world.create("first", tasks=[task("a")])
        await gate.reached.wait()
        await world.create("planned")
        gate.opened.set()
        await world.end("first")
        await used_up(world)
        assert "PlanningStarted" not in await world.happened("planned")
        clock.next_day()
        await world.until_happened("TaskReady t1", "planned")
        clock.next_day()
        await world.end("planned")


async def test_a_restart_holds_what_was_used_up_and_a_larger_quota_lets_it_go(tmp_path: Path, clock: Calendar) -> None:
    path, quota = tmp_path / "orcs.db", 2 * CALL
    chain = [task("a"), task("b", "a"), task("c", "b")]
    async with server(path, limits=limited(cost_per_day=1, tokens_per_day=quota), clock=clock, stop=False) as world:
        await world.create(tasks=chain)
        await world.until_happened("TaskReady c")
    stage = Stage()
    async with server(path, stage, limits=limited(tokens_per_day=quota), clock=clock) as world:
        assert world.engine.spending.holds("default")
        await world.create("other", tasks=[task("o")], namespace="blue")
        await world.end("other", "blue")
        assert stage.calls == ["o"]
    async with server(path, stage, limits=limited(tokens_per_day=quota + 1), clock=clock) as world:
        await world.end()
        assert stage.calls == ["o", "c"]


async def test_what_could_not_be_stored_is_not_counted_against_the_day(
    tmp_path: Path, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "STORE_RETRY_S", (0.01, 0.01))
    refusals = 0

    def refuse(write: Write) -> Exception | None:
        nonlocal refusals
        if write.spent.requests and refusals < 2:
            refusals += 1
            return Unavailable("STORAGE_UNAVAILABLE", "not now")
        # The third try is stored, and its answer is lost.
        cast("FaultyStore", world.store).lose_answers = int(refusals == 2 and write.spent.requests > 0)
        return None

    async with server(tmp_path / "orcs.db", limits=limited(tokens_per_day=2 * CALL), clock=clock, faulty=True) as world:
        cast("FaultyStore", world.store).raises = refuse
        await world.create(tasks=[task("a")])
        await world.end()
        assert refusals == 2
        assert await tokens(world, clock) == CALL
        assert not world.engine.spending.holds("default")


async def test_a_ledger_that_cannot_be_read_holds_nobody_and_is_read_again(
    tmp_path: Path, clock: Calendar, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with server(tmp_path / "orcs.db", limits=limited(tokens_per_day=CALL), clock=clock) as world:
        with monkeypatch.context() as broken:

            async def unavailable(*_: object) -> list[object]:
                raise Unavailable("STORAGE_UNAVAILABLE", "not now")

            broken.setattr(world.store, "usage_days", unavailable)
            await world.engine.spend("default", Usage(1, 1))
            assert "could not be read" in caplog.text
            assert world.engine.standing("default").used_up is None
        await world.engine.spend("default", Usage(1, CALL))
        assert world.engine.standing("default").used_up == (QuotaKind.TOKENS_PER_DAY, CALL, CALL + 1)


# Attempts at once


async def test_no_more_attempts_run_at_once_than_the_quota_and_others_are_not_held(tmp_path: Path) -> None:
    stage = Stage()
    gates = {name: Gate() for name in "abcdxy"}
    for name, gate in gates.items():
        stage.acts[name] = [gate]
    async with server(tmp_path / "orcs.db", stage, limits=limited(max_running_tasks=2)) as world:
        await world.create(tasks=[task("a"), task("b"), task("c"), task("d")])
        await gates["b"].reached.wait()
        await world.create("other", tasks=[task("x"), task("y")], namespace="blue")
        await gates["y"].reached.wait()
        assert world.engine.standing("default").running == 2
        assert world.engine.standing("blue").running == 2
        assert stage.at_once == 4
        for gate in gates.values():
            gate.opened.set()
        await world.end()
        await world.end("other", "blue")
        await world.at_rest()
        assert world.engine.standing("default").running == 0


# Workflows


async def test_so_many_workflows_and_no_more_are_created_however_many_ask_at_once(tmp_path: Path) -> None:
    waits: dict[str, Any] = {"auto_start": False}
    async with server(tmp_path / "orcs.db", limits=limited(max_workflows=3)) as world:
        answers = await asyncio.gather(
            *(outcome(world.create(f"w{n}", [task("a")], request_id=f"r{n}", **waits)) for n in range(10)),
            *(outcome(world.create(f"w{n}", [task("a")], namespace="blue", **waits)) for n in range(5)),
        )
        created = [answer for answer in answers[:10] if isinstance(answer, Receipt)]
        refused = [answer for answer in answers[:10] if isinstance(answer, QuotaExceeded)]
        assert (len(created), len(refused)) == (3, 7)
        assert all(isinstance(answer, Receipt) for answer in answers[10:])
        assert {(one.quota, one.in_use, one.free_when) for one in refused} == {
            ("max_workflows", 3, "when a workflow ends")
        }
        # A repetition of what was created gets its first answer.
        again = await world.create(
            created[0].workflow_id, [task("a")], request_id=f"r{created[0].workflow_id[1:]}", **waits
        )
        assert again == Receipt(created[0].workflow_id, created[0].seq, repeated=True)
        await world.send(m.CancelWorkflow(StopMode.IMMEDIATE), created[0].workflow_id)
        await world.create("next", [task("a")], **waits)
        assert (await world.store.holdings("default")).workflows == 3


# Bytes


async def test_a_full_namespace_is_refused_more_and_what_runs_comes_to_its_end(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate("the end " * 2_000)
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage, limits=limited(max_bytes=4_000)) as world:
        await world.create(tasks=[task("a")])
        await gate.reached.wait()
        numbers = itertools.count()
        while (await world.store.holdings("default")).bytes < 4_000:
            await world.create(f"filler{next(numbers)}", [task("f")], auto_start=False)
        text = blob_of("hurry")
        message = m.SendMessage(text.digest, MessageMode.QUEUE, "a", "ada")
        for refused in (
            world.send(message, blobs=(text,)),
            world.create("w2", [task("b")]),
            world.send(m.Replan(text.digest), blobs=(text,)),
        ):
            answer = await outcome(refused)
            assert isinstance(answer, QuotaExceeded), answer
            assert (answer.quota, answer.free_when) == ("max_bytes", "when workflows or memory are deleted")
        await world.create("w2", [task("b")], namespace="blue")
        gate.opened.set()
        await world.end()
        await world.send(m.CancelWorkflow(StopMode.IMMEDIATE), "filler0")
        await world.send(m.DeleteWorkflow(), "w1")
        for number in range(next(numbers)):
            await world.send(m.CancelWorkflow(StopMode.IMMEDIATE), f"filler{number}")
            await world.send(m.DeleteWorkflow(), f"filler{number}")
        await world.create("w3", [task("c")])
        await world.end("w3")


async def test_the_end_of_a_day_is_counted_where_it_belongs(tmp_path: Path, clock: Calendar) -> None:
    async with server(tmp_path / "orcs.db", clock=clock) as world:
        await world.create(tasks=[task("a")])
        await world.end()
        clock.next_day()
        await world.create("w2", tasks=[task("a"), task("b")])
        await world.end("w2")
        today = day_of(clock.now_us())
        days = await world.store.usage_days("default", today - 10, today)
        assert [(day.day, day.tokens, day.counts.attempts, day.counts.created) for day in days] == [
            (today, 2 * CALL, 2, 1),
            (today - 1, CALL, 1, 1),
        ]
        recorded = [record.event.usage for record in await world.log("w2") if isinstance(record.event, e.UsageRecorded)]
        assert sum((usage.requests for usage in recorded), 0) == days[0].counts.usage.requests
