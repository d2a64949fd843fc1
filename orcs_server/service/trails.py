"""What is known of a call while it is under way, for what the audit log says of it if it is refused.

The trail of a call goes with its task, so that whoever is asked for leave on the way need not be told of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

METHODS: Final = {
    "CreateWorkflow": "workflows.create",
    "PreviewPlan": "workflows.preview",
    "StartWorkflow": "workflows.start",
    "DeleteWorkflow": "workflows.delete",
    "PauseWorkflow": "workflows.pause",
    "ResumeWorkflow": "workflows.resume",
    "CancelWorkflow": "workflows.cancel",
    "UpdateWorkflow": "workflows.update",
    "SendMessage": "workflows.message",
    "FreezeNamespace": "namespaces.freeze",
    "ThawNamespace": "namespaces.thaw",
    "EditPlan": "plans.edit",
    "Replan": "plans.replan",
    "ListPlanRevisions": "plans.list",
    "ComparePlanRevisions": "plans.compare",
    "RetryTask": "tasks.retry",
    "SkipTask": "tasks.skip",
    "CancelTask": "tasks.cancel",
    "UpdateTask": "tasks.update",
    "GetPendingInput": "inputs.get",
    "ListPendingInputs": "inputs.list",
    "WatchPendingInputs": "inputs.watch",
    "AnswerInput": "inputs.answer",
    "ResolveApproval": "inputs.approve",
    "GetWorkflow": "workflows.get",
    "ListWorkflows": "workflows.list",
    "GetWorkflowOutput": "workflows.output",
    "RenderGraph": "workflows.graph",
    "ExplainWorkflow": "workflows.explain",
    "WatchWorkflow": "workflows.watch",
    "WatchWorkflows": "workflows.watch",
    "GetTask": "tasks.get",
    "ListTasks": "tasks.list",
    "GetMemory": "memory.read",
    "ListMemory": "memory.read",
    "SearchMemory": "memory.read",
    "ListMemoryVersions": "memory.read",
    "ListMemoryScopes": "memory.read",
    "ListSnapshots": "memory.read",
    "CompareSnapshots": "memory.read",
    "GetAccessRules": "memory.read",
    "GetMemoryStatistics": "memory.read",
    "WatchMemory": "memory.watch",
    "PutMemory": "memory.write",
    "BatchMemory": "memory.write",
    "CreateSnapshot": "memory.write",
    "DeleteMemory": "memory.delete",
    "DeleteSnapshot": "memory.delete",
    "ShareMemory": "memory.share",
    "RestoreSnapshot": "memory.revert",
    "RevertMemory": "memory.revert",
    "PurgeMemory": "memory.administer",
    "SetAccessRules": "memory.administer",
    "GetAgent": "agents.get",
    "ListAgents": "agents.list",
    "RegisterAgent": "agents.register",
    "DeregisterAgent": "agents.deregister",
    "GetServerInfo": "system.info",
    "ListProblems": "system.problems",
    "ServerReflectionInfo": "system.reflect",
    "GetUsage": "usage.get",
    "ListAuditRecords": "audit.list",
    "ExportAudit": "audit.export",
    "VerifyAudit": "audit.verify",
}
"""RPC -> the operation that it is, as far as that is known before its request is read."""

READS: Final = frozenset(
    {"get", "list", "watch", "read", "output", "graph", "explain", "compare", "info", "reflect", "preview", "problems"}
    | {"export", "verify"}
)
"""The last words of operations that change nothing."""


class Trail:
    """A call on its way."""

    __slots__ = ("facts", "method", "namespace", "operation", "peer", "request_id", "resource", "standing")

    def __init__(self, method: str, peer: str = "") -> None:
        self.method = method
        self.peer = peer
        self.operation = METHODS.get(method, "")
        self.namespace = ""
        """Where the caller works, once that is known."""
        self.resource = ""
        self.request_id = ""
        self.facts: dict[str, Any] = {}
        """What else is known of why it is refused."""
        self.standing = False
        """A stream whose caller was let in."""

    @property
    def changes(self) -> bool:
        """Whether the call changes something if it is carried out; so is one that is not known."""
        return self.operation.rpartition(".")[2] not in READS

    def read(self, request: Any) -> None:
        """Note what a request says by itself of what it is about; leave is asked only once it is seen to be well-formed."""
        self.request_id = str(getattr(request, "request_id", ""))
        workflow_id, task_id = (str(getattr(request, name, "")) for name in ("workflow_id", "task_id"))
        self.resource = f"{workflow_id}/{task_id}" if workflow_id and task_id else workflow_id
        if not workflow_id:
            parts = (request, *(getattr(request, name, None) for name in ("put", "delete", "version")))
            self.resource = next((scope for part in parts if (scope := str(getattr(part, "scope", "")))), "")

    def reached(self, operation: str, resource: str) -> None:
        """Note what the caller asks leave for."""
        self.operation, self.resource = operation, resource


_current: ContextVar[Trail | None] = ContextVar("orcs_trail", default=None)


@contextmanager
def on_trail(trail: Trail) -> Iterator[Trail]:
    """Be on this trail."""
    token = _current.set(trail)
    try:
        yield trail
    finally:
        _current.reset(token)


def current_trail() -> Trail | None:
    """Return the trail of the call under way; None within a program, without a call."""
    return _current.get()
