"""Control of workflows as a whole: start, pause, resume, cancel, delete, freeze and thaw a namespace, send messages."""

from __future__ import annotations

from msgspec import Struct

from orcs_server.errors import NotFound
from orcs_server.identity import Caller
from orcs_server.service.approvers import Approvers
from orcs_server.service.authorisation import Visit
from orcs_server.service.commands import Changed, Commands, begin, check_reason, check_said
from orcs_server.service.cursors import NamespaceCursors
from orcs_server.service.requests import Content, MessageWish, command_hash
from orcs_server.service.validation import Findings
from orcs_server.storage.store import blob_of
from orcs_server.workflow.messages import (
    CancelWorkflow,
    DeleteWorkflow,
    PauseWorkflow,
    ResumeWorkflow,
    SendMessage,
    StartWorkflow,
)
from orcs_server.workflow.model import StopMode

MESSAGE_BYTES = 64 * 1024
"""Of one message to what runs."""


class Counted(Struct, frozen=True):
    """How many workflows a change of the whole namespace has moved, and the cursor of all workflows after it."""

    workflows: int
    cursor: str


class Control:
    """Controls workflows. Everything raises NotFound, IllegalTransition and what all commands raise."""

    def __init__(self, commands: Commands, approvers: Approvers) -> None:
        self._commands = commands
        self._approvers = approvers

    async def start(self, caller: Caller, workflow_id: str, request_id: str = "") -> Changed:
        """Start a READY workflow."""
        begin(workflow_id, request_id).raise_any()
        visit = await self._commands.authorisation.enter(caller, "workflows.start", workflow_id)
        return await self._commands.change(visit, workflow_id, StartWorkflow(), "StartWorkflow", request_id)

    async def delete(self, caller: Caller, workflow_id: str, request_id: str = "") -> str:
        """Delete a workflow that has ended; return the cursor of its deletion among all workflows.

        Raises IllegalTransition (WORKFLOW_NOT_TERMINAL) while it has not ended.
        """
        begin(workflow_id, request_id).raise_any()
        commands = self._commands
        visit = await commands.authorisation.enter(caller, "workflows.delete", workflow_id)
        receipt = await commands.submit(visit, workflow_id, DeleteWorkflow(), "DeleteWorkflow", request_id)
        # Of a deleted workflow the last event stays.
        deletion = await commands.store.events(visit.namespace, workflow_id, receipt.seq - 1, 1)
        if not deletion:
            raise NotFound("WORKFLOW_NOT_FOUND", f"There is no workflow {workflow_id!r}.")
        return NamespaceCursors(commands.store.epoch, visit.namespace).at(deletion[0].position)

    async def pause(
        self, caller: Caller, workflow_id: str, mode: StopMode, reason: str = "", request_id: str = ""
    ) -> Changed:
        """Bring what runs to its stop."""
        findings = begin(workflow_id, request_id)
        check_reason(findings, reason)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "workflows.pause", workflow_id)
        return await self._commands.change(visit, workflow_id, PauseWorkflow(mode, reason), "PauseWorkflow", request_id)

    async def resume(self, caller: Caller, workflow_id: str, request_id: str = "") -> Changed:
        """Take a pause back. Raises IllegalTransition (NAMESPACE_FROZEN) while the namespace is frozen."""
        begin(workflow_id, request_id).raise_any()
        visit = await self._commands.authorisation.enter(caller, "workflows.resume", workflow_id)
        return await self._commands.change(visit, workflow_id, ResumeWorkflow(), "ResumeWorkflow", request_id)

    async def cancel(
        self, caller: Caller, workflow_id: str, mode: StopMode, reason: str = "", request_id: str = ""
    ) -> Changed:
        """End a workflow for good."""
        findings = begin(workflow_id, request_id)
        check_reason(findings, reason)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "workflows.cancel", workflow_id)
        request = CancelWorkflow(mode, reason)
        return await self._commands.change(visit, workflow_id, request, "CancelWorkflow", request_id)

    async def freeze(self, caller: Caller, mode: StopMode, reason: str = "", request_id: str = "") -> Counted:
        """Pause every workflow of the caller's namespace, and those to come; say how many are paused by it."""
        findings = Findings()
        findings.request_id(request_id)
        check_reason(findings, reason)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "namespaces.freeze")
        hashed = command_hash(("FreezeNamespace", mode, reason)) if request_id else ""
        audit = self._commands.auditing.draft(visit, "FreezeNamespace", request_id, {"mode": mode})
        frozen = await self._commands.engine.freeze(visit.caller, mode, reason, request_id, hashed, audit)
        return await self._counted(visit, frozen)

    async def thaw(self, caller: Caller, request_id: str = "") -> Counted:
        """Take a freeze back; say how many workflows were frozen. What a person paused stays paused."""
        findings = Findings()
        findings.request_id(request_id)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "namespaces.thaw")
        hashed = command_hash(("ThawNamespace",)) if request_id else ""
        audit = self._commands.auditing.draft(visit, "ThawNamespace", request_id)
        thawed = await self._commands.engine.thaw(visit.caller, request_id, hashed, audit)
        return await self._counted(visit, thawed)

    async def _counted(self, visit: Visit, count: int) -> Counted:
        store = self._commands.store
        return Counted(count, NamespaceCursors(store.epoch, visit.namespace).at(await store.last_position()))

    async def send(
        self,
        caller: Caller,
        workflow_id: str,
        wish: MessageWish,
        request_id: str = "",
        found: Findings | None = None,
    ) -> Changed:
        """Say something to a task's agent, or to all of the workflow's."""
        findings = begin(workflow_id, request_id, found)
        if wish.task_id:
            findings.task_id("task_id", wish.task_id)
        _check_message(findings, wish.text)
        findings.raise_any()
        resource = f"{workflow_id}/{wish.task_id}" if wish.task_id else workflow_id
        visit = await self._commands.authorisation.enter(caller, "workflows.message", resource)
        blob = blob_of(wish.text.text)
        lifts = await self._approvers.may_lift(visit, workflow_id)
        request = SendMessage(blob.digest, wish.mode, wish.task_id, visit.caller.principal, lifts)
        return await self._commands.change(visit, workflow_id, request, "SendMessage", request_id, (blob,))


def _check_message(findings: Findings, content: Content) -> None:
    if content.data is not None:
        findings.add("text", "A message is a text: set the part's text.")
    else:
        check_said(findings, "text", content.text, MESSAGE_BYTES, "say something")
