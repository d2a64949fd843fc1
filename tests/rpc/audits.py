"""What the tests of the audit log share: reading it, and what its records say."""

from __future__ import annotations

import json
from typing import Any

from orcs_client.v1 import audit_service_pb2
from tests.rpc.wire import Wire

_a = audit_service_pb2


async def audited(wire: Wire, **fields: Any) -> list[Any]:
    """Return the records that fit, the oldest first."""
    found: list[Any] = []
    token = ""
    for _ in range(100):
        request = _a.ListAuditRecordsRequest(oldest_first=True, page_size=50, page_token=token, **fields)
        reply = await wire.call("ListAuditRecords", request)
        found += reply.records
        token = reply.next_page_token
        if not token:
            return found
    raise AssertionError("there is no end of pages")


async def exported(wire: Wire, after: int = 0) -> tuple[list[Any], Any]:
    """Return all records after a number, and the head."""
    replies = [one async for one in wire.call("ExportAudit", _a.ExportAuditRequest(after_number=after))]
    assert [one.HasField("head") for one in replies] == [*[False] * (len(replies) - 1), True]
    return [record for one in replies for record in one.records], replies[-1].head


async def verified(wire: Wire, number: int = 0, digest: str = "") -> Any:
    """Have it verified, against a head if one is named."""
    head = _a.AuditHead(number=number, hash=digest) if number else None
    return await wire.call("VerifyAudit", _a.VerifyAuditRequest(expected_head=head))


def facts(record: Any) -> dict[str, Any]:
    """Return what a record's details say."""
    return json.loads(record.details) if record.details else {}


def said(records: list[Any]) -> list[tuple[str, str, str]]:
    """Return operation, resource and outcome of each."""
    return [(one.operation, one.resource, one.outcome) for one in records]
