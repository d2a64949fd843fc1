"""The example of several users in one process runs as it stands; and the plan's fragments do what they say."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from examples import multi_user
from orcs_server import (
    MemorySystem,
    ORCSRunHooks,
    PlannerAgent,
    PlanningFailed,
    WorkflowController,
    WorkflowOrchestrator,
    WorkflowStatus,
    create_planner_agent,
)
from orcs_server.errors import NotFound, PermissionDenied
from tests.embed.test_embed import staged
from tests.engines.support import Stage, plan_of

USERS = ("ada", "bob")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORCS_MODEL__PROVIDER", "offline")
    monkeypatch.setenv("ORCS_OFFLINE_PACE", "0")
    monkeypatch.setenv("ORCS_DATA", str(tmp_path / "orcs.db"))


async def test_two_users_see_nothing_of_each_other_and_a_third_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = dict(zip(USERS, await multi_user.main(tmp_path), strict=True))
    shown = capsys.readouterr().out
    assert "eve: PermissionDenied" in shown
    for user, other in (USERS, USERS[::-1]):
        mine, theirs = results[user], results[other]
        assert mine["status"] == "COMPLETED"
        isolation = multi_user.UserIsolationProvider(user)
        async with MemorySystem(isolation_provider=isolation) as memory:
            controller = WorkflowController(create_planner_agent(), memory)
            workflow = await controller.get_workflow(mine["workflow_id"])
            # Workflows: one's own with its context and its settings, the other's not at all.
            assert workflow.external_context["preferences"] == multi_user.user_db.users[user].preferences
            with pytest.raises(NotFound):
                await controller.get_workflow(theirs["workflow_id"])
            # Memory: neither by key, nor by scope, nor by words.
            assert await memory.retrieve("last_workflow") == mine["workflow_id"]
            assert await memory.keys() == ["last_workflow"]
            assert await memory.keys(f"workflow:{theirs['workflow_id']}") == []
            word = {"ada": "cocoa", "bob": "planes"}
            assert await memory.search(word[user])
            assert not await memory.search(word[other])
        # Files: what happened, each in one's own.
        told = [json.loads(line) for line in (tmp_path / f"{user}.jsonl").read_text().splitlines()]
        assert {line["workflow"] for line in told} == {mine["workflow_id"]}
        assert {"WorkflowCreated", "PlanAdopted", "TaskCompleted", "WorkflowCompleted"} <= {
            line["event"] for line in told
        }
    assert not (tmp_path / "eve.jsonl").exists()
    assert not any(multi_user.quota_service.running.values())


def test_the_example_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, multi_user.__file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "ada: COMPLETED" in done.stdout
    assert "bob: COMPLETED" in done.stdout


PLANNED = {
    MemorySystem: ["isolation_provider"],
    MemorySystem.store: ["key", "value", "scope"],
    MemorySystem.create_agent_context: ["agent_id", "workflow_id"],
    WorkflowController: ["planner_agent", "memory_system", "permission_checker"],
    WorkflowController.create_workflow: ["query", "context_provider"],
    WorkflowController.get_workflow: ["workflow_id"],
    WorkflowOrchestrator: ["memory_system", "agent_registry", "resource_manager", "telemetry_collector"],
    WorkflowOrchestrator.execute: ["workflow", "status_callback"],
    PlannerAgent: ["model", "config_provider"],
    ORCSRunHooks: ["memory_system", "workflow_id"],
    create_planner_agent: [],
}


@pytest.mark.parametrize("name", PLANNED, ids=lambda name: name.__qualname__)
def test_each_keyword_of_the_plan_is_there(name: Any) -> None:
    assert set(PLANNED[name]) <= set(inspect.signature(name).parameters)


async def test_the_plans_fragments_work_with_the_plans_fields() -> None:
    async with MemorySystem() as memory:
        stage = Stage()
        stage.acts[""] = [plan_of(("a", ()))]
        planner, registry = staged(stage)
        orchestrator = WorkflowOrchestrator(memory, registry)
        controller = WorkflowController(planner_agent=planner, memory_system=memory)
        workflow_id = await controller.create_workflow("Compare", resource_requirements={"gpus": 1})
        workflow = await controller.get_workflow(workflow_id)
        assert workflow.metadata.get("resource_requirements", {}) == {"gpus": 1}
        assert workflow.status == WorkflowStatus.READY
        assert (workflow.started_at, workflow.completed_at) == (None, None)
        assert workflow.description == "Generated workflow for query: Compare"
        await orchestrator.execute(workflow, status_callback=None)
        times = (workflow.created_at, workflow.started_at, workflow.completed_at)
        created, started, completed = (datetime.fromisoformat(time or "") for time in times)
        assert created <= started <= completed
        task = workflow.tasks[0]
        assert datetime.fromisoformat(task.started_at or "") <= datetime.fromisoformat(task.completed_at or "")
        assert task.metadata == {"attempts": 1}
        assert "error" not in workflow.metadata
        context = memory.create_agent_context(agent_id="planner", workflow_id=workflow.id)
        await context.store("k", "v")
        assert await memory.retrieve("k", scope=f"workflow:{workflow.id}") == "v"


async def test_why_a_planning_failed_stands_in_the_metadata() -> None:
    async with MemorySystem() as memory:
        stage = Stage()
        stage.acts[""] = [plan_of(("a", ()), agent_id="nobody")] * 3
        controller = WorkflowController(staged(stage)[0], memory)
        with pytest.raises(PlanningFailed) as failed:
            await controller.create_workflow("Compare")
        workflow = await controller.get_workflow(failed.value.workflow_id)
        assert "nobody" in workflow.metadata["planning_error"]
        assert workflow.metadata["error"] == workflow.error


async def test_the_permission_checker_is_asked_for_what_agents_do() -> None:
    asked: list[tuple[str, str]] = []

    class Checker:
        def check_permission(self, operation: str, resource_id: str) -> bool:
            asked.append((operation, resource_id))
            return operation != "agents.run" or resource_id != "planner"

    async with MemorySystem() as memory:
        controller = WorkflowController(PlannerAgent(model="gpt-4"), memory, Checker())
        with pytest.raises((PlanningFailed, PermissionDenied)):
            await controller.create_workflow("Compare tea and coffee")
    assert ("agents.run", "planner") in asked
