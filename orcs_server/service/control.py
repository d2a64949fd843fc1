"""Commands to workflows that exist: start, delete."""

from __future__ import annotations

from orcs_server.engines.base import Command, Engine
from orcs_server.errors import NotFound
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation
from orcs_server.service.creation import Changed, changed
from orcs_server.service.cursors import NamespaceCursors
from orcs_server.service.requests import command_hash
from orcs_server.service.validation import Findings
from orcs_server.storage.store import Store
from orcs_server.workflow.messages import DeleteWorkflow, Request, StartWorkflow


class Control:
    """Starts and deletes workflows."""

    def __init__(self, *, engine: Engine, store: Store, authorisation: Authorisation) -> None:
        self._engine = engine
        self._store = store
        self._authorisation = authorisation

    async def start(self, caller: Caller, workflow_id: str, request_id: str = "") -> Changed:
        """Start a READY workflow. Raises NotFound, IllegalTransition and what all commands raise."""
        _check(workflow_id, request_id)
        visit = await self._authorisation.enter(caller, "workflows.start", workflow_id)
        command = _command(visit.caller, workflow_id, StartWorkflow(), "StartWorkflow", request_id)
        return await changed(self._store, visit.namespace, await self._engine.submit(command))

    async def delete(self, caller: Caller, workflow_id: str, request_id: str = "") -> str:
        """Delete a workflow that has ended; return the cursor of its deletion among all workflows.

        Raises NotFound, IllegalTransition (WORKFLOW_NOT_TERMINAL) and what all commands raise.
        """
        _check(workflow_id, request_id)
        visit = await self._authorisation.enter(caller, "workflows.delete", workflow_id)
        command = _command(visit.caller, workflow_id, DeleteWorkflow(), "DeleteWorkflow", request_id)
        receipt = await self._engine.submit(command)
        # Of a deleted workflow the last event stays.
        deletion = await self._store.events(visit.namespace, workflow_id, receipt.seq - 1, 1)
        if not deletion:
            raise NotFound("WORKFLOW_NOT_FOUND", f"There is no workflow {workflow_id!r}.")
        return NamespaceCursors(self._store.epoch, visit.namespace).at(deletion[0].position)


def _check(workflow_id: str, request_id: str) -> None:
    findings = Findings()
    findings.workflow_id("workflow_id", workflow_id)
    findings.request_id(request_id)
    findings.raise_any()


def _command(caller: Caller, workflow_id: str, request: Request, method: str, request_id: str) -> Command:
    hashed = command_hash((method, workflow_id)) if request_id else ""
    return Command(caller, workflow_id, request, method, request_id, hashed)
