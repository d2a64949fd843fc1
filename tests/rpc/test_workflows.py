"""Every RPC on workflows, tasks, agents and the system does what it says."""

from __future__ import annotations

import json

import pytest

from orcs_client.v1 import (
    agent_service_pb2,
    common_pb2,
    system_service_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.identity.tokens import DEFAULT_NAMESPACE
from tests.rpc.wire import Wire, plan_of, refused

_w = workflow_service_pb2
QUERY = "Compare tea, coffee and water, then write a report"


async def test_a_query_becomes_a_plan_and_a_finished_document(wire: Wire) -> None:
    created = await wire.create(query=QUERY)
    assert created.workflow.state == workflow_pb2.WORKFLOW_STATE_PLANNING
    assert created.workflow.title == QUERY
    ended = await wire.finished(created.workflow.id)
    assert ended.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert ended.task_counts.completed == ended.task_counts.total >= 4
    assert ended.usage.requests == ended.task_counts.total + 1
    output = await wire.call("GetWorkflowOutput", _w.GetWorkflowOutputRequest(workflow_id=created.workflow.id))
    assert output.complete
    assert not output.truncated
    assert output.content.media_type.startswith("text/markdown")
    assert [task.final for task in output.task_outputs].count(True) == 1


async def test_a_plan_runs_as_given_and_unnamed_tasks_are_named_by_their_place(wire: Wire) -> None:
    plan = plan_of(first=(), second=())
    plan.tasks.add(title="Join", description="Join both.", agent_id="writing_agent", dependencies=["first", "second"])
    created = await wire.create(plan=plan, title="Mine", labels={"team": "a"}, priority=7)
    assert created.workflow.labels == {"team": "a"}
    assert created.workflow.priority == 7
    await wire.finished(created.workflow.id)
    request = task_service_pb2.ListTasksRequest(workflow_id=created.workflow.id)
    tasks = (await wire.call("ListTasks", request)).tasks
    assert [(task.id, task.ordinal, task.state) for task in tasks] == [
        ("first", 0, workflow_pb2.TASK_STATE_COMPLETED),
        ("second", 1, workflow_pb2.TASK_STATE_COMPLETED),
        ("t3", 2, workflow_pb2.TASK_STATE_COMPLETED),
    ]
    assert tasks[2].dependencies == ["first", "second"]
    assert tasks[0].agent_revision


async def test_a_workflow_that_does_not_start_by_itself_waits_for_its_start(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=()), auto_start=False)
    assert created.workflow.state == workflow_pb2.WORKFLOW_STATE_READY
    assert not created.workflow.auto_start
    started = await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id))
    assert started.workflow.state in (workflow_pb2.WORKFLOW_STATE_RUNNING, workflow_pb2.WORKFLOW_STATE_COMPLETED)
    after = await wire.watched(workflow_id=created.workflow.id, after_cursor=created.cursor)
    assert after[0].events[0].WhichOneof("body") == "workflow_started"
    answer = await refused(wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id)))
    assert (answer.code.name, answer.reason) == ("FAILED_PRECONDITION", "WORKFLOW_TERMINAL")


async def test_the_full_view_brings_the_texts_and_the_first_tasks(wire: Wire) -> None:
    context = common_pb2.Part(json='{"budget": 9007199254740993}')
    schema = '{"type": "object"}'
    created = await wire.create(
        plan=plan_of(a=(), b=("a",)),
        context=context,
        output_format=workflow_pb2.OUTPUT_FORMAT_JSON,
        output_schema=schema,
        resource_requirements='{"gpus": 1}',
    )
    await wire.finished(created.workflow.id)
    request = _w.GetWorkflowRequest(workflow_id=created.workflow.id, view=common_pb2.VIEW_FULL, page_size=1)
    reply = await wire.call("GetWorkflow", request)
    assert reply.workflow.context.json == context.json
    assert reply.workflow.output_schema == schema
    assert reply.workflow.resource_requirements == '{"gpus": 1}'
    assert [task.id for task in reply.tasks] == ["a"]
    rest = task_service_pb2.ListTasksRequest(workflow_id=created.workflow.id, page_token=reply.next_page_token)
    assert [task.id for task in (await wire.call("ListTasks", rest)).tasks] == ["b"]
    basic = await wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=created.workflow.id))
    assert not basic.workflow.HasField("context")
    assert not basic.tasks


