"""Workflows, run by the local engine to their ends."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from orcs_server.engines.local.engine import EngineLimits
from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import FailureKind, FailurePolicy, ResourceStatus
from orcs_server.workflow.states import TaskStatus, WorkflowStatus
from tests.engines.support import (
    PLANNING,
    Act,
    Gate,
    Stage,
    plan_of,
    server,
    statuses,
    task,
)


async def test_a_query_is_planned_and_its_tasks_run_in_parallel(tmp_path: Path) -> None:
    stage = Stage()
    gates = {name: Gate(f"about {name}") for name in ("a", "b", "c")}
    stage.acts.update({name: [gate] for name, gate in gates.items()})
    stage.acts[PLANNING] = [plan_of(("a", ()), ("b", ()), ("c", ()), ("join", (0, 1, 2)))]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create()
        await asyncio.gather(*(gate.reached.wait() for gate in gates.values()))
        for gate in gates.values():
            gate.opened.set()
        ended = await world.end()
        assert [one.progress.status for one in ended.tasks] == [TaskStatus.COMPLETED] * 4
        assert all(f"about {name}" in stage.inputs["join"] for name in gates)
        assert ended.summary.progress.usage.requests == 5
        await world.log()
        await world.at_rest()


async def test_each_attempt_reaches_the_model_once_although_commits_and_endings_overlap(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(16)]
    stage, gates = Stage(), {name: Gate() for name in names}
    stage.acts.update({name: [gate] for name, gate in gates.items()})
    async with server(tmp_path / "orcs.db", stage, limits=EngineLimits(slots=16)) as world:
        await world.create(tasks=[*(task(name) for name in names), task("join", *names)])
        await asyncio.gather(*(gate.reached.wait() for gate in gates.values()))
        for gate in gates.values():
            gate.opened.set()
            for _ in range(12):  # Some endings fall into the commits of others.
                await asyncio.sleep(0)
        await world.end()
        assert sorted(stage.calls) == sorted([*names, "join"])
        assert stage.most_at_once <= 16


async def test_a_failed_attempt_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts["a"] = [ConnectionError("no route"), ConnectionError("no route")]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a")])
        ended = await world.end()
        assert ended.tasks[0].progress.attempt == 3
        assert (await world.happened()).count("TaskRetryScheduled a") == 2


async def test_planning_that_fails_is_tried_again_and_a_bad_plan_repaired(tmp_path: Path) -> None:
    stage = Stage()
    bad = plan_of(("a", ()), agent_id="nobody")
    stage.acts[PLANNING] = [ConnectionError("no route"), bad, plan_of(("a", ()))]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create()
        ended = await world.end()
        assert ended.summary.progress.planning.attempt == 3
        assert "nobody" in stage.inputs[PLANNING]


async def test_an_attempt_that_takes_too_long_is_cancelled(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        # On a busy machine an attempt may not even come to its call, and more than one may take too long.
        await world.create(tasks=[task("a", timeout_us=50_000, max_attempts=50)])
        ended = await world.end()
        assert gate.cancelled
        assert (await world.happened()).count("AttemptTimedOut a") == ended.tasks[0].progress.attempt - 1 > 0


async def test_planning_that_takes_too_long_is_cancelled_and_tried_again(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts[PLANNING] = [gate, plan_of(("a", ()))]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(task_timeout_us=300_000)
        ended = await world.end()
        assert gate.cancelled
        assert ended.summary.progress.planning.attempt == 2
        assert ended.summary.progress.planning.failures == 1
        rejection = next(record.event for record in await world.log() if isinstance(record.event, e.PlanRejected))
        assert rejection.failure.kind is FailureKind.TIMEOUT


async def test_a_failed_task_skips_only_its_dependants(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts["a"] = [ValueError("broken")]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a"), task("c", "b"), task("d")])
        ended = await world.until(WorkflowStatus.FAILED)
        assert statuses(ended) == {
            "a": TaskStatus.FAILED,
            "b": TaskStatus.SKIPPED,
            "c": TaskStatus.SKIPPED,
            "d": TaskStatus.COMPLETED,
        }


async def test_fail_fast_cancels_what_runs(tmp_path: Path) -> None:
    stage, gate, trigger = Stage(), Gate(), Gate(error=ValueError("broken"))
    stage.acts.update({"a": [trigger], "b": [gate]})
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b")], failure_policy=FailurePolicy.FAIL_FAST)
        await asyncio.gather(gate.reached.wait(), trigger.reached.wait())
        trigger.opened.set()
        ended = await world.until(WorkflowStatus.FAILED)
        assert statuses(ended) == {"a": TaskStatus.FAILED, "b": TaskStatus.CANCELLED}
        await world.at_rest()
        assert gate.cancelled


async def test_a_workflow_that_is_not_to_start_by_itself_leaves_memory_and_comes_back(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        await world.create(tasks=[task("a")], auto_start=False)
        await world.at_rest()
        assert world.engine.state("default", "w1") is None
        await world.send(m.StartWorkflow())
        await world.end()
        await world.at_rest()


async def test_a_workflow_sleeps_until_its_time_has_come(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        soon = time.time_ns() // 1000 + 150_000
        await world.create(tasks=[task("a")], not_before_us=soon)
        await world.at_rest()
        ended = await world.end()
        assert ended.summary.progress.started_us is not None
        assert ended.summary.progress.started_us >= soon


async def test_a_sleeping_workflow_wakes_in_the_next_server(tmp_path: Path) -> None:
    async with server(tmp_path / "orcs.db") as world:
        await world.create(tasks=[task("a")], not_before_us=time.time_ns() // 1000 + 200_000)
    async with server(tmp_path / "orcs.db") as world:
        await world.end()


async def test_equal_ids_in_two_namespaces_are_two_workflows(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts["a"] = [Gate("first"), Gate("second")]
    gates = [act for act in stage.acts["a"] if isinstance(act, Gate)]
    async with server(tmp_path / "orcs.db", stage) as world:
        for namespace in ("one", "two"):
            await world.create(tasks=[task("a")], namespace=namespace)
        await asyncio.gather(*(gate.reached.wait() for gate in gates))
        assert set(world.engine.active) == {("one", "w1"), ("two", "w1")}
        for gate in gates:
            gate.opened.set()
        outputs = []
        for namespace in ("one", "two"):
            output = (await world.end(namespace=namespace)).tasks[0].progress.output
            assert output is not None
            outputs.append(await world.store.blob(namespace, output.digest))
        assert sorted(outputs) == [b"first", b"second"]


class Quota:
    """A resources hook that notes what it is asked."""

    def __init__(self, *, grants: bool = True) -> None:
        self.calls: list[str] = []
        self.grants = grants
        self.refuses_back = 0

    async def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:
        self.calls.append(f"allocate {workflow_id}")
        return self.grants

    async def release_resources(self, workflow_id: str) -> None:
        self.calls.append(f"release {workflow_id}")
        if self.refuses_back:
            self.refuses_back -= 1
            raise OSError("not now")

    def factory(self, _: Caller, origin: Origin) -> HookSet:
        return HookSet(resources=self)


async def test_resources_are_given_back_after_success_and_after_failure(tmp_path: Path) -> None:
    acts: list[Act] = ["fine", ValueError("broken")]
    for number, act in enumerate(acts):
        stage, quota = Stage(), Quota()
        stage.acts["a"] = [act]
        async with server(tmp_path / f"{number}.db", stage, factory=quota.factory) as world:
            await world.create(tasks=[task("a")], holds_resources=True)
            await world.until(WorkflowStatus.FAILED if number else WorkflowStatus.COMPLETED)
            await world.resources(ResourceStatus.RELEASED)
            await world.at_rest()
        assert quota.calls == ["allocate w1", "release w1"]


async def test_refused_resources_end_the_workflow(tmp_path: Path) -> None:
    quota = Quota(grants=False)
    async with server(tmp_path / "orcs.db", factory=quota.factory) as world:
        await world.create(tasks=[task("a")], holds_resources=True)
        ended = await world.until(WorkflowStatus.FAILED)
        assert ended.summary.progress.failure is not None
        assert ended.summary.progress.failure.kind is FailureKind.RESOURCES_REFUSED
        assert world.stage.calls == []


async def test_resources_that_could_not_be_given_back_are_given_back_by_the_next_server(tmp_path: Path) -> None:
    quota = Quota()
    quota.refuses_back = 1
    async with server(tmp_path / "orcs.db", factory=quota.factory) as world:
        await world.create(tasks=[task("a")], holds_resources=True)
        await world.end()
    async with server(tmp_path / "orcs.db", factory=quota.factory) as world:
        await world.resources(ResourceStatus.RELEASED)
    assert quota.calls == ["allocate w1", "release w1", "release w1"]


async def test_a_thousand_workflows_of_one_tenant_do_not_hold_up_anothers_one(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["blocker"] = [gate]
    async with server(tmp_path / "orcs.db", stage, limits=EngineLimits(slots=1)) as world:
        await world.create("first", [task("blocker")], namespace="big")
        await gate.reached.wait()
        await asyncio.gather(*(world.create(f"w{n}", [task("crowd")], namespace="big") for n in range(300)))
        await world.create("mine", [task("mine")], namespace="small")
        gate.opened.set()
        await world.end("mine", "small")
        assert stage.calls.index("mine") <= 2
