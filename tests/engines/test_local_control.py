"""What people do to workflows that run, as the local engine carries it out: stops, freezes, inputs, edits, budgets, restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orcs_server.engines.local import freezing
from orcs_server.errors import IllegalTransition
from orcs_server.identity import Caller
from orcs_server.storage.people import InputFilter
from orcs_server.storage.store import blob_of
from orcs_server.workflow import messages as m
from orcs_server.workflow.edits import AddTask, SetDependencies
from orcs_server.workflow.model import ApprovalPolicy, Budget, Failure, FailureKind, Output, StopMode
from orcs_server.workflow.people import Decision, InputKind
from orcs_server.workflow.states import TaskStatus, WorkflowStatus
from tests.engines.support import PLANNING, Gate, Stage, World, plan_of, server, statuses, task

ADA = Caller("ada", "default", ("operate",))


async def decide(world: World, decision: Decision, input_id: str = "i1", **rest: object) -> None:
    (waiting,) = [
        one for one in await world.store.list_inputs("default", InputFilter(), 100) if one.input.id == input_id
    ]
    shown = waiting.input.need.shown
    await world.send(m.ResolveApproval(input_id, decision, shown, principal="bob", **rest))  # type: ignore[arg-type]


async def test_a_drain_lets_what_runs_end_and_starts_nothing_new(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a")])
        await gate.reached.wait()
        await world.send(m.PauseWorkflow(StopMode.DRAIN, "lunch"))
        assert (await world.store.snapshot("default", "w1")).summary.progress.status is WorkflowStatus.PAUSING  # type: ignore[union-attr]
        gate.opened.set()
        paused = await world.until(WorkflowStatus.PAUSED)
        assert statuses(paused) == {"a": TaskStatus.COMPLETED, "b": TaskStatus.READY}
        await world.at_rest()
        await world.send(m.ResumeWorkflow())
        await world.end()
        assert stage.calls == ["a", "b"]


async def test_an_immediate_pause_cuts_off_what_runs_and_resume_goes_on(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a")])
        await gate.reached.wait()
        await world.send(m.PauseWorkflow(StopMode.IMMEDIATE))
        await world.until(WorkflowStatus.PAUSED)
        assert gate.cancelled
        await world.send(m.ResumeWorkflow())
        ended = await world.end()
        assert (ended.tasks[0].progress.attempt, ended.tasks[0].progress.failures) == (2, 0)
        assert "AttemptInterrupted a" in await world.happened()


async def test_a_pause_while_planning_holds_the_plan_until_resume(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate(plan_of(("a", ())))
    stage.acts[PLANNING] = [gate]
    path = tmp_path / "orcs.db"
    async with server(path, stage) as world:
        await world.create()
        await gate.reached.wait()
        await world.send(m.PauseWorkflow(StopMode.DRAIN))
        gate.opened.set()
        await world.until(WorkflowStatus.PAUSED)
    async with server(path, stage) as world:
        assert stage.calls == [PLANNING]
        await world.send(m.ResumeWorkflow())
        await world.end()
        assert stage.calls == [PLANNING, "a"]


async def test_an_attempt_that_is_only_stopped_does_not_end_an_outage(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    hello = blob_of("Hello?")
    down = Failure(FailureKind.CONNECTION, "It is down.", retryable=True, retry_after_us=10**12, spares_budget=True)
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create("w1", [task("a")])
        await gate.reached.wait()
        world.engine.outages.note("worker", down)
        # Its answer does not count, for it does not know of the message: it stops instead of asking again.
        await world.send(m.SendMessage(hello.digest), "w1", blobs=(hello,))
        await world.send(m.PauseWorkflow(StopMode.AFTER_TURN), "w1")
        gate.opened.set()
        await world.until(WorkflowStatus.PAUSED, "w1")
        await world.create("w2", [task("b")])
        assert world.engine.slots.waiting == 1
        world.engine.outages.note("worker", None)
        await world.end("w2")


@pytest.mark.parametrize("mode", [StopMode.AFTER_TURN, StopMode.IMMEDIATE])
async def test_a_cancelled_workflow_keeps_its_finished_outputs(tmp_path: Path, mode: StopMode) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["b"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a"), task("c", "b")])
        await gate.reached.wait()
        await world.send(m.CancelWorkflow(mode, "no longer needed"))
        gate.opened.set()
        ended = await world.until(WorkflowStatus.CANCELLED)
        assert statuses(ended)["a"] is TaskStatus.COMPLETED
        assert statuses(ended)["c"] is TaskStatus.CANCELLED
        with pytest.raises(IllegalTransition, match="CANCELLED"):
            await world.send(m.ResumeWorkflow())
        await world.at_rest()


async def test_a_freeze_stops_a_namespace_across_restarts_and_a_thaw_leaves_a_persons_pause(tmp_path: Path) -> None:
    stage, gate, path = Stage(), Gate(), tmp_path / "orcs.db"
    stage.acts["a"] = [gate]
    async with server(path, stage) as world:
        await world.create("w1", [task("a")])
        await gate.reached.wait()
        await world.create("w2", [task("b")], auto_start=False)
        await world.send(m.PauseWorkflow(StopMode.DRAIN), "w2")
        assert await world.engine.freeze(ADA, StopMode.IMMEDIATE, "an incident") == 2
        await world.until(WorkflowStatus.PAUSED, "w1")
        await world.create("w3", [task("c")])
        await world.until(WorkflowStatus.PAUSED, "w3")
        await world.create("v1", [task("d")], namespace="red")
        await world.end("v1", "red")
        with pytest.raises(IllegalTransition, match="frozen"):
            await world.send(m.ResumeWorkflow(), "w1")
    async with server(path, stage) as world:
        assert stage.calls == ["a", "d"]
        await world.create("w4", [task("e")])
        await world.until(WorkflowStatus.PAUSED, "w4")
        assert await world.engine.thaw(ADA) == 4
        for name in ("w1", "w3", "w4"):
            await world.end(name)
        await world.until(WorkflowStatus.PAUSED, "w2")
        assert await world.engine.thaw(ADA) == 0
        assert await world.store.freezes() == []


async def test_freezes_and_thaws_at_once_take_turns_and_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    async with server(path, Stage()) as world:
        await world.create("w1", [task("a")], auto_start=False)
        for _ in range(5):
            counts = await asyncio.gather(
                world.engine.freeze(ADA, StopMode.DRAIN, "an incident"), world.engine.thaw(ADA), world.engine.thaw(ADA)
            )
            assert [*counts] == [1, 1, 0]
            await asyncio.gather(world.engine.thaw(ADA), world.engine.freeze(ADA, StopMode.DRAIN, "another"))
            await world.until(WorkflowStatus.PAUSED, "w1")
            assert len(await world.store.freezes()) == 1
            with pytest.raises(IllegalTransition, match="frozen"):
                await world.send(m.ResumeWorkflow(), "w1")
            assert await world.engine.thaw(ADA) == 1
            await world.until(WorkflowStatus.READY, "w1")


async def test_a_thaw_that_meets_a_freeze_under_way_leaves_nothing_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "AT_ONCE", 1)
    names = [f"w{index}" for index in range(10)]
    async with server(tmp_path / "orcs.db") as world:
        for name in names:
            await world.create(name, [task("a")], auto_start=False)
        freeze = asyncio.create_task(world.engine.freeze(ADA, StopMode.DRAIN, ""))
        await world.until(WorkflowStatus.PAUSED, names[0])
        await world.engine.thaw(ADA)
        assert await freeze == len(names)
        for name in names:
            await world.until(WorkflowStatus.READY, name)
        assert await world.store.freezes() == []


async def test_a_freeze_reaches_everything_though_whoever_asked_for_it_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "AT_ONCE", 1)
    names = [f"w{index}" for index in range(10)]
    async with server(tmp_path / "orcs.db") as world:
        for name in names:
            await world.create(name, [task("a")], auto_start=False)
        freeze = asyncio.create_task(world.engine.freeze(ADA, StopMode.DRAIN, ""))
        await world.until(WorkflowStatus.PAUSED, names[0])
        freeze.cancel()
        for name in names:
            await world.until(WorkflowStatus.PAUSED, name)


async def test_what_is_reopened_while_its_namespace_is_frozen_starts_nothing_before_the_thaw(tmp_path: Path) -> None:
    stage = Stage()
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a")])
        await world.end()
        await world.engine.freeze(ADA, StopMode.DRAIN, "an incident")
        receipt = await world.send(m.RetryTask("a"))
        snapshot = await world.store.snapshot("default", "w1")
        assert snapshot is not None
        assert snapshot.summary.seq == receipt.seq
        assert snapshot.summary.progress.status is WorkflowStatus.PAUSED
        await world.at_rest()
        assert stage.calls == ["a"]
        assert await world.engine.thaw(ADA) == 1
        ended = await world.end()
        assert (stage.calls, ended.tasks[0].progress.attempt) == (["a", "a"], 2)


async def test_a_task_waits_for_its_approval_out_of_memory_and_over_a_restart(tmp_path: Path) -> None:
    stage, path = Stage(), tmp_path / "orcs.db"
    async with server(path, stage) as world:
        await world.create(tasks=[task("a"), task("b", "a", needs_approval=True)])
        await world.at_rest()
        (waiting,) = await world.store.list_inputs("default", InputFilter(), 10)
        assert (waiting.input.need.kind, waiting.input.task_id) == (InputKind.TASK_APPROVAL, "b")
    async with server(path, stage) as world:
        assert world.engine.active == ()
        await decide(world, Decision.APPROVE)
        await world.end()
        assert stage.calls == ["a", "b"]


async def test_a_plan_that_is_rejected_with_a_reason_is_made_anew(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts[PLANNING] = [plan_of(("a", ())), plan_of(("b", ()))]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(approval_policy=ApprovalPolicy.PLAN)
        await world.until(WorkflowStatus.READY)
        await decide(world, Decision.REJECT, reason="Leave a out.")
        await world.at_rest()
        await decide(world, Decision.APPROVE, "i2")
        ended = await world.end()
        assert [one.spec.title for one in ended.tasks] == ["b"]
        assert stage.calls == [PLANNING, PLANNING, "b"]


async def test_a_live_edit_adds_a_task_before_one_that_has_not_begun(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a")])
        await gate.reached.wait()
        edits = (AddTask(task("c", "a")), SetDependencies("b", ("a", "c")))
        await world.send(m.EditPlan(edits, revision=1), blobs=(blob_of("do c"),))
        gate.opened.set()
        await world.end()
        assert stage.calls == ["a", "c", "b"]


async def test_a_retried_task_changes_only_what_rests_on_its_output(tmp_path: Path) -> None:
    stage = Stage()
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a"), task("c", "b"), task("d")])
        await world.end()
        stage.acts["a"] = ["another result"]
        stage.acts["b"] = ["result of b"]  # The same as before: c keeps its output.
        await world.send(m.RetryTask("a", include_dependants=True))
        await world.until(WorkflowStatus.RUNNING)
        ended = await world.end()
        assert sorted(stage.calls) == ["a", "a", "b", "b", "c", "d"]
        assert statuses(ended)["c"] is TaskStatus.COMPLETED


async def test_a_failed_workflow_goes_on_with_a_substitute(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts["a"] = [ValueError("no such thing")]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a", max_attempts=1), task("b", "a")])
        await world.until(WorkflowStatus.FAILED)
        await world.at_rest()
        await world.send(m.SkipTask("a", "found by hand"))
        ended = await world.end()
        assert statuses(ended) == {"a": TaskStatus.SKIPPED, "b": TaskStatus.COMPLETED}


async def test_a_workflow_budget_that_is_used_up_asks_and_goes_on(tmp_path: Path) -> None:
    stage = Stage()
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a"), task("c", "b")], budget=Budget(tokens=6))
        await world.at_rest()
        (waiting,) = await world.store.list_inputs("default", InputFilter(), 10)
        assert waiting.input.need.kind is InputKind.BUDGET
        assert stage.calls == ["a"]
        await decide(world, Decision.APPROVE)
        await world.at_rest()
        assert stage.calls == ["a", "b"]
        await world.send(m.UpdateWorkflow(Budget(tokens=100), principal="bob"))
        await world.end()
        assert stage.calls == ["a", "b", "c"]


async def test_skip_cancel_and_substitutes_reach_what_depends_on_them(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b"), task("c", "b"), task("d", "a")])
        await gate.reached.wait()
        await world.send(m.CancelTask("a", "wrong"))
        failed = await world.until(WorkflowStatus.FAILED)
        assert gate.cancelled
        assert statuses(failed)["d"] is TaskStatus.SKIPPED
        output = Output(world.frozen.digest, "application/json", len(world.frozen.data))
        await world.at_rest()
        await world.send(m.SkipTask("a", output=output))
        ended = await world.end()
        assert ended.tasks[0].progress.output == output
        assert statuses(ended)["d"] is TaskStatus.COMPLETED
