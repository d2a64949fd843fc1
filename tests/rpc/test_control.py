"""Control over the wire: pause, cancel, freeze, tasks one by one, the plan as a document, messages, budgets."""

from __future__ import annotations

from orcs_client.v1 import (
    common_pb2,
    control_service_pb2,
    plan_edit_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from tests.rpc.control import happened, states, until_state
from tests.rpc.wire import Wire, plan_of, refused

_c, _t, _w, _p = control_service_pb2, task_service_pb2, workflow_service_pb2, plan_edit_pb2
PAUSED, READY, COMPLETED = (
    workflow_pb2.WORKFLOW_STATE_PAUSED,
    workflow_pb2.WORKFLOW_STATE_READY,
    workflow_pb2.WORKFLOW_STATE_COMPLETED,
)
CHAIN = {"a": (), "b": ("a",), "c": ("b",)}


async def test_a_pause_holds_what_is_ready_and_a_resumption_goes_back_to_where_it_stood(client: Wire) -> None:
    await client.create(plan=plan_of(a=()), workflow_id="w", auto_start=False)
    request = _c.PauseWorkflowRequest(workflow_id="w", reason="lunch", mode=workflow_pb2.STOP_MODE_DRAIN)
    paused = await client.call("PauseWorkflow", request)
    assert (paused.workflow.state, paused.workflow.paused, paused.workflow.frozen) == (PAUSED, True, False)
    again = await client.call("PauseWorkflow", request)
    assert again.workflow.update_time == paused.workflow.update_time
    listed = await client.call("ListWorkflows", _w.ListWorkflowsRequest())
    assert listed.workflows[0].paused
    start = await refused(client.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w")))
    assert start.code.name == "FAILED_PRECONDITION"
    resumed = await client.call("ResumeWorkflow", _c.ResumeWorkflowRequest(workflow_id="w"))
    assert (resumed.workflow.state, resumed.workflow.paused) == (READY, False)
    await client.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w"))
    assert (await client.finished("w")).state == COMPLETED


async def test_a_cancellation_is_final_and_repeats_change_nothing(client: Wire) -> None:
    await client.create(plan=plan_of(**CHAIN), workflow_id="w", auto_start=False)
    request = _c.CancelWorkflowRequest(workflow_id="w", reason="not needed", request_id="once")
    cancelled = await client.call("CancelWorkflow", request)
    ended = await client.finished("w")
    assert ended.state == workflow_pb2.WORKFLOW_STATE_CANCELLED
    assert set((await states(client, "w")).values()) == {"CANCELLED"}
    assert (await client.call("CancelWorkflow", request)).cursor == cancelled.cursor
    for name, refusal in (
        ("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id="w")),
        ("ResumeWorkflow", _c.ResumeWorkflowRequest(workflow_id="w")),
        ("RetryTask", _t.RetryTaskRequest(workflow_id="w", task_id="a")),
        ("UpdateWorkflow", _w.UpdateWorkflowRequest(workflow_id="w", priority=9)),
    ):
        answer = await refused(client.call(name, refusal))
        assert (answer.code.name, answer.reason) == ("FAILED_PRECONDITION", "WORKFLOW_TERMINAL"), name
    events = [event for reply in await client.watched(workflow_id="w") for event in reply.events]
    (said,) = [event.workflow_cancel_requested for event in events if event.HasField("workflow_cancel_requested")]
    assert (said.reason, said.mode) == ("not needed", workflow_pb2.STOP_MODE_AFTER_TURN)
    other = _c.CancelWorkflowRequest(workflow_id="w", reason="another", request_id="once")
    assert (await refused(client.call("CancelWorkflow", other))).reason == "REQUEST_ID_REUSED"


async def test_a_freeze_holds_all_and_what_comes_and_a_thaw_keeps_what_was_paused(client: Wire) -> None:
    for name in ("a", "b"):
        await client.create(plan=plan_of(a=()), workflow_id=name, auto_start=False)
    await client.call("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id="a"))
    assert (await client.call("FreezeNamespace", _c.FreezeNamespaceRequest())).workflow_count == 2
    created = await client.create(plan=plan_of(a=()), workflow_id="c")
    assert created.workflow.frozen
    answer = await refused(client.call("ResumeWorkflow", _c.ResumeWorkflowRequest(workflow_id="b")))
    assert (answer.code.name, answer.reason) == ("FAILED_PRECONDITION", "NAMESPACE_FROZEN")
    await client.call("ThawNamespace", _c.ThawNamespaceRequest())
    assert (await client.finished("c")).state == COMPLETED
    left = {one.id: one.state for one in (await client.call("ListWorkflows", _w.ListWorkflowsRequest())).workflows}
    assert (left["a"], left["b"]) == (PAUSED, READY)


async def test_a_freeze_that_comes_again_after_the_thaw_and_a_thaw_after_another_freeze_change_nothing(
    client: Wire,
) -> None:
    await client.create(plan=plan_of(a=()), workflow_id="w", auto_start=False)
    freeze, thaw = _c.FreezeNamespaceRequest(request_id="f", reason="x"), _c.ThawNamespaceRequest(request_id="t")
    early = _c.ThawNamespaceRequest(request_id="early")
    assert (await client.call("ThawNamespace", early)).workflow_count == 0
    frozen = await client.call("FreezeNamespace", freeze)
    assert frozen.workflow_count == (await client.call("FreezeNamespace", freeze)).workflow_count == 1
    assert (await client.call("ThawNamespace", early)).workflow_count == 0
    other = await refused(client.call("FreezeNamespace", _c.FreezeNamespaceRequest(request_id="f", reason="y")))
    assert other.reason == "REQUEST_ID_REUSED"
    thawed = await client.call("ThawNamespace", thaw)
    assert thawed.workflow_count == 1
    assert (await client.call("FreezeNamespace", freeze)).workflow_count == 0
    assert (await _workflow(client)).state == READY
    await client.call("FreezeNamespace", _c.FreezeNamespaceRequest(request_id="g"))
    assert (await client.call("ThawNamespace", thaw)).workflow_count == 0
    assert (await _workflow(client)).frozen
    watch = client.call("WatchWorkflows", _w.WatchWorkflowsRequest(after_cursor=thawed.cursor))
    assert [one.frozen for one in (await watch.read()).workflows] == [True]
    watch.cancel()


async def _workflow(client: Wire) -> workflow_pb2.Workflow:
    reply = await client.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="w"))
    found: workflow_pb2.Workflow = reply.workflow
    return found


async def test_a_retry_is_looked_at_first_and_then_done(client: Wire) -> None:
    await client.create(plan=plan_of(**CHAIN), workflow_id="w")
    await client.finished("w")
    before = (await client.call("GetTask", _t.GetTaskRequest(workflow_id="w", task_id="a"))).task
    request = _t.RetryTaskRequest(workflow_id="w", task_id="a", include_dependants=True, validate_only=True)
    preview = await client.call("RetryTask", request)
    assert [(one.task_id, one.cause_task_id, one.keeps_output) for one in preview.reruns] == [
        ("a", "", False),
        ("b", "a", True),
        ("c", "a", True),
    ]
    assert all(one.reason and one.usage.input_tokens for one in preview.reruns)
    assert preview.rerun_count == 3
    assert preview.usage.input_tokens == sum(one.usage.input_tokens for one in preview.reruns)
    assert preview.workflow.state == COMPLETED, "nothing was done"
    alone = _t.RetryTaskRequest(workflow_id="w", task_id="a", validate_only=True)
    marks = (await client.call("RetryTask", alone)).reruns
    assert [(one.task_id, one.stale_only) for one in marks] == [("a", False), ("b", True), ("c", True)]
    request.validate_only = False
    request.description = "Do a otherwise."
    retried = await client.call("RetryTask", request)
    assert retried.task.run > before.run
    assert (await client.finished("w")).state == COMPLETED
    assert set((await states(client, "w")).values()) == {"COMPLETED"}
    names = await happened(client, "w")
    assert names.count("workflow_reopened") == 1
    assert names.count("task_reopened") == 3


async def test_a_task_is_skipped_with_a_substitute_and_another_is_cancelled(client: Wire) -> None:
    await client.create(plan=plan_of(a=(), b=("a",), x=(), y=("x",)), workflow_id="w", auto_start=False)
    substitute = common_pb2.Part(text="# Known already", media_type="text/markdown")
    request = _t.SkipTaskRequest(workflow_id="w", task_id="a", reason="known", substitute=substitute)
    skipped = await client.call("SkipTask", request)
    assert (skipped.task.state, skipped.task.waived) == (workflow_pb2.TASK_STATE_SKIPPED, True)
    await client.call("CancelTask", _t.CancelTaskRequest(workflow_id="w", task_id="x", reason="no use"))
    assert await states(client, "w") == {"a": "SKIPPED", "b": "PENDING", "x": "CANCELLED", "y": "SKIPPED"}
    again = await refused(client.call("CancelTask", _t.CancelTaskRequest(workflow_id="w", task_id="a")))
    assert again.reason == "ILLEGAL_TRANSITION"
    got = _t.GetTaskRequest(workflow_id="w", task_id="a", view=common_pb2.VIEW_FULL)
    task = (await client.call("GetTask", got)).task
    assert (task.output.text, task.output.media_type) == ("# Known already", "text/markdown")
    assert "known" in task.failure.message
    await client.call("SkipTask", _t.SkipTaskRequest(workflow_id="w", task_id="b"))
    output = await client.call("GetWorkflowOutput", _w.GetWorkflowOutputRequest(workflow_id="w"))
    assert "# Known already" in output.content.text, "a substitute is part of what comes out"


async def test_a_substitute_fits_the_tasks_schema(client: Wire) -> None:
    plan = plan_of(a=(), b=("a",))
    plan.tasks[0].output_schema = '{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}'
    await client.create(plan=plan, workflow_id="w", auto_start=False)
    for part in (common_pb2.Part(text="7"), common_pb2.Part(json='{"n": "seven"}')):
        request = _t.SkipTaskRequest(workflow_id="w", task_id="a", substitute=part)
        assert set((await refused(client.call("SkipTask", request))).violations) == {"substitute"}
    fits = _t.SkipTaskRequest(workflow_id="w", task_id="a", substitute=common_pb2.Part(json='{"n": 7}'))
    assert (await client.call("SkipTask", fits)).task.output_reference.media_type == "application/json"


async def test_a_plan_is_edited_as_a_whole_and_its_revisions_are_told_apart(client: Wire) -> None:
    await client.create(plan=plan_of(**CHAIN), workflow_id="w", auto_start=False)
    new = workflow_pb2.PlanTask(id="d", title="D", description="Do d.", agent_id="writing_agent", dependencies=["b"])
    edits = [
        _p.PlanEdit(add=_p.AddTask(task=new)),
        _p.PlanEdit(change=_p.ChangeTask(task_id="a", title="First", description="Do a well.")),
        _p.PlanEdit(remove=_p.RemoveTask(task_id="c")),
        _p.PlanEdit(set_dependencies=_p.SetDependencies(task_id="b")),
    ]
    request = _w.EditPlanRequest(workflow_id="w", edits=edits, plan_revision=1, validate_only=True)
    tried = await client.call("EditPlan", request)
    assert (tried.plan_revision, list(tried.violations), tried.workflow.plan_revision) == (2, [], 1)
    assert [task.id for task in tried.changes.added] == ["d"]
    assert [task.id for task in tried.changes.changed] == ["a", "b"]
    assert list(tried.changes.removed_task_ids) == ["c"]
    bad = _w.EditPlanRequest(
        workflow_id="w",
        edits=[
            _p.PlanEdit(remove=_p.RemoveTask(task_id="a")),
            _p.PlanEdit(change=_p.ChangeTask(task_id="c", agent_id="nobody")),
        ],
        validate_only=True,
    )
    reply = await client.call("EditPlan", bad)
    fields = {violation.field for violation in reply.violations}
    assert fields == {"edits[0].remove.task_id", "edits[1].change.agent_id"}
    bad.validate_only = False
    answer = await refused(client.call("EditPlan", bad))
    assert (answer.reason, set(answer.violations)) == ("PLAN_INVALID", fields)
    request.validate_only = False
    edited = await client.call("EditPlan", request)
    assert edited.plan_revision == 2
    stale = await refused(client.call("EditPlan", request))
    assert (stale.code.name, stale.reason) == ("ABORTED", "STALE_REVISION")
    update = _t.UpdateTaskRequest(workflow_id="w", task_id="a", priority=5, plan_revision=2)
    assert (await client.call("UpdateTask", update)).task.priority == 5
    first = await client.call("ListPlanRevisions", _w.ListPlanRevisionsRequest(workflow_id="w", page_size=2))
    rest = _w.ListPlanRevisionsRequest(workflow_id="w", page_size=2, page_token=first.next_page_token)
    listed = [*first.revisions, *(await client.call("ListPlanRevisions", rest)).revisions]
    assert [(one.revision, one.added_count, one.changed_count, one.removed_count) for one in listed] == [
        (1, 3, 0, 0),
        (2, 1, 2, 1),
        (3, 0, 1, 0),
    ]
    compared = await client.call(
        "ComparePlanRevisions", _w.ComparePlanRevisionsRequest(workflow_id="w", from_revision=1)
    )
    assert (compared.from_revision, compared.to_revision) == (1, 3)
    assert [task.id for task in compared.changes.added] == ["d"]
    before_after = zip(compared.changes.changed_from, compared.changes.changed, strict=True)
    assert next((before.title, after.title, after.priority) for before, after in before_after) == (
        "Title of a",
        "First",
        5,
    )
    assert list(compared.changes.removed_task_ids) == ["c"]
    last = await client.call("ComparePlanRevisions", _w.ComparePlanRevisionsRequest(workflow_id="w"))
    assert (last.from_revision, [task.id for task in last.changes.changed]) == (2, ["a"])
    await client.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w"))
    await client.finished("w")
    begun = await refused(client.call("UpdateTask", _t.UpdateTaskRequest(workflow_id="w", task_id="a", priority=1)))
    assert (begun.code.name, begun.reason) == ("FAILED_PRECONDITION", "ILLEGAL_TRANSITION")


async def test_a_workflow_is_updated_and_planned_anew(client: Wire) -> None:
    await client.create(query="Compare tea and coffee", workflow_id="w", auto_start=False, labels={"a": "b"})
    await until_state(client, "w", READY)
    labels = workflow_pb2.Labels(labels={"team": "red"})
    update = _w.UpdateWorkflowRequest(
        workflow_id="w", labels=labels, priority=7, budget=workflow_pb2.Budget(tokens=10**6)
    )
    updated = (await client.call("UpdateWorkflow", update)).workflow
    assert (dict(updated.labels), updated.priority, updated.budget.tokens) == ({"team": "red"}, 7, 10**6)
    none = _w.UpdateWorkflowRequest(workflow_id="w", budget=workflow_pb2.Budget())
    assert not (await client.call("UpdateWorkflow", none)).workflow.HasField("budget")
    planned = await client.call("Replan", _w.ReplanRequest(workflow_id="w", instructions="Be short.", plan_revision=1))
    assert planned.workflow.planning.replanning
    own = await client.create(plan=plan_of(a=()), auto_start=False)
    request = _w.ReplanRequest(workflow_id=own.workflow.id, instructions="Be short.")
    assert (await refused(client.call("Replan", request))).reason == "ILLEGAL_TRANSITION"


async def test_a_message_is_stored_and_the_workflow_completes_with_it(client: Wire) -> None:
    await client.create(plan=plan_of(a=()), workflow_id="w", auto_start=False)
    text = common_pb2.Part(text="Mind the costs.")
    await client.call("SendMessage", _c.SendMessageRequest(workflow_id="w", text=text))
    await client.call("SendMessage", _c.SendMessageRequest(workflow_id="w", task_id="a", text=text))
    await client.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w"))
    assert (await client.finished("w")).state == COMPLETED
    events = [event for reply in await client.watched(workflow_id="w") for event in reply.events]
    said = [event.message_received for event in events if event.HasField("message_received")]
    assert [(one.message_id, one.task_id, one.principal) for one in said] == [
        ("m1", "", "anonymous"),
        ("m2", "a", "anonymous"),
    ]
    late = await refused(client.call("SendMessage", _c.SendMessageRequest(workflow_id="w", text=text)))
    assert late.reason == "WORKFLOW_TERMINAL"
