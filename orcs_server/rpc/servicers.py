"""The services of `protos/orcs/v1`: each method reads its request, calls the service and writes its reply."""

from __future__ import annotations

from orcs_client.v1 import system_service_pb2, task_service_pb2, workflow_service_pb2
from orcs_server.identity import Caller
from orcs_server.outputs.graph import GraphFormat
from orcs_server.rpc.calls import StreamCall
from orcs_server.rpc.conversion import control, enums, explanations, plans, replies, requests
from orcs_server.rpc.conversion.streams import watch_messages, workflows_messages
from orcs_server.rpc.conversion.workflows import TaskMessages, workflow, workflow_summary
from orcs_server.service.problems import Problems
from orcs_server.service.services import Services
from orcs_server.service.system import System
from orcs_server.service.validation import Findings

_w = workflow_service_pb2
_t = task_service_pb2


class WorkflowServicer:
    """`orcs.v1.WorkflowService`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create_workflow(self, request: _w.CreateWorkflowRequest, caller: Caller) -> _w.CreateWorkflowResponse:
        findings = Findings()
        new = requests.new_workflow(request, findings)
        created = await self._services.creation.create(caller, new, request.request_id, findings.all)
        return _w.CreateWorkflowResponse(workflow=workflow(created.workflow), cursor=created.cursor)

    async def preview_plan(self, request: _w.PreviewPlanRequest, caller: Caller) -> _w.PreviewPlanResponse:
        findings = Findings()
        draft = requests.plan_draft(request, findings)
        return replies.previewed_plan(await self._services.preview.plan(caller, draft, findings.all))

    async def start_workflow(self, request: _w.StartWorkflowRequest, caller: Caller) -> _w.StartWorkflowResponse:
        started = await self._services.control.start(caller, request.workflow_id, request.request_id)
        return _w.StartWorkflowResponse(workflow=workflow(started.workflow), cursor=started.cursor)

    async def delete_workflow(self, request: _w.DeleteWorkflowRequest, caller: Caller) -> _w.DeleteWorkflowResponse:
        cursor = await self._services.control.delete(caller, request.workflow_id, request.request_id)
        return _w.DeleteWorkflowResponse(cursor=cursor)

    async def get_workflow(self, request: _w.GetWorkflowRequest, caller: Caller) -> _w.GetWorkflowResponse:
        full = requests.full_view(request.view)
        view = await self._services.reading.workflow(caller, request.workflow_id, full=full, tasks=request.page_size)
        return replies.workflow_view(view, full=full)

    async def list_workflows(self, request: _w.ListWorkflowsRequest, caller: Caller) -> _w.ListWorkflowsResponse:
        which = requests.workflow_wish(request.filter)
        page = await self._services.reading.workflows(caller, which, request.page_size, request.page_token)
        return _w.ListWorkflowsResponse(
            workflows=[workflow_summary(summary) for summary in page.workflows], next_page_token=page.next_page_token
        )

    async def get_workflow_output(
        self, request: _w.GetWorkflowOutputRequest, caller: Caller
    ) -> _w.GetWorkflowOutputResponse:
        findings = Findings()
        wanted = requests.output_format(request.format, "format", findings)
        findings.raise_any()
        return replies.workflow_output(await self._services.results.output(caller, request.workflow_id, wanted))

    async def render_graph(self, request: _w.RenderGraphRequest, caller: Caller) -> _w.RenderGraphResponse:
        findings = Findings()
        form = enums.GRAPH_FORMAT.from_wire(request.format, "format", findings)
        findings.raise_any()
        drawing = await self._services.results.graph(caller, request.workflow_id, form or GraphFormat.MERMAID)
        return _w.RenderGraphResponse(content=replies.document(drawing))

    async def update_workflow(self, request: _w.UpdateWorkflowRequest, caller: Caller) -> _w.UpdateWorkflowResponse:
        findings = Findings()
        updated = await self._services.amending.update(
            caller,
            request.workflow_id,
            budget=requests.budget(request.budget, "budget", findings) if request.HasField("budget") else None,
            labels=control.labels(request.labels) if request.HasField("labels") else None,
            priority=request.priority if request.HasField("priority") else None,
            request_id=request.request_id,
            found=findings,
        )
        return _w.UpdateWorkflowResponse(workflow=workflow(updated.workflow), cursor=updated.cursor)

    async def edit_plan(self, request: _w.EditPlanRequest, caller: Caller) -> _w.EditPlanResponse:
        findings = Findings()
        edits = control.plan_changes(request, findings)
        revision = request.plan_revision if request.HasField("plan_revision") else None
        amending = self._services.amending
        if request.validate_only:
            tried = await amending.try_edit(caller, request.workflow_id, edits, revision, findings)
            return plans.edited_plan(tried, stored=False)
        edited = await amending.edit(caller, request.workflow_id, edits, revision, request.request_id, findings)
        return plans.edited_plan(edited, stored=True)

    async def replan(self, request: _w.ReplanRequest, caller: Caller) -> _w.ReplanResponse:
        revision = request.plan_revision if request.HasField("plan_revision") else None
        changed = await self._services.amending.replan(
            caller, request.workflow_id, request.instructions, revision, request.request_id
        )
        return _w.ReplanResponse(workflow=workflow(changed.workflow), cursor=changed.cursor)

    async def list_plan_revisions(
        self, request: _w.ListPlanRevisionsRequest, caller: Caller
    ) -> _w.ListPlanRevisionsResponse:
        page = await self._services.revisions.revisions(
            caller, request.workflow_id, request.page_size, request.page_token
        )
        return _w.ListPlanRevisionsResponse(
            revisions=[plans.plan_revision(revision) for revision in page.revisions],
            next_page_token=page.next_page_token,
        )

    async def compare_plan_revisions(
        self, request: _w.ComparePlanRevisionsRequest, caller: Caller
    ) -> _w.ComparePlanRevisionsResponse:
        return plans.plan_difference(
            await self._services.revisions.compare(
                caller, request.workflow_id, request.from_revision, request.to_revision
            )
        )

    async def explain_workflow(self, request: _w.ExplainWorkflowRequest, caller: Caller) -> _w.ExplainWorkflowResponse:
        return explanations.explained_workflow(
            await self._services.explaining.explain(
                caller, request.workflow_id, request.task_id, request.page_size, request.page_token
            )
        )

    async def watch_workflow(self, request: _w.WatchWorkflowRequest, call: StreamCall) -> None:
        stream = await self._services.watching.open(call.identify, requests.watch_wish(request))
        await call.follow(stream.batches(), lambda batch: watch_messages(batch, stream.cursors))

    async def watch_workflows(self, request: _w.WatchWorkflowsRequest, call: StreamCall) -> None:
        stream = await self._services.watching_all.open(call.identify, requests.watch_all_wish(request))
        await call.follow(stream.batches(), lambda batch: workflows_messages(batch, stream.cursors))


class TaskServicer:
    """`orcs.v1.TaskService`."""

    def __init__(self, services: Services) -> None:
        self._reading = services.reading
        self._tasks = services.tasks

    async def get_task(
        self, request: task_service_pb2.GetTaskRequest, caller: Caller
    ) -> task_service_pb2.GetTaskResponse:
        full = requests.full_view(request.view)
        view = await self._reading.task(caller, request.workflow_id, request.task_id, full=full)
        return replies.task_view(view, full=full)

    async def list_tasks(
        self, request: task_service_pb2.ListTasksRequest, caller: Caller
    ) -> task_service_pb2.ListTasksResponse:
        which = requests.task_wish(request)
        page = await self._reading.tasks(caller, request.workflow_id, which, request.page_size, request.page_token)
        messages = TaskMessages(page.workflow.id, page.workflow.spec)
        return task_service_pb2.ListTasksResponse(
            tasks=[messages.task(task) for task in page.tasks], next_page_token=page.next_page_token
        )

    async def retry_task(self, request: _t.RetryTaskRequest, caller: Caller) -> _t.RetryTaskResponse:
        wish = control.retry_wish(request)
        if request.validate_only:
            return replies.retry_preview(await self._tasks.preview_retry(caller, request.workflow_id, wish))
        return replies.retried_task(await self._tasks.retry(caller, request.workflow_id, wish, request.request_id))

    async def skip_task(self, request: _t.SkipTaskRequest, caller: Caller) -> _t.SkipTaskResponse:
        findings = Findings()
        given = request.HasField("substitute")
        substitute = control.content(request.substitute, "substitute", findings) if given else None
        skipped = await self._tasks.skip(
            caller, request.workflow_id, request.task_id, request.reason, substitute, request.request_id, findings
        )
        return replies.skipped_task(skipped)

    async def cancel_task(self, request: _t.CancelTaskRequest, caller: Caller) -> _t.CancelTaskResponse:
        cancelled = await self._tasks.cancel(
            caller, request.workflow_id, request.task_id, request.reason, request.request_id
        )
        return replies.cancelled_task(cancelled)

    async def update_task(self, request: _t.UpdateTaskRequest, caller: Caller) -> _t.UpdateTaskResponse:
        findings = Findings()
        change = control.task_update(request, findings)
        revision = request.plan_revision if request.HasField("plan_revision") else None
        updated = await self._tasks.update(caller, request.workflow_id, change, revision, request.request_id, findings)
        return replies.updated_task(updated)


class SystemServicer:
    """`orcs.v1.SystemService`."""

    def __init__(self, system: System, problems: Problems) -> None:
        self._system = system
        self._problems = problems

    async def get_server_info(
        self, _request: system_service_pb2.GetServerInfoRequest, caller: Caller
    ) -> system_service_pb2.GetServerInfoResponse:
        return replies.server_info(await self._system.info(caller))

    async def list_problems(
        self, _request: system_service_pb2.ListProblemsRequest, caller: Caller
    ) -> system_service_pb2.ListProblemsResponse:
        return replies.problems(await self._problems.listed(caller))
