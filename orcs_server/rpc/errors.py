"""Domain errors become status here, and nowhere else: one table, google.rpc.Status with machine-readable details."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from orcs_server import errors
from orcs_server.rpc.conversion.times import duration, timestamp

DOMAIN: Final = "orcs"
DETAILS_KEY: Final = "grpc-status-details-bin"
DETAILS_BYTES: Final = 4096
"""Room for details: trailers over 8 KiB are refused by clients, and the details go there in base64."""
MESSAGE_BYTES: Final = 500
"""Of a status' message, which travels twice, once percent-encoded."""

CODES: Final[dict[type[errors.OrcsError], grpc.StatusCode]] = {
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.IllegalTransition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
}
"""Kind of error -> code. A subclass has its parent's."""

_log = logging.getLogger("orcs.rpc")


class Refusal:
    """What a failed call is answered with."""

    def __init__(self, code: grpc.StatusCode, message: str, details: list[Message]) -> None:
        self.code = code
        self.message = _cut(message)
        status = status_pb2.Status(code=code.value[0], message=self.message)
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        self.trailers = ((DETAILS_KEY, status.SerializeToString()),)


def _cut(message: str) -> str:
    if len(message.encode()) <= MESSAGE_BYTES:
        return message
    return f"{message.encode()[: MESSAGE_BYTES - 3].decode(errors='ignore')}…"


def refusal(error: Exception, method: str, trace: Mapping[str, str] | None = None) -> Refusal:
    """Return the answer to any error. One that is not meant for callers is logged, with the fields of its trace, and its
    text stays here.
    """
    if isinstance(error, errors.OrcsError):
        return _expected(error)
    error_id = secrets.token_hex(6)
    _log.error("error %s in %s", error_id, method, exc_info=error, extra=trace)
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"error_id": error_id})
    message = f"The server made a mistake; its log has the details under error {error_id}."
    return Refusal(grpc.StatusCode.INTERNAL, message, [info])


def _expected(error: errors.OrcsError) -> Refusal:
    code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    details: list[Message] = [info]
    cursor = getattr(error, "cursor", "")
    if cursor:
        info.metadata["cursor"] = cursor
    match error:
        case errors.OutOfRange(oldest=oldest) if oldest:
            info.metadata["oldest_cursor"] = oldest
        case errors.Conflict(stale=stale) if stale:
            info.metadata["stale_keys"] = _stale_keys(stale)
            info.metadata["stale_count"] = str(len(stale))
        case errors.InvalidArgument(violations=violations) if violations:
            details.append(_bad_request(violations))
        case errors.QuotaExceeded():
            details += _quota_failure(error, info)
        case errors.ResourceExhausted(retry_after_us=retry_after_us):
            if error.reason == "QUOTA_EXCEEDED":
                subject = error_details_pb2.QuotaFailure.Violation(subject="caller", description=error.message)
                details.append(error_details_pb2.QuotaFailure(violations=[subject]))
            if retry_after_us is not None:
                details.append(error_details_pb2.RetryInfo(retry_delay=duration(retry_after_us)))
        case _:
            pass
    return Refusal(code, error.message, details)


def _stale_keys(stale: tuple[errors.StaleKey, ...]) -> str:
    """Return keys of memory with their current versions as JSON, as far as a status has room."""
    found: list[str] = []
    room = DETAILS_BYTES
    for one in stale:
        text = json.dumps({"scope": one.scope, "key": one.key, "version": one.version}, ensure_ascii=False)
        room -= len(text.encode()) + 2
        if room < 0:
            break
        found.append(text)
    return f"[{', '.join(found)}]"


def _quota_failure(error: errors.QuotaExceeded, info: error_details_pb2.ErrorInfo) -> list[Message]:
    """Return what names the quota, and when to come back; `info` takes what programs want to know of it."""
    info.metadata.update(
        {
            "quota": error.quota,
            "limit": str(error.limit),
            "in_use": str(error.in_use),
            "free_when": error.free_when,
        }
    )
    violation = error_details_pb2.QuotaFailure.Violation(subject=f"namespace:{error.quota}", description=error.message)
    details: list[Message] = [error_details_pb2.QuotaFailure(violations=[violation])]
    if error.free_us is not None:
        info.metadata["free_time"] = timestamp(error.free_us).ToJsonString()
    if error.retry_after_us is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration(error.retry_after_us)))
    return details


def _bad_request(violations: tuple[errors.Violation, ...]) -> error_details_pb2.BadRequest:
    """Return every violation, as far as a status has room; the rest is counted."""
    message = error_details_pb2.BadRequest()
    room = DETAILS_BYTES
    for index, violation in enumerate(violations):
        description = violation.description
        room -= len(violation.field.encode()) + len(description.encode()) + 8
        if room < 0 and index > 0:
            message.field_violations.add(description=f"{len(violations) - index} more violations are not listed.")
            break
        message.field_violations.add(field=violation.field, description=description[: DETAILS_BYTES // 4])
    return message
