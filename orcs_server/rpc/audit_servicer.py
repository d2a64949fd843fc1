"""`orcs.v1.AuditService`: each method reads its request, calls the service and writes its reply."""

from __future__ import annotations

from orcs_client.v1 import audit_service_pb2
from orcs_server.identity import Caller
from orcs_server.rpc.calls import StreamCall
from orcs_server.rpc.conversion import audit
from orcs_server.service.audit import Audit
from orcs_server.service.validation import Findings

_a = audit_service_pb2


class AuditServicer:
    """`orcs.v1.AuditService`."""

    def __init__(self, service: Audit) -> None:
        self._audit = service

    async def list_audit_records(
        self, request: _a.ListAuditRecordsRequest, caller: Caller
    ) -> _a.ListAuditRecordsResponse:
        findings = Findings()
        page = await self._audit.page(
            caller,
            audit.where(request, findings),
            oldest_first=request.oldest_first,
            size=request.page_size,
            token=request.page_token,
            found=findings,
        )
        return _a.ListAuditRecordsResponse(
            records=[audit.record(one) for one in page.records], next_page_token=page.next_page_token
        )

    async def verify_audit(self, request: _a.VerifyAuditRequest, caller: Caller) -> _a.VerifyAuditResponse:
        return audit.verified(await self._audit.verify(caller, audit.expected_head(request)))

    async def export_audit(self, request: _a.ExportAuditRequest, call: StreamCall) -> None:
        export = await self._audit.open_export(call.identify, request.after_number)
        await call.follow(export.pieces(call.identify), lambda records: audit.export_messages(records, export.chain))
