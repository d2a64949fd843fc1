"""ORCS within a program: the plan's names over the real engine, with the offline model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agents import Agent

import orcs_server
from orcs_server import (
    MemorySystem,
    PlannerAgent,
    PlanningFailed,
    Task,
    TaskStatus,
    Workflow,
    WorkflowController,
    WorkflowOrchestrator,
    WorkflowStatus,
)
from orcs_server.engines.local.engine import LocalEngine
from orcs_server.errors import IllegalTransition, InvalidArgument, PermissionDenied
from tests.engines.support import Gate, Stage, plan_of

QUERY = "Compare tea and coffee"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCS_MODEL__PROVIDER", "offline")
    monkeypatch.setenv("ORCS_OFFLINE_PACE", "0")


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[MemorySystem]:
    async with MemorySystem(tmp_path / "embedded.db") as memory:
        yield memory


def staged(stage: Stage) -> tuple[PlannerAgent | Any, dict[str, Any]]:
    """Return a planner and a registry of agents of the SDK, all played by the stage."""
    return Agent(name="planner", instructions="Plan.", model=stage), {
        "worker": Agent(name="worker", instructions="Work.", model=stage)
    }


class Notes:
    """All of the plan's hooks in one; notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.resources: list[str] = []
        self.events: list[str] = []
        self.forbidden: set[str] = set()

    def check_permission(self, operation: str, resource_id: str) -> bool:
        self.asked.append(operation)
        return operation not in self.forbidden

    async def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:
        self.resources.append(f"allocate {requirements}")
        return "allocate" not in self.forbidden

    async def release_resources(self, workflow_id: str) -> None:
        self.resources.append("release")

    async def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
        self.events.append(event_type)


async def test_a_workflow_is_ready_after_planning_and_keeps_its_context(memory: MemorySystem) -> None:
    class Provider:
        async def get_context(self) -> dict[str, Any]:
            return {"language": "German"}

    controller = WorkflowController(PlannerAgent(), memory)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY, Provider()))
    assert workflow.status is WorkflowStatus.READY
    assert (workflow.query, workflow.external_context) == (QUERY, {"language": "German"})
    assert [task.status for task in workflow.tasks] == [TaskStatus.PENDING] * len(workflow.tasks)
    assert len(workflow.tasks) > 1


async def test_the_callback_hears_every_change_of_a_task_in_order(memory: MemorySystem) -> None:
    controller, orchestrator = WorkflowController(PlannerAgent(), memory), WorkflowOrchestrator(memory)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
    heard: dict[str, list[TaskStatus]] = {}

    async def callback(seen: Workflow, task: Task) -> None:
        assert seen is workflow
        assert task in workflow.tasks
        heard.setdefault(task.id, []).append(task.status)

    result = await orchestrator.execute(workflow, callback)
    expected = [TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.COMPLETED]
    assert heard == {task.id: expected for task in workflow.tasks}
    assert result["results"] == {task.id: task.result for task in workflow.tasks}
    assert (result["status"], result["error"]) == ("COMPLETED", None)
    assert result["usage"]["requests"] == len(workflow.tasks) + 1
    assert await orchestrator.execute(workflow) == result  # It has ended: its output is read.


async def test_runs_and_results_are_in_the_workflows_memory(memory: MemorySystem) -> None:
    controller = WorkflowController(PlannerAgent(), memory)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
    result = await WorkflowOrchestrator(memory).execute(workflow)
    scope = f"workflow:{workflow.id}"
    for task in workflow.tasks:
        assert await memory.retrieve(f"task_result:{task.id}", scope) == result["results"][task.id]
    runs = await memory.keys(scope, "agent_run:")
    assert len(runs) == 2 * len(workflow.tasks)
    assert (await memory.retrieve(f"agent_run:{workflow.tasks[0].id}:1:start", scope))["agent_name"]


async def test_agents_of_ones_own_are_planned_with_and_run(memory: MemorySystem) -> None:
    stage = Stage()
    stage.acts[""] = [plan_of(("a", ()), ("b", (0,)))]
    planner, registry = staged(stage)
    orchestrator = WorkflowOrchestrator(memory, registry)
    controller = WorkflowController(planner, memory)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
    result = await orchestrator.execute(workflow)
    assert result["results"] == {"t1": "result of a", "t2": "result of b"}
    assert stage.instructions["a"] == "Work."


async def test_a_failed_task_is_an_output_that_says_so(memory: MemorySystem) -> None:
    stage = Stage()
    stage.acts.update({"": [plan_of(("a", ()), ("b", (0,)), ("c", ()))], "a": [ValueError("broken")]})
    planner, registry = staged(stage)
    orchestrator = WorkflowOrchestrator(memory, registry)
    controller = WorkflowController(planner, memory)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
    result = await orchestrator.execute(workflow)
    assert result["status"] == "FAILED"
    assert "t1" in result["error"]
    assert result["results"] == {"t3": "result of c"}
    assert workflow.tasks[1].status is TaskStatus.SKIPPED
    assert workflow.tasks[1].error is not None