async def test_the_full_view_of_a_task_brings_its_description_and_output(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=()))
    await wire.finished(created.workflow.id)
    request = task_service_pb2.GetTaskRequest(workflow_id=created.workflow.id, task_id="a", view=common_pb2.VIEW_FULL)
    task = (await wire.call("GetTask", request)).task
    assert task.description.text == "Do a."
    assert task.output.text
    assert task.output_reference.size_bytes == len(task.output.text.encode())
    request.view = common_pb2.VIEW_BASIC
    assert not (await wire.call("GetTask", request)).task.HasField("output")


async def test_lists_come_in_pages_newest_first_and_by_filter(wire: Wire) -> None:
    made = [
        (await wire.create(plan=plan_of(a=()), labels={"list": "pages"}, auto_start=False)).workflow.id
        for _ in range(5)
    ]
    request = _w.ListWorkflowsRequest(page_size=2)
    request.filter.labels["list"] = "pages"
    seen: list[str] = []
    while True:
        page = await wire.call("ListWorkflows", request)
        seen += [workflow.id for workflow in page.workflows]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == made[::-1]
    request.page_token = ""
    request.filter.states.append(workflow_pb2.WORKFLOW_STATE_COMPLETED)
    assert not (await wire.call("ListWorkflows", request)).workflows


async def test_tasks_are_listed_by_state_and_agent(wire: Wire) -> None:
    plan = plan_of(a=(), b=("a",), c=("a",))
    plan.tasks[2].agent_id = "writing_agent"
    created = await wire.create(plan=plan, auto_start=False)
    request = task_service_pb2.ListTasksRequest(workflow_id=created.workflow.id, agent_id="research_agent", page_size=1)
    first = await wire.call("ListTasks", request)
    request.page_token = first.next_page_token
    second = await wire.call("ListTasks", request)
    assert [task.id for task in (*first.tasks, *second.tasks)] == ["a", "b"]
    assert not second.next_page_token
    by_state = task_service_pb2.ListTasksRequest(
        workflow_id=created.workflow.id, states=[workflow_pb2.TASK_STATE_COMPLETED]
    )
    assert not (await wire.call("ListTasks", by_state)).tasks


@pytest.mark.parametrize(
    ("form", "media_type", "beginning"),
    [
        (workflow_pb2.OUTPUT_FORMAT_TEXT, "text/plain", ""),
        (workflow_pb2.OUTPUT_FORMAT_MARKDOWN, "text/markdown", ""),
        (workflow_pb2.OUTPUT_FORMAT_JSON, "application/json", "{"),
        (workflow_pb2.OUTPUT_FORMAT_HTML, "text/html", "<!"),
    ],
)
async def test_the_output_comes_in_every_format(
    wire: Wire, form: workflow_pb2.OutputFormat.ValueType, media_type: str, beginning: str
) -> None:
    created = await wire.create(plan=plan_of(a=(), b=()))
    await wire.finished(created.workflow.id)
    request = _w.GetWorkflowOutputRequest(workflow_id=created.workflow.id, format=form)
    content = (await wire.call("GetWorkflowOutput", request)).content
    assert content.media_type.startswith(media_type)
    assert (content.json or content.text).startswith(beginning)
    if content.json:
        assert len(json.loads(content.json)["outputs"]) == 2


async def test_there_is_no_output_before_the_first_task_has_ended(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=()), auto_start=False)
    answer = await refused(wire.call("GetWorkflowOutput", _w.GetWorkflowOutputRequest(workflow_id=created.workflow.id)))
    assert (answer.code.name, answer.reason) == ("FAILED_PRECONDITION", "OUTPUT_NOT_READY")


@pytest.mark.parametrize("form", workflow_pb2.GraphFormat.keys())
async def test_the_graph_comes_in_every_form_and_hostile_titles_are_escaped(wire: Wire, form: str) -> None:
    plan = plan_of(a=(), b=("a",))
    plan.tasks[0].title = '"]; click a "javascript:alert(1)" <script>'
    created = await wire.create(plan=plan, auto_start=False)
    request = _w.RenderGraphRequest(workflow_id=created.workflow.id, format=workflow_pb2.GraphFormat.Value(form))
    content = (await wire.call("RenderGraph", request)).content
    if form == "GRAPH_FORMAT_JSON":
        assert json.loads(content.json)["tasks"][0]["title"] == plan.tasks[0].title
    elif form == "GRAPH_FORMAT_DOT":
        assert 'label="\\"]; click a \\"javascript' in content.text
    else:
        assert "<script>" not in content.text


