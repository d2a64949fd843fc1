"""What programs do that embed ORCS, and what they and their agents are refused, is in the audit log of their file, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from agents import Agent
from agents.testing import ScriptedModel, assistant_message

from orcs_server import MemorySystem, WorkflowController, WorkflowOrchestrator, memory_put
from orcs_server.errors import PermissionDenied
from orcs_server.storage.audit import AuditRecord, ChainWalk
from tests.embed.test_embed import QUERY, Notes, staged
from tests.engines.support import Stage, plan_of
from tests.executor.memories import use


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCS_MODEL__PROVIDER", "offline")


async def log_of(system: MemorySystem) -> list[AuditRecord]:
    store = (await system.shared()).store.audit
    records = await store.records("default", 0, 1_000)
    walk = ChainWalk("default", await store.chain("default"))
    assert (walk.take(records) or walk.end()) is None
    return records


async def test_changes_of_programs_and_of_their_agents_are_recorded(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts[""] = [plan_of(("a", ()))]
    steps = [
        [use("memory_put", "p1", key="mine", value="a secret")],
        [use("memory_put", "p2", key="theirs", value="a secret", scope="global")],
        [assistant_message("done")],
    ]
    worker = Agent(name="worker", instructions="Work.", tools=[memory_put], model=ScriptedModel(steps))
    async with MemorySystem(tmp_path / "embedded.db") as system:
        await system.store("k", "a secret")
        orchestrator, controller = (
            WorkflowOrchestrator(system, {"worker": worker}),
            WorkflowController(staged(stage)[0], system),
        )
        workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
        assert (await orchestrator.execute(workflow))["status"] == "COMPLETED"
        await system.delete("k")
        records = await log_of(system)
    said = [(one.draft.method, one.draft.operation, one.draft.resource, one.draft.outcome) for one in records]
    scope = f"workflow:{workflow.id}"
    assert said[:2] == [
        ("program", "memory.write", "global", "OK"),
        ("program", "workflows.create", workflow.id, "OK"),
    ]
    assert ("program", "workflows.start", workflow.id, "OK") in said
    assert ("agent", "memory.write", scope, "OK") in said
    assert ("agent", "memory.write", "global", "PERMISSION_DENIED") in said
    assert said[-1] == ("program", "memory.delete", "global", "OK")
    by_agents = [one.draft for one in records if one.draft.method == "agent"]
    assert {(one.agent, one.principal, one.workflow_id, one.task_id) for one in by_agents} == {
        ("worker", "program", workflow.id, "t1")
    }
    assert "a secret" not in str(records)


async def test_what_a_program_and_its_agents_may_not_do_is_recorded(tmp_path: Path) -> None:
    stage, notes = Stage(), Notes()
    stage.acts[""] = [plan_of(("a", ()))]
    planner, registry = staged(stage)
    async with MemorySystem(tmp_path / "embedded.db") as system:
        orchestrator = WorkflowOrchestrator(system, registry)
        controller = WorkflowController(planner, system, notes)
        workflow = await controller.get_workflow(await controller.create_workflow(QUERY))
        notes.forbidden = {"workflows.start"}
        with pytest.raises(PermissionDenied):
            await orchestrator.execute(workflow)
        notes.forbidden = {"agents.run"}
        assert (await orchestrator.execute(workflow))["status"] == "FAILED"
        refused = [one.draft for one in await log_of(system) if one.draft.outcome != "OK"]
    assert [(one.method, one.operation, one.resource, one.agent, one.task_id) for one in refused] == [
        ("program", "workflows.start", workflow.id, "", ""),
        ("agent", "agents.run", "worker", "worker", "t1"),
    ]
    assert {one.outcome for one in refused} == {"PERMISSION_DENIED"}
