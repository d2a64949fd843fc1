"""Between the audit log and its messages."""

from __future__ import annotations

from collections.abc import Iterator

from orcs_client.v1 import audit_service_pb2
from orcs_server.rpc.conversion.streams import MESSAGE_BYTES, StreamMessage
from orcs_server.rpc.conversion.times import time_us
from orcs_server.service.audit import AuditHead, Verdict, weight
from orcs_server.service.validation import Findings
from orcs_server.storage.audit import AuditChain, AuditFilter, AuditRecord

_a = audit_service_pb2


def record(stored: AuditRecord) -> _a.AuditRecord:
    """Return a record."""
    draft = stored.draft
    return _a.AuditRecord(
        namespace=stored.namespace,
        number=stored.number,
        time_us=draft.time_us,
        principal=draft.principal,
        roles=draft.roles,
        operation=draft.operation,
        method=draft.method,
        resource=draft.resource,
        outcome=draft.outcome,
        request_id=draft.request_id,
        peer=draft.peer,
        agent=draft.agent,
        workflow_id=draft.workflow_id,
        task_id=draft.task_id,
        details=draft.details,
        previous_hash=stored.previous_hash,
        hash=stored.hash,
    )


def head(chain: AuditChain) -> _a.AuditHead:
    """Return where a chain ends."""
    return _a.AuditHead(number=chain.number, hash=chain.hash)


def where(request: _a.ListAuditRecordsRequest, findings: Findings) -> AuditFilter:
    """Return which records a request means."""
    has_from, has_before = request.HasField("from_time"), request.HasField("before_time")
    return AuditFilter(
        request.principal,
        request.operation,
        request.resource,
        request.outcome,
        request.refused_only,
        time_us(request.from_time, "from_time", findings) if has_from else None,
        time_us(request.before_time, "before_time", findings) if has_before else None,
    )


def expected_head(request: _a.VerifyAuditRequest) -> AuditHead | None:
    """Return the head that was noted, if one is given."""
    if not request.HasField("expected_head"):
        return None
    return AuditHead(request.expected_head.number, request.expected_head.hash)


def verified(verdict: Verdict) -> _a.VerifyAuditResponse:
    """Return what verifying came to."""
    chain, misfit = verdict.chain, verdict.misfit
    reply = _a.VerifyAuditResponse(intact=misfit is None, head=head(chain))
    if chain.number > chain.removed:
        reply.first_number = chain.removed + 1
    if misfit is not None:
        reply.misfit_number, reply.misfit_reason = misfit
    return reply


def export_messages(records: list[AuditRecord], chain: AuditChain) -> Iterator[StreamMessage]:
    """Yield the messages of a piece of an export; one without records is the last."""
    if not records:
        yield StreamMessage(_a.ExportAuditResponse(head=head(chain)).SerializeToString(), "")
        return
    message, room = _a.ExportAuditResponse(), MESSAGE_BYTES
    for one in records:
        size = weight(one)
        if size > room and message.records:
            yield StreamMessage(message.SerializeToString(), "")
            message, room = _a.ExportAuditResponse(), MESSAGE_BYTES
        message.records.append(record(one))
        room -= size
    yield StreamMessage(message.SerializeToString(), "")