async def test_planning_that_fails_raises_and_says_why(memory: MemorySystem) -> None:
    stage = Stage()
    stage.acts[""] = [plan_of(("a", ()), agent_id="nobody")] * 3
    controller = WorkflowController(staged(stage)[0], memory)
    with pytest.raises(PlanningFailed, match="nobody") as failed:
        await controller.create_workflow(QUERY)
    assert (await controller.get_workflow(failed.value.workflow_id)).status is WorkflowStatus.FAILED


async def test_an_empty_query_is_refused(memory: MemorySystem) -> None:
    with pytest.raises(InvalidArgument):
        await WorkflowController(PlannerAgent(), memory).create_workflow("  ")


async def test_the_hooks_are_asked_and_told(memory: MemorySystem) -> None:
    notes = Notes()
    controller = WorkflowController(PlannerAgent(), memory, notes)
    orchestrator = WorkflowOrchestrator(memory, resource_manager=notes, telemetry_collector=notes)
    workflow_id = await controller.create_workflow(QUERY, resource_requirements={"gpus": 1})
    assert notes.resources == []
    await orchestrator.execute(await controller.get_workflow(workflow_id))
    assert notes.resources == ["allocate {'gpus': 1}", "release"]
    assert {"workflows.create", "workflows.start", "agents.run"} <= set(notes.asked)
    # The collector hears of every event, of those before the execution, too.
    assert notes.events[0] == "WorkflowCreated"
    assert notes.events.index("PlanAdopted") < notes.events.index("WorkflowStarted")
    assert "WorkflowCompleted" in notes.events


async def test_what_is_forbidden_is_not_done(memory: MemorySystem) -> None:
    notes = Notes()
    controller = WorkflowController(PlannerAgent(), memory, notes)
    orchestrator = WorkflowOrchestrator(memory, resource_manager=notes)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
    notes.forbidden = {"workflows.start"}
    with pytest.raises(PermissionDenied):
        await orchestrator.execute(workflow)
    notes.forbidden = {"allocate"}
    result = await orchestrator.execute(workflow)
    assert result["status"] == "FAILED"
    assert "refused" in result["error"]
    assert notes.resources[-1] == "release"
    notes.forbidden = {"workflows.create"}
    with pytest.raises(PermissionDenied):
        await controller.create_workflow(QUERY)


async def test_a_cancelled_execution_goes_on_where_it_stood(memory: MemorySystem) -> None:
    stage, gate = Stage(), Gate("late")
    stage.acts.update({"": [plan_of(("a", ()), ("b", (0,)))], "b": [gate]})
    planner, registry = staged(stage)
    orchestrator = WorkflowOrchestrator(memory, registry)
    controller = WorkflowController(planner, memory)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
    execution = asyncio.create_task(orchestrator.execute(workflow))
    await gate.reached.wait()
    with pytest.raises(IllegalTransition, match="already"):
        await orchestrator.execute(workflow)
    execution.cancel()
    with pytest.raises(asyncio.CancelledError):
        await execution
    assert gate.cancelled
    result = await orchestrator.execute(workflow)
    assert (result["status"], stage.calls) == ("COMPLETED", ["", "a", "b", "b"])


async def test_an_execution_that_is_still_ending_keeps_others_off(
    memory: MemorySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, gate = Stage(), Gate()
    stage.acts.update({"": [plan_of(("a", ()))], "a": [gate]})
    planner, registry = staged(stage)
    orchestrator = WorkflowOrchestrator(memory, registry)
    controller = WorkflowController(planner, memory)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
    ending, go_on, stop = asyncio.Event(), asyncio.Event(), LocalEngine.stop

    async def slow(engine: LocalEngine, grace_s: float) -> None:
        ending.set()
        await go_on.wait()
        await stop(engine, grace_s)

    execution = asyncio.create_task(orchestrator.execute(workflow))
    await gate.reached.wait()
    monkeypatch.setattr(LocalEngine, "stop", slow)
    execution.cancel()
    await ending.wait()
    monkeypatch.undo()
    with pytest.raises(IllegalTransition, match="already"):
        await orchestrator.execute(workflow)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await execution
    assert (await orchestrator.execute(workflow))["status"] == "COMPLETED"


async def test_an_error_of_the_callback_ends_the_execution_but_not_the_workflow(memory: MemorySystem) -> None:
    def broken(_: Workflow, __: Task) -> None:
        raise LookupError("mine")

    controller, orchestrator = WorkflowController(PlannerAgent(), memory), WorkflowOrchestrator(memory)
    workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
    with pytest.raises(LookupError, match="mine"):
        await orchestrator.execute(workflow, broken)
    assert (await orchestrator.execute(workflow))["status"] == "COMPLETED"


def test_importing_the_package_loads_neither_the_sdk_nor_a_database() -> None:
    code = (
        "import sys, orcs_server; assert not {'agents', 'openai', 'sqlite3', 'pydantic', 'msgspec'} & set(sys.modules); "
        "assert 'MemorySystem' in dir(orcs_server); orcs_server.WorkflowStatus; assert 'agents' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_public_name_is_there_and_others_are_not() -> None:
    assert all(getattr(orcs_server, name) is not None for name in orcs_server.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        orcs_server.__getattr__("Nothing")
