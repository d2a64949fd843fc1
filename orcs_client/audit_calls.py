"""The calls about the audit log: who did what, for administrators of a namespace."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from orcs_client import requests
from orcs_client.calls import Calls, pages
from orcs_client.streams import replies
from orcs_client.v1 import audit_service_pb2
from orcs_client.v1.audit_service_pb2_grpc import AuditServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    import grpc

_a = audit_service_pb2
VERIFY_TIMEOUT = 600.0
"""Seconds for going along a whole log."""
LONGEST_SILENCE = 60.0
"""Seconds after which an export without a reply counts as cut."""


class AuditCalls(Calls):
    """Reads the audit log."""

    async def list_audit_records(
        self,
        *,
        principal: str = "",
        operation: str = "",
        resource: str = "",
        outcome: str = "",
        refused_only: bool = False,
        since: datetime | None = None,
        before: datetime | None = None,
        oldest_first: bool = False,
        page_size: int = 0,
    ) -> AsyncGenerator[_a.AuditRecord, None]:
        """Yield the records that fit, the newest first, fetched page by page.

        `operation` may be a whole kind, as in `memory.`, and `resource` a workflow, which includes its tasks.
        """
        request = _a.ListAuditRecordsRequest(
            principal=principal,
            operation=operation,
            resource=resource,
            outcome=outcome,
            refused_only=refused_only,
            oldest_first=oldest_first,
            page_size=page_size,
        )
        if since is not None:
            request.from_time.CopyFrom(requests.timestamp("since", since))
        if before is not None:
            request.before_time.CopyFrom(requests.timestamp("before", before))
        stub = AuditServiceStub(self._connection.unary)

        async def page(token: str) -> _a.ListAuditRecordsResponse:
            request.page_token = token
            return await self._connection.call(stub.ListAuditRecords, request)

        async for reply in pages(page):
            for record in reply.records:
                yield record

    async def export_audit(
        self, after_number: int = 0, *, reconnect_timeout: float | None = None
    ) -> AsyncGenerator[_a.AuditRecord, None]:
        """Yield every record after a number, in order, up to where the log ends now; the last one is its head.

        A cut is no end: it is opened again after the last record that came. Raises `OutOfRange` where what follows is no
        longer kept.
        """
        after = after_number
        stub = AuditServiceStub(self._connection.watching)

        def open_stream() -> grpc.aio.UnaryStreamCall[_a.ExportAuditRequest, _a.ExportAuditResponse]:
            return stub.ExportAudit(_a.ExportAuditRequest(after_number=after), metadata=self._connection.metadata())

        stream = replies(
            self._connection, open_stream, longest_silence=LONGEST_SILENCE, reconnect_timeout=reconnect_timeout
        )
        async with aclosing(stream):
            async for reply in stream:
                for record in reply.records:
                    after = record.number
                    yield record
                if reply.HasField("head"):
                    return

    async def verify_audit(self, expected_number: int = 0, expected_hash: str = "") -> _a.VerifyAuditResponse:
        """Have the server go along the whole log and say whether it is what was written.

        With a number and a hash that were noted before, from `head` of an earlier reply or from any record, it is also seen
        whether the end was cut off.
        """
        request = _a.VerifyAuditRequest()
        if expected_number or expected_hash:
            request.expected_head.CopyFrom(_a.AuditHead(number=expected_number, hash=expected_hash))
        stub = AuditServiceStub(self._connection.unary)
        return await self._connection.call(stub.VerifyAudit, request, VERIFY_TIMEOUT)
