"""The same for the requests about the audit log."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from orcs_client.v1 import audit_service_pb2
from tests.rpc.surface.expected import NO_TIME, Expectations, Expected, accepted, page_size, page_token, wrong

_a: Final = audit_service_pb2
_HASH: Final = "0" * 64
_NO_LINE: Final = ("a\x00b", "a\nb", "\x1b[2J", "a\u2028b", "a\u202eb", "t" * 601, "t" * 300_000)
_NO_HASH: Final = ("", "0" * 63, "0" * 65, "F" * 64, "\x00" * 64, "g" * 64)
AUDIT_BASE: Final[dict[str, dict[str, Any]]] = {"ListAuditRecords": {}, "ExportAudit": {}, "VerifyAudit": {}}


def _line(field: str) -> tuple[Expected, ...]:
    return (*(wrong(**{field: text}) for text in _NO_LINE), accepted(**{field: "nobody's"}))


def _head(at: str, number: int = 1, digest: str = _HASH) -> Expected:
    return wrong(f"expected_head.{at}", expected_head=_a.AuditHead(number=number, hash=digest))


AUDIT: Final[dict[str, Expectations]] = {
    "ListAuditRecords": {
        **{field: _line(field) for field in ("principal", "operation", "resource", "outcome")},
        "refused_only": (wrong("refused_only", refused_only=True, outcome="OK"), accepted(refused_only=True)),
        "from_time": tuple(wrong(from_time=Timestamp(**parts)) for parts in NO_TIME),
        "before_time": (
            *(wrong(before_time=Timestamp(**parts)) for parts in NO_TIME),
            wrong("before_time", from_time=Timestamp(seconds=5), before_time=Timestamp(seconds=5)),
        ),
        "oldest_first": (accepted(oldest_first=True),),
        "page_size": page_size(),
        "page_token": page_token("audit"),
    },
    "ExportAudit": {"after_number": tuple(wrong(after_number=number) for number in (-1, -(2**63), 2**63 - 1, 2**40))},
    "VerifyAudit": {
        "expected_head.number": tuple(_head("number", number) for number in (0, -1, -(2**63))),
        "expected_head.hash": tuple(_head("hash", 1, digest) for digest in _NO_HASH),
    },
}
