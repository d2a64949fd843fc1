"""`orcs.v1.ControlService`: each method reads its request, calls the service and writes its reply."""

from __future__ import annotations

from orcs_client.v1 import control_service_pb2
from orcs_server.identity import Caller
from orcs_server.rpc.calls import StreamCall
from orcs_server.rpc.conversion import control
from orcs_server.rpc.conversion.people import full_input, inputs_messages, stored_input
from orcs_server.rpc.conversion.workflows import workflow
from orcs_server.service.services import Services
from orcs_server.service.validation import Findings

_c = control_service_pb2


class ControlServicer:
    """`orcs.v1.ControlService`."""

    def __init__(self, services: Services) -> None:
        self._control = services.control
        self._inbox = services.inbox
        self._watching = services.watching_inbox

    async def pause_workflow(self, request: _c.PauseWorkflowRequest, caller: Caller) -> _c.PauseWorkflowResponse:
        mode = control.stop_mode(request.mode)
        paused = await self._control.pause(caller, request.workflow_id, mode, request.reason, request.request_id)
        return _c.PauseWorkflowResponse(workflow=workflow(paused.workflow), cursor=paused.cursor)

    async def resume_workflow(self, request: _c.ResumeWorkflowRequest, caller: Caller) -> _c.ResumeWorkflowResponse:
        resumed = await self._control.resume(caller, request.workflow_id, request.request_id)
        return _c.ResumeWorkflowResponse(workflow=workflow(resumed.workflow), cursor=resumed.cursor)

    async def cancel_workflow(self, request: _c.CancelWorkflowRequest, caller: Caller) -> _c.CancelWorkflowResponse:
        mode = control.cancel_mode(request.mode)
        ended = await self._control.cancel(caller, request.workflow_id, mode, request.reason, request.request_id)
        return _c.CancelWorkflowResponse(workflow=workflow(ended.workflow), cursor=ended.cursor)

    async def freeze_namespace(self, request: _c.FreezeNamespaceRequest, caller: Caller) -> _c.FreezeNamespaceResponse:
        mode = control.stop_mode(request.mode)
        frozen = await self._control.freeze(caller, mode, request.reason, request.request_id)
        return _c.FreezeNamespaceResponse(workflow_count=frozen.workflows, cursor=frozen.cursor)

    async def thaw_namespace(self, request: _c.ThawNamespaceRequest, caller: Caller) -> _c.ThawNamespaceResponse:
        thawed = await self._control.thaw(caller, request.request_id)
        return _c.ThawNamespaceResponse(workflow_count=thawed.workflows, cursor=thawed.cursor)

    async def send_message(self, request: _c.SendMessageRequest, caller: Caller) -> _c.SendMessageResponse:
        findings = Findings()
        wish = control.message_wish(request, findings)
        sent = await self._control.send(caller, request.workflow_id, wish, request.request_id, findings)
        return _c.SendMessageResponse(workflow=workflow(sent.workflow), cursor=sent.cursor)

    async def list_pending_inputs(
        self, request: _c.ListPendingInputsRequest, caller: Caller
    ) -> _c.ListPendingInputsResponse:
        which = control.input_wish(request)
        page = await self._inbox.inputs(caller, which, request.page_size, request.page_token)
        return _c.ListPendingInputsResponse(
            inputs=[stored_input(stored) for stored in page.inputs], next_page_token=page.next_page_token
        )

    async def get_pending_input(self, request: _c.GetPendingInputRequest, caller: Caller) -> _c.GetPendingInputResponse:
        view = await self._inbox.input(caller, request.workflow_id, request.input_id)
        return _c.GetPendingInputResponse(input=full_input(view.stored, view.texts))

    async def answer_input(self, request: _c.AnswerInputRequest, caller: Caller) -> _c.AnswerInputResponse:
        findings = Findings()
        answered = await self._inbox.answer(
            caller,
            request.workflow_id,
            request.input_id,
            control.content(request.answer, "answer", findings),
            share=request.share,
            request_id=request.request_id,
            found=findings,
        )
        return _c.AnswerInputResponse(workflow=workflow(answered.workflow), cursor=answered.cursor)

    async def resolve_approval(self, request: _c.ResolveApprovalRequest, caller: Caller) -> _c.ResolveApprovalResponse:
        findings = Findings()
        wish = control.resolving(request, findings)
        decided = await self._inbox.resolve(caller, request.workflow_id, wish, request.request_id, findings)
        return _c.ResolveApprovalResponse(workflow=workflow(decided.workflow), cursor=decided.cursor)

    async def watch_pending_inputs(self, request: _c.WatchPendingInputsRequest, call: StreamCall) -> None:
        stream = await self._watching.open(call.identify, control.watch_inputs_wish(request))
        await call.follow(stream.batches(), lambda batch: inputs_messages(batch, stream.cursors))
