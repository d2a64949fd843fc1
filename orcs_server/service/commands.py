"""What all commands to workflows that exist have in common: their checks, their hash, and what the caller gets back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from orcs_server.engines.base import Command, Engine, Receipt
from orcs_server.errors import InvalidArgument, NotFound
from orcs_server.executor.configuration import unpack
from orcs_server.identity import Caller
from orcs_server.service.auditfacts import command_facts
from orcs_server.service.auditing import Auditing
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.cursors import WorkflowCursors
from orcs_server.service.reading import no_workflow, summary_of
from orcs_server.service.requests import command_hash
from orcs_server.service.validation import Findings
from orcs_server.storage.restored import restored
from orcs_server.storage.store import Blob, RequestKey, RequestRecord, Store, WorkflowSummary
from orcs_server.workflow.messages import Control
from orcs_server.workflow.people import REASON_LIMIT
from orcs_server.workflow.state import WorkflowState


class Changed(Struct, frozen=True):
    """A workflow after a command, and the cursor of the command's last event."""

    workflow: WorkflowSummary
    cursor: str


class Commands:
    """Hands commands to the engine."""

    def __init__(self, *, engine: Engine, store: Store, authorisation: Authorisation, auditing: Auditing) -> None:
        self.engine = engine
        self.store = store
        self.authorisation = authorisation
        self.auditing = auditing

    async def submit(
        self,
        visit: Visit,
        workflow_id: str,
        request: Control,
        method: str,
        request_id: str,
        blobs: Sequence[Blob] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Have a request carried out; `facts` are what the audit log says beside what the request does. Raises what the engine raises."""
        hashed = ""
        if request_id:
            hashed = command_hash((method, workflow_id, request))
            # The engine knows a repetition by what it would write again; one that would change nothing any more writes nothing.
            receipt = await repeated(self.store, visit.caller, method, request_id, hashed)
            if receipt is not None:
                return receipt
        said = {**command_facts(request), **(facts or {})}
        audit = self.auditing.draft(visit, method, request_id, said)
        command = Command(visit.caller, workflow_id, request, method, request_id, hashed, tuple(blobs), audit)
        return await self.engine.submit(command)

    async def change(
        self,
        visit: Visit,
        workflow_id: str,
        request: Control,
        method: str,
        request_id: str,
        blobs: Sequence[Blob] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Changed:
        """Have a request carried out, and return the workflow afterwards."""
        receipt = await self.submit(visit, workflow_id, request, method, request_id, blobs, facts)
        return await changed(self.store, visit.namespace, receipt)

    async def summary(self, namespace: str, workflow_id: str) -> WorkflowSummary:
        """Return a workflow's row. Raises NotFound."""
        return await summary_of(self.store, namespace, workflow_id)

    async def refuse_reused(self, visit: Visit, workflow_id: str, method: str, request_id: str) -> None:
        """Raise InvalidArgument (REQUEST_ID_REUSED) if the id belongs to a command about something else.

        For commands about what is not there; of what is there the engine itself says so.
        """
        if request_id:
            record = await _known(self.store, visit.caller, method, request_id)
            if record is not None and record.workflow_id != workflow_id:
                raise reused(method, request_id)

    async def check_costs(self, findings: Findings, namespace: str, workflow_id: str) -> None:
        """Add what is wrong with limits of cost: a workflow without prices of its own has no use for them. Raises NotFound."""
        if findings.limits_cost:
            digest = (await self.summary(namespace, workflow_id)).spec.configuration
            if digest is None or not unpack(await self.store.blob(namespace, digest)).prices:
                findings.unpriced()

    async def state(self, namespace: str, workflow_id: str) -> WorkflowState:
        """Return a workflow's state as it is stored. Raises NotFound."""
        state = self.engine.state(namespace, workflow_id)
        if state is not None:
            return state
        stored = await self.store.load(namespace, workflow_id)
        if stored is None:
            raise no_workflow(workflow_id)
        return restored(namespace, workflow_id, stored)


async def repeated(store: Store, caller: Caller, method: str, request_id: str, hashed: str) -> Receipt | None:
    """Return the receipt of the first request with this id; None if there was none. Raises InvalidArgument (REQUEST_ID_REUSED)."""
    record = await _known(store, caller, method, request_id)
    if record is None:
        return None
    if record.command_hash != hashed:
        raise reused(method, request_id)
    return Receipt(record.workflow_id, record.seq, repeated=True)


async def _known(store: Store, caller: Caller, method: str, request_id: str) -> RequestRecord | None:
    return await store.find_request(RequestKey(caller.namespace, caller.principal, method, request_id))


def reused(method: str, request_id: str) -> InvalidArgument:
    """Return the error for a request id that belongs to another command."""
    return InvalidArgument(
        "REQUEST_ID_REUSED",
        f"The request id {request_id!r} belongs to another {method}: use a new one for a new request.",
    )


async def changed(store: Store, namespace: str, receipt: Receipt) -> Changed:
    """Return the workflow that a command was about. Raises NotFound when it was deleted since a repeated command."""
    summary = await store.get_summary(namespace, receipt.workflow_id)
    if summary is None:
        raise NotFound(
            "WORKFLOW_NOT_FOUND", f"The workflow {receipt.workflow_id!r} of this request has been deleted since."
        )
    return Changed(summary, WorkflowCursors(store.epoch, namespace, receipt.workflow_id).at(receipt.seq))


def begin(workflow_id: str, request_id: str, found: Findings | None = None) -> Findings:
    """Return the findings about what every command has; `found` is what was wrong already where the request was read."""
    findings = found or Findings()
    findings.workflow_id("workflow_id", workflow_id)
    findings.request_id(request_id)
    return findings


def check_reason(findings: Findings, reason: str) -> None:
    findings.text("reason", reason, REASON_LIMIT)


def check_said(findings: Findings, field: str, text: str, limit: int, advice: str) -> None:
    """A text that must say something."""
    findings.text(field, text, limit)
    if not text.strip():
        findings.add(field, f"It is empty: {advice}.")
