"""Who may approve: by the setting `approvals.separate_approver` nobody what they created themselves."""

from __future__ import annotations

from orcs_server.errors import PermissionDenied
from orcs_server.identity import Caller
from orcs_server.storage.store import WorkflowSummary


class Approvers:
    """Keeps those who create and those who approve apart, where the operator wants it."""

    def __init__(self, *, separate: bool) -> None:
        self._separate = separate

    def check(self, caller: Caller, workflow: WorkflowSummary) -> None:
        """Raise PermissionDenied for the workflow's creator, if approvers must be others."""
        if self._separate and workflow.caller is not None and workflow.caller.principal == caller.principal:
            raise PermissionDenied(
                "PERMISSION_DENIED",
                "On this server somebody else than the workflow's creator has to approve it: ask them.",
            )
