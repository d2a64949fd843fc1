"""Who may approve: by the setting `approvals.separate_approver` nobody what they created themselves. Who may not approve may not
take an approval away by other means either.
"""

from __future__ import annotations

from orcs_server.errors import PermissionDenied
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.storage.store import Store, WorkflowSummary


class Approvers:
    """Keeps those who create and those who approve apart, where the operator wants it."""

    def __init__(self, store: Store, authorisation: Authorisation, *, separate: bool) -> None:
        self._store = store
        self._authorisation = authorisation
        self._separate = separate

    def check(self, caller: Caller, workflow: WorkflowSummary) -> None:
        """Raise PermissionDenied for the workflow's creator, if approvers must be others."""
        if self._separate and _created(caller, workflow):
            raise PermissionDenied(
                "PERMISSION_DENIED",
                "On this server somebody else than the workflow's creator has to approve it: ask them.",
            )

    async def may_lift(self, visit: Visit, workflow_id: str) -> bool:
        """Whether the caller may do without an approval: where approvers are separate, only if they may give it."""
        if not self._separate:
            return True
        workflow = await self._store.get_summary(visit.namespace, workflow_id)
        if workflow is None:
            return True  # There is nothing to approve, as the command itself will say.
        if _created(visit.caller, workflow):
            return False
        return await self._authorisation.allows(visit, "inputs.approve", workflow_id)


def _created(caller: Caller, workflow: WorkflowSummary) -> bool:
    return workflow.caller is not None and workflow.caller.principal == caller.principal