async def test_a_previewed_plan_is_checked_and_not_stored(wire: Wire) -> None:
    before = await wire.call("ListWorkflows", _w.ListWorkflowsRequest(page_size=1))
    planned = await wire.call("PreviewPlan", _w.PreviewPlanRequest(query=QUERY))
    assert len(planned.plan.tasks) >= 4
    assert planned.usage.requests == 1
    assert all(task.id and task.description for task in planned.plan.tasks)
    assert not planned.violations
    bad = plan_of(a=("b",), b=("a",))
    bad.tasks.add(title="x", description="y", agent_id="nobody")
    checked = await wire.call("PreviewPlan", _w.PreviewPlanRequest(plan=bad))
    assert [task.id for task in checked.plan.tasks] == ["a", "b", "t3"]
    assert {violation.field for violation in checked.violations} == {"plan.tasks", "plan.tasks[2].agent_id"}
    after = await wire.call("ListWorkflows", _w.ListWorkflowsRequest(page_size=1))
    assert after == before


async def test_a_previewed_plan_can_be_created_as_it_is(wire: Wire) -> None:
    planned = await wire.call("PreviewPlan", _w.PreviewPlanRequest(query=QUERY))
    created = await wire.create(plan=planned.plan)
    ended = await wire.finished(created.workflow.id)
    assert ended.state == workflow_pb2.WORKFLOW_STATE_COMPLETED


async def test_a_workflow_is_deleted_once_it_has_ended(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=()), auto_start=False)
    request = _w.DeleteWorkflowRequest(workflow_id=created.workflow.id)
    answer = await refused(wire.call("DeleteWorkflow", request))
    assert (answer.code.name, answer.reason) == ("FAILED_PRECONDITION", "WORKFLOW_NOT_TERMINAL")
    await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id))
    await wire.finished(created.workflow.id)
    assert (await wire.call("DeleteWorkflow", request)).cursor
    gone = await refused(wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=created.workflow.id)))
    assert (gone.code.name, gone.reason) == ("NOT_FOUND", "WORKFLOW_NOT_FOUND")
    taken = await refused(wire.create(plan=plan_of(a=()), workflow_id=created.workflow.id))
    assert (taken.code.name, taken.reason) == ("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS")


async def test_a_result_meets_the_workflows_schema(wire: Wire) -> None:
    schema = '{"type": "object", "properties": {"verdict": {"type": "string"}}, "required": ["verdict"]}'
    created = await wire.create(
        plan=plan_of(a=(), b=("a",)), output_format=workflow_pb2.OUTPUT_FORMAT_JSON, output_schema=schema
    )
    await wire.finished(created.workflow.id)
    reply = await wire.call("GetWorkflowOutput", _w.GetWorkflowOutputRequest(workflow_id=created.workflow.id))
    assert isinstance(json.loads(reply.content.json)["verdict"], str)


async def test_agents_are_listed_with_their_revisions_and_the_planner_is_not_among_them(wire: Wire) -> None:
    request = agent_service_pb2.ListAgentsRequest(page_size=3)
    first = await wire.call("ListAgents", request)
    request.page_token = first.next_page_token
    second = await wire.call("ListAgents", request)
    listed = [agent.id for agent in (*first.agents, *second.agents)]
    assert listed == ["coding_agent", "data_agent", "research_agent", "writing_agent"]
    agent = (await wire.call("GetAgent", agent_service_pb2.GetAgentRequest(agent_id="data_agent"))).agent
    assert agent == second.agents[0] or agent in list(first.agents)
    answer = await refused(wire.call("GetAgent", agent_service_pb2.GetAgentRequest(agent_id="nobody")))
    assert (answer.code.name, answer.reason) == ("NOT_FOUND", "AGENT_NOT_FOUND")


async def test_the_server_says_what_it_is_and_who_the_caller_is_to_it(wire: Wire) -> None:
    info = await wire.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())
    assert info.api_version == "v1"
    assert info.model.offline
    assert info.limits.max_tasks == 10_000
    assert info.caller.namespace == DEFAULT_NAMESPACE
    assert "administer" in info.caller.roles


async def test_a_previewed_plan_too_long_for_a_message_is_left_out_but_checked(wire: Wire) -> None:
    plan = plan_of(**{f"a{number}": () for number in range(40)}, b=("nowhere",))
    for task in plan.tasks:
        task.description = "x" * 60_000
    checked = await wire.call("PreviewPlan", _w.PreviewPlanRequest(plan=plan))
    assert checked.plan_omitted
    assert not checked.plan.tasks
    assert {violation.field for violation in checked.violations} == {"plan.tasks[40].dependencies[0]"}
    assert checked.ByteSize() < 1024 * 1024
