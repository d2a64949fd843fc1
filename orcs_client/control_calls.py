"""The calls that stop workflows and let them go on, speak to what runs, and answer what waits for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcs_client import inbox, requests
from orcs_client.calls import Calls, pages
from orcs_client.v1 import control_service_pb2, workflow_pb2
from orcs_client.v1.control_service_pb2_grpc import ControlServiceStub
from orcs_client.watching import HEARTBEAT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from orcs_client.errors import OrcsError
    from orcs_client.inbox import InputsUpdate
    from orcs_client.requests import Content

_c = control_service_pb2


class ControlCalls(Calls):
    """Controls workflows."""

    @property
    def _control(self) -> ControlServiceStub:
        return ControlServiceStub(self._connection.unary)

    async def pause_workflow(
        self,
        workflow_id: str,
        *,
        mode: workflow_pb2.StopMode.ValueType = workflow_pb2.STOP_MODE_AFTER_TURN,
        reason: str = "",
        request_id: str | None = None,
    ) -> _c.PauseWorkflowResponse:
        """Bring what runs to its stop: by itself (DRAIN), before the next call of a model (AFTER_TURN), at once (IMMEDIATE)."""
        request = _c.PauseWorkflowRequest(
            workflow_id=workflow_id, mode=mode, reason=reason, request_id=request_id or requests.new_request_id()
        )
        return await self._connection.call(self._control.PauseWorkflow, request)

    async def resume_workflow(self, workflow_id: str, *, request_id: str | None = None) -> _c.ResumeWorkflowResponse:
        """Take a pause back."""
        request = _c.ResumeWorkflowRequest(workflow_id=workflow_id, request_id=request_id or requests.new_request_id())
        return await self._connection.call(self._control.ResumeWorkflow, request)

    async def cancel_workflow(
        self, workflow_id: str, *, immediate: bool = False, reason: str = "", request_id: str | None = None
    ) -> _c.CancelWorkflowResponse:
        """End a workflow for good: each agent finishes its turn, unless `immediate`. Finished outputs stay readable."""
        request = _c.CancelWorkflowRequest(
            workflow_id=workflow_id,
            mode=_c.CANCEL_MODE_IMMEDIATE if immediate else _c.CANCEL_MODE_GRACEFUL,
            reason=reason,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._control.CancelWorkflow, request)

    async def freeze_namespace(
        self,
        *,
        mode: workflow_pb2.StopMode.ValueType = workflow_pb2.STOP_MODE_AFTER_TURN,
        reason: str = "",
        request_id: str | None = None,
    ) -> _c.FreezeNamespaceResponse:
        """Pause every workflow of the caller's namespace, and those that are created while it lasts."""
        request = _c.FreezeNamespaceRequest(
            mode=mode, reason=reason, request_id=request_id or requests.new_request_id()
        )
        return await self._connection.call(self._control.FreezeNamespace, request)

    async def thaw_namespace(self, *, request_id: str | None = None) -> _c.ThawNamespaceResponse:
        """Take a freeze back. What a person paused stays paused."""
        request = _c.ThawNamespaceRequest(request_id=request_id or requests.new_request_id())
        return await self._connection.call(self._control.ThawNamespace, request)

    async def send_message(
        self,
        workflow_id: str,
        text: str,
        *,
        task_id: str = "",
        mode: workflow_pb2.MessageMode.ValueType = workflow_pb2.MESSAGE_MODE_QUEUE,
        request_id: str | None = None,
    ) -> _c.SendMessageResponse:
        """Say something to a task's agent or, without a task, to all of the workflow's and to the planner."""
        request = _c.SendMessageRequest(
            workflow_id=workflow_id,
            task_id=task_id,
            mode=mode,
            text=requests.content_part("text", text),
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._control.SendMessage, request)

    async def list_pending_inputs(
        self,
        *,
        workflow_id: str = "",
        task_id: str = "",
        kinds: Iterable[workflow_pb2.PendingInputKind.ValueType] = (),
        include_resolved: bool = False,
        page_size: int = 0,
    ) -> AsyncGenerator[workflow_pb2.PendingInput, None]:
        """Yield what waits for people, without long texts, the oldest first, fetched page by page."""
        request = _c.ListPendingInputsRequest(
            workflow_id=workflow_id,
            task_id=task_id,
            kinds=tuple(kinds),
            include_resolved=include_resolved,
            page_size=page_size,
        )

        async def page(token: str) -> _c.ListPendingInputsResponse:
            request.page_token = token
            return await self._connection.call(self._control.ListPendingInputs, request)

        async for reply in pages(page):
            for one in reply.inputs:
                yield one

    async def get_pending_input(self, workflow_id: str, input_id: str) -> _c.GetPendingInputResponse:
        """Read one pending input, with all that is shown of it."""
        request = _c.GetPendingInputRequest(workflow_id=workflow_id, input_id=input_id)
        return await self._connection.call(self._control.GetPendingInput, request)

    def watch_pending_inputs(
        self,
        *,
        workflow_id: str = "",
        kinds: Iterable[workflow_pb2.PendingInputKind.ValueType] = (),
        after_cursor: str = "",
        heartbeat_interval: float = HEARTBEAT,
        reconnect_timeout: float | None = None,
        on_disconnect: Callable[[OrcsError], object] | None = None,
        on_reconnect: Callable[[], object] | None = None,
    ) -> AsyncGenerator[InputsUpdate, None]:
        """Yield all that waits for people and then, without an end, what is new or has come to its end. It goes on over cuts as
        `watch` does; what was sent just before a cut may come again.
        """
        return inbox.watch_pending_inputs(
            self._connection,
            workflow_id=workflow_id,
            kinds=tuple(kinds),
            after_cursor=after_cursor,
            heartbeat_interval=heartbeat_interval,
            reconnect_timeout=reconnect_timeout,
            on_disconnect=on_disconnect,
            on_reconnect=on_reconnect,
        )

    async def answer_input(
        self,
        workflow_id: str,
        input_id: str,
        answer: Content,
        *,
        share: bool = False,
        request_id: str | None = None,
    ) -> _c.AnswerInputResponse:
        """Answer a question with a text, or with anything else as JSON. With `share` later tasks and the planner see it, too.

        Raises `InvalidArgument` if the answer does not fit, `IllegalTransition` if there is another one already.
        """
        request = _c.AnswerInputRequest(
            workflow_id=workflow_id,
            input_id=input_id,
            answer=requests.content_part("answer", answer),
            share=share,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._control.AnswerInput, request)

    async def resolve_approval(
        self,
        workflow_id: str,
        input_id: str,
        decision: workflow_pb2.Decision.ValueType,
        *,
        subject_sha256: str = "",
        reason: str = "",
        content: Content | None = None,
        budget: workflow_pb2.Budget | None = None,
        request_id: str | None = None,
    ) -> _c.ResolveApprovalResponse:
        """Decide about anything that is no question. `subject_sha256` is that of the pending input as it was shown; `content` or
        `budget` is what it is changed to, with DECISION_EDIT.

        Raises `Conflict` if what was decided about is not what is asked, `IllegalTransition` if it was decided otherwise.
        """
        request = _c.ResolveApprovalRequest(
            workflow_id=workflow_id,
            input_id=input_id,
            decision=decision,
            subject_sha256=subject_sha256,
            reason=reason,
            request_id=request_id or requests.new_request_id(),
        )
        if content is not None:
            request.content.CopyFrom(requests.content_part("content", content))
        if budget is not None:
            request.budget.CopyFrom(budget)
        return await self._connection.call(self._control.ResolveApproval, request)
