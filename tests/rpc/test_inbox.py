"""What waits for people, over the wire: plans and tasks to be approved, budgets that are used up, the inbox itself."""

from __future__ import annotations

import json

from orcs_client.v1 import (
    common_pb2,
    control_service_pb2,
    plan_edit_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from tests.rpc.control import asked, happened, resolve, states
from tests.rpc.wire import Wire, plan_of, refused

_c, _t, _w, _p = control_service_pb2, task_service_pb2, workflow_service_pb2, plan_edit_pb2
COMPLETED = workflow_pb2.WORKFLOW_STATE_COMPLETED
CHAIN = {"a": (), "b": ("a",), "c": ("b",)}


async def test_a_plan_runs_once_what_was_shown_of_it_is_approved(client: Wire) -> None:
    policy = workflow_pb2.APPROVAL_POLICY_PLAN
    await client.create(plan=plan_of(a=()), workflow_id="w", title="Gated", approval_policy=policy)
    one = await asked(client, "w")
    assert (one.kind, one.permission, one.workflow_title) == (
        workflow_pb2.PENDING_INPUT_KIND_PLAN_APPROVAL,
        "inputs.approve",
        "Gated",
    )
    assert [task["id"] for task in json.loads(one.subject.json)] == ["a"]
    got = await client.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="w"))
    assert got.workflow.pending_input_count == 1
    answer = await refused(client.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w")))
    assert (answer.code.name, answer.reason) == ("FAILED_PRECONDITION", "APPROVAL_REQUIRED")
    text = common_pb2.Part(text="yes")
    answered = _c.AnswerInputRequest(workflow_id="w", input_id=one.id, answer=text)
    assert (await refused(client.call("AnswerInput", answered))).reason == "ILLEGAL_TRANSITION"
    # The plan changes: what was shown before is not what is asked any more.
    add = _p.PlanEdit(
        add=_p.AddTask(task=workflow_pb2.PlanTask(id="b", title="B", description="Do b.", agent_id="research_agent"))
    )
    edited = await client.call("EditPlan", _w.EditPlanRequest(workflow_id="w", edits=[add], plan_revision=1))
    assert (edited.plan_revision, edited.needs_approval) == (2, True)
    late = await refused(client.call("ResolveApproval", resolve(one, "APPROVE")))
    assert late.reason == "INPUT_ALREADY_RESOLVED"
    anew = await asked(client, "w")
    assert [task["id"] for task in json.loads(anew.subject.json)] == ["a", "b"]
    # Models read the schema of their output: with another one the plan is another one, too.
    changed = _p.PlanEdit(change=_p.ChangeTask(task_id="b", output_schema='{"type": "object"}'))
    await client.call("EditPlan", _w.EditPlanRequest(workflow_id="w", edits=[changed]))
    assert (await refused(client.call("ResolveApproval", resolve(anew, "APPROVE")))).reason == "INPUT_ALREADY_RESOLVED"
    back = _p.PlanEdit(change=_p.ChangeTask(task_id="b", output_schema=""))
    await client.call("EditPlan", _w.EditPlanRequest(workflow_id="w", edits=[back]))
    anew = await asked(client, "w")
    stale = await refused(client.call("ResolveApproval", resolve(anew, "APPROVE", subject_sha256=one.subject_sha256)))
    assert (stale.code.name, stale.reason) == ("ABORTED", "STALE_APPROVAL")
    await client.call("ResolveApproval", resolve(anew, "APPROVE", reason="looks good"))
    assert (await client.finished("w")).state == COMPLETED
    await client.call("ResolveApproval", resolve(anew, "APPROVE"))
    assert (await refused(client.call("ResolveApproval", resolve(anew, "REJECT")))).reason == "INPUT_ALREADY_RESOLVED"
    every = await client.call("ListPendingInputs", _c.ListPendingInputsRequest(workflow_id="w", include_resolved=True))
    assert [(one.id, workflow_pb2.InputResolution.Name(one.resolution)) for one in every.inputs] == [
        ("i1", "INPUT_RESOLUTION_WITHDRAWN"),
        ("i2", "INPUT_RESOLUTION_WITHDRAWN"),
        ("i3", "INPUT_RESOLUTION_WITHDRAWN"),
        ("i4", "INPUT_RESOLUTION_APPROVED"),
    ]
    assert every.inputs[-1].reason == "looks good"
    assert not (await client.call("ListPendingInputs", _c.ListPendingInputsRequest())).inputs


async def test_what_is_approved_is_shown_with_its_texts_and_what_does_not_fit_is_said_to_be_missing(
    client: Wire,
) -> None:
    policy = workflow_pb2.APPROVAL_POLICY_PLAN
    plan = plan_of(a=(), b=("a",))
    plan.tasks[1].output_schema = '{"type": "object"}'
    await client.create(plan=plan, workflow_id="short", approval_policy=policy)
    one = await asked(client, "short")
    assert [(task.task_id, task.title, task.description, task.output_schema) for task in one.subject_tasks] == [
        ("a", "Title of a", "Do a.", ""),
        ("b", "Title of b", "Do b.", '{"type": "object"}'),
    ]
    assert not one.subject_incomplete
    listed = await client.call("ListPendingInputs", _c.ListPendingInputsRequest())
    assert (len(listed.inputs[0].subject_tasks), listed.inputs[0].subject_incomplete) == (0, False)
    await client.call("ResolveApproval", resolve(one, "APPROVE"))
    settled = await client.call("GetPendingInput", _c.GetPendingInputRequest(workflow_id="short", input_id="i1"))
    assert (len(settled.input.subject_tasks), settled.input.subject_incomplete) == (0, False)
    long = plan_of(**{f"t{number}": () for number in range(30)})
    for task in long.tasks:
        task.description = "é" * 16_000
    await client.create(plan=long, workflow_id="long", approval_policy=policy)
    two = await asked(client, "long")
    assert two.subject_incomplete
    assert [task.description for task in two.subject_tasks] == ["é" * 16_000] * len(two.subject_tasks)
    assert 0 < len(two.subject_tasks) < 30
    assert two.ByteSize() < 1024 * 1024
    await client.call("ResolveApproval", resolve(two, "REJECT"))


async def test_a_rejected_plan_fails_its_workflow_or_goes_back_to_the_planner(client: Wire) -> None:
    policy = workflow_pb2.APPROVAL_POLICY_PLAN
    await client.create(plan=plan_of(a=()), workflow_id="mine", approval_policy=policy)
    await client.call("ResolveApproval", resolve(await asked(client, "mine"), "REJECT", reason="too dear"))
    failed = await client.finished("mine")
    assert failed.failure.kind == common_pb2.FAILURE_KIND_REJECTED
    assert "too dear" in failed.failure.message
    await client.create(query="Compare tea and coffee", workflow_id="planned", approval_policy=policy)
    await client.call("ResolveApproval", resolve(await asked(client, "planned"), "REJECT", reason="look at water, too"))
    anew = await asked(client, "planned")
    assert anew.id != "i1"
    await client.call("ResolveApproval", resolve(anew, "APPROVE"))
    assert (await client.finished("planned")).state == COMPLETED
    assert "replan_requested" in await happened(client, "planned")


async def test_a_task_that_needs_approval_is_carried_out_as_it_was_edited(client: Wire) -> None:
    plan = plan_of(a=(), b=("a",))
    plan.tasks[1].needs_approval = True
    await client.create(plan=plan, workflow_id="w")
    one = await asked(client, "w")
    assert (one.task_id, one.kind) == ("b", workflow_pb2.PENDING_INPUT_KIND_TASK_APPROVAL)
    assert json.loads(one.subject.json)["id"] == "b"
    assert (await states(client, "w"))["b"] == "INPUT_REQUIRED"
    bare = await refused(client.call("ResolveApproval", resolve(one, "EDIT")))
    assert set(bare.violations) == {"content"}
    wrong = resolve(one, "EDIT", budget=workflow_pb2.Budget(tokens=9))
    assert set((await refused(client.call("ResolveApproval", wrong))).violations) == {"budget"}
    await client.call("ResolveApproval", resolve(one, "EDIT", content=common_pb2.Part(text="Do it better.")))
    await client.finished("w")
    request = _t.GetTaskRequest(workflow_id="w", task_id="b", view=common_pb2.VIEW_FULL)
    assert (await client.call("GetTask", request)).task.description.text == "Do it better."


async def test_a_budget_that_is_used_up_waits_for_a_person_and_goes_on_with_more(client: Wire) -> None:
    await client.create(plan=plan_of(**CHAIN), workflow_id="w", budget=workflow_pb2.Budget(tokens=1))
    one = await asked(client, "w")
    assert one.kind == workflow_pb2.PENDING_INPUT_KIND_BUDGET
    await client.call("ResolveApproval", resolve(one, "EDIT", budget=workflow_pb2.Budget(tokens=10**9)))
    ended = await client.finished("w")
    assert (ended.state, ended.budget.tokens) == (COMPLETED, 10**9)
    events = [event for reply in await client.watched(workflow_id="w") for event in reply.events]
    (over,) = [event.budget_exceeded for event in events if event.HasField("budget_exceeded")]
    assert (over.limit, over.budget.tokens, over.task_id) == ("tokens", 1, "")


async def test_the_inbox_is_watched_from_what_waits_on_and_after_a_cursor(client: Wire) -> None:
    policy = workflow_pb2.APPROVAL_POLICY_PLAN
    await client.create(plan=plan_of(a=()), workflow_id="w1", approval_policy=policy)
    first = await asked(client, "w1")
    watch = client.call("WatchPendingInputs", _c.WatchPendingInputsRequest())
    snapshot = await watch.read()
    assert (snapshot.snapshot_complete, [one.workflow_id for one in snapshot.inputs]) == (True, ["w1"])
    assert not snapshot.inputs[0].HasField("subject")
    await client.call("ResolveApproval", resolve(first, "APPROVE"))
    changed = await watch.read()
    while not changed.inputs:
        changed = await watch.read()
    assert changed.inputs[0].resolution == workflow_pb2.INPUT_RESOLUTION_APPROVED
    watch.cancel()
    await client.create(plan=plan_of(a=()), workflow_id="w2", approval_policy=policy)
    await asked(client, "w2")
    resumed = client.call("WatchPendingInputs", _c.WatchPendingInputsRequest(after_cursor=snapshot.cursor))
    seen: dict[str, int] = {}
    while set(seen) != {"w1", "w2"}:
        seen.update({one.workflow_id: one.resolution for one in (await resumed.read()).inputs})
    assert seen == {"w1": workflow_pb2.INPUT_RESOLUTION_APPROVED, "w2": workflow_pb2.INPUT_RESOLUTION_UNSPECIFIED}
    resumed.cancel()
    questions = _c.WatchPendingInputsRequest(kinds=[workflow_pb2.PENDING_INPUT_KIND_QUESTION])
    none = client.call("WatchPendingInputs", questions)
    assert not (await none.read()).inputs
    none.cancel()


async def test_pages_of_the_inbox_hold_everything_once(client: Wire) -> None:
    policy = workflow_pb2.APPROVAL_POLICY_PLAN
    for number in range(5):
        await client.create(plan=plan_of(a=()), workflow_id=f"w{number}", approval_policy=policy)
        await asked(client, f"w{number}")
    seen: list[str] = []
    request = _c.ListPendingInputsRequest(page_size=2)
    while True:
        page = await client.call("ListPendingInputs", request)
        seen += [one.workflow_id for one in page.inputs]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [f"w{number}" for number in range(5)]
