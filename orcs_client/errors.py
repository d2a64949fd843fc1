"""What the client raises, and how it is read from what a server answered.

OrcsError
├── NotFound             no such workflow, task, agent
├── AlreadyExists        the id is taken
├── InvalidArgument      the request is wrong in itself; carries every violation
├── IllegalTransition    the request is fine, the state does not allow it
├── Conflict             the caller acted on something stale
├── OutOfRange           a cursor that the log no longer holds
├── Unauthenticated      no token, or a wrong one
├── PermissionDenied     the caller may not do this
├── ResourceExhausted    a limit; carries when to try again
├── Unavailable          not now: unreachable, draining, or its storage does not answer
├── DeadlineExceeded     no answer in time
├── Unimplemented        the server does not know this call
├── InternalError        a fault in the server; carries the id under which its log says more
├── SettingsError        the client itself is set up or used wrongly
├── GapError             a stream left out events, which a server never does
└── WorkflowNotCompleted `run` came to an end that is no success
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.message import Message

    from orcs_client.v1 import workflow_pb2

    M = TypeVar("M", bound=Message)

_DOMAIN = "orcs"
_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a request: where, and what would be right."""

    field: str
    description: str


class OrcsError(Exception):
    """Base of all errors of this client. The message says what to do and may be shown as it is.

    `reason` is a name of the published `ErrorReason` enum without its prefix, such as `WORKFLOW_NOT_FOUND` (a newer server
    may send one that this enum does not know); empty where no ORCS server gave one. `code` is the status of the call; None where the client itself found the error.
    """

    code: grpc.StatusCode | None = None

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: grpc.StatusCode | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata: dict[str, str] = dict(metadata or {})
        """What the server added for programs, such as `oldest_cursor` or `error_id`."""
        if code is not None:
            self.code = code


class NotFound(OrcsError):
    """No such thing in the caller's namespace."""


class AlreadyExists(OrcsError):
    """The id is taken."""


class InvalidArgument(OrcsError):
    """The request is wrong in itself. `violations` holds everything that is wrong, not just the first."""

    def __init__(self, message: str, *, violations: tuple[Violation, ...] = (), **given: Any) -> None:
        super().__init__(message, **given)
        self.violations = violations


class IllegalTransition(OrcsError):
    """The state of the workflow or task does not allow the request."""


@dataclass(frozen=True, slots=True)
class StaleKey:
    """A key of memory that is not at the expected version, and the one that it is at; 0: it is absent."""

    scope: str
    key: str
    version: int


class Conflict(OrcsError):
    """The caller acted on something stale: read again and repeat."""

    @property
    def stale_keys(self) -> tuple[StaleKey, ...]:
        """The keys of memory that were stale, with their current versions: the first ones, if the server named any."""
        try:
            return tuple(
                StaleKey(str(one["scope"]), str(one["key"]), int(one["version"]))
                for one in json.loads(self.metadata.get("stale_keys", "[]"))
            )
        except (ValueError, TypeError, KeyError):
            # Damaged on the way: the status itself still says what happened.
            return ()


class OutOfRange(OrcsError):
    """The cursor is older than the log; `oldest_cursor` is the first one that still works, if the server said so."""

    @property
    def oldest_cursor(self) -> str:
        return self.metadata.get("oldest_cursor", "")


class Unauthenticated(OrcsError):
    """No token, or one that is not valid."""


class PermissionDenied(OrcsError):
    """The caller is known and may not do this."""


class ResourceExhausted(OrcsError):
    """A limit was reached. `violations` names the limits; `retry_after` is in seconds, None if the server did not say."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        violations: tuple[Violation, ...] = (),
        **given: Any,
    ) -> None:
        super().__init__(message, **given)
        self.retry_after = retry_after
        self.violations = violations


class Unavailable(OrcsError):
    """Not now; the same request may go through later. `retry_after` is in seconds, None if the server did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None, **given: Any) -> None:
        super().__init__(message, **given)
        self.retry_after = retry_after


class DeadlineExceeded(OrcsError):
    """No answer came in time. Whether the server did what was asked is unknown."""


class Unimplemented(OrcsError):
    """The server does not know this call: it is older than this client, or no ORCS server."""


class InternalError(OrcsError):
    """A fault in the server. Its log says more under `error_id`, which is empty where the fault lies on the way."""

    @property
    def error_id(self) -> str:
        return self.metadata.get("error_id", "")


class SettingsError(OrcsError):
    """The client itself is set up or used wrongly, for instance its address or its token."""


class GapError(OrcsError):
    """A watch got an event whose predecessor never came. Watching again after the last cursor may bring it."""


class WorkflowNotCompleted(OrcsError):
    """The workflow ended as FAILED or CANCELLED; `workflow` says why. What was done is kept: see `get_output`."""

    def __init__(self, message: str, workflow: workflow_pb2.Workflow) -> None:
        super().__init__(message)
        self.workflow = workflow


_CLASSES: Mapping[grpc.StatusCode, type[OrcsError]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: IllegalTransition,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    # Only the server's own breaking off comes as this status; the caller's comes as asyncio.CancelledError.
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
}


# For what no ORCS server said, but the connection to it or something on the way.
_ADVICE = {
    grpc.StatusCode.UNAVAILABLE: "{address} does not answer ({message}): start it with `orcs serve`, or name another with ORCS_SERVER",
    grpc.StatusCode.DEADLINE_EXCEEDED: "{address} did not answer in time: try again, or give the client a longer timeout",
    grpc.StatusCode.UNIMPLEMENTED: "{address} does not know this call ({message}): is it an ORCS server, and not an older one?",
}
# What gRPC's core says of a connection that was made, but not for these two to talk -> what to do about it.
_TLS_ADVICE = {
    "WRONG_VERSION_NUMBER": "{address} answers without TLS: write its address without https:// and unset ORCS_TLS_ROOT_CERTIFICATES",
    "CERTIFICATE_VERIFY_FAILED": "{address} has a certificate that is not trusted: name its own or its authority's, a PEM file, with ORCS_TLS_ROOT_CERTIFICATES",
    "Hostname Verification Check failed": "{address} has a certificate for another name: use the name that the certificate is for",
    "andshake failed": "{address} and this client find no way to encrypt ({message}): see its certificate and ORCS_TLS_ROOT_CERTIFICATES",
    "Socket closed": "{address} hung up at once: if it wants TLS, write https:// before its address, else see its log",
}

_TOO_LARGE = re.compile(r"Received message larger than max \((\d+) vs\. (\d+)\)")


def error_from_call(error: grpc.aio.AioRpcError, address: str, *, tls: bool = False) -> OrcsError:
    """Return the error that a failed call to the server at `address` stands for. Details that are damaged are left out."""
    code = error.code()
    message = error.details() or f"the server gave no reason ({code.name})"
    details = _details(error)
    if details.error_info is None:
        message = _advice(code, message, tls=tls).format(address=address, message=message)
    reason, metadata = details.error_info or ("", {})
    given: dict[str, Any] = {"reason": reason, "code": code, "metadata": metadata}
    cls = _CLASSES.get(code, InternalError)
    if issubclass(cls, InvalidArgument | ResourceExhausted):
        given["violations"] = details.violations
    if issubclass(cls, ResourceExhausted | Unavailable):
        given["retry_after"] = details.retry_after
    return cls(message, **given)


def _advice(code: grpc.StatusCode, message: str, *, tls: bool) -> str:
    larger = _TOO_LARGE.search(message)
    if larger is not None:
        return f"the request has {int(larger[1]):,} bytes, and {{address}} takes at most {int(larger[2]):,}: send less at once"
    if code is grpc.StatusCode.UNAVAILABLE and message.startswith("failed to connect"):
        for sign, advice in _TLS_ADVICE.items():
            if sign in message:
                return advice
        # Of several addresses of a name only the last one's failure is told.
        return _ADVICE[code] + ("; check also its certificate and ORCS_TLS_ROOT_CERTIFICATES" if tls else "")
    return _ADVICE.get(code, "{message}")


@dataclass(slots=True)
class _Details:
    error_info: tuple[str, dict[str, str]] | None = None
    violations: tuple[Violation, ...] = ()
    retry_after: float | None = None


def _details(error: grpc.aio.AioRpcError) -> _Details:
    # Imported here, since most programs never need it.
    from google.protobuf.message import DecodeError
    from google.rpc import error_details_pb2, status_pb2

    found = _Details()
    raw = (error.trailing_metadata() or grpc.aio.Metadata()).get(_DETAILS_KEY)
    if not isinstance(raw, bytes):
        return found
    try:
        packed: list[AnyMessage] = list(status_pb2.Status.FromString(raw).details)
        for detail in packed:
            if (info := _unpacked(detail, error_details_pb2.ErrorInfo)) is not None and info.domain == _DOMAIN:
                found.error_info = (info.reason, dict(info.metadata))
            elif (request := _unpacked(detail, error_details_pb2.BadRequest)) is not None:
                found.violations += tuple(Violation(each.field, each.description) for each in request.field_violations)
            elif (quota := _unpacked(detail, error_details_pb2.QuotaFailure)) is not None:
                found.violations += tuple(Violation(each.subject, each.description) for each in quota.violations)
            elif (retry := _unpacked(detail, error_details_pb2.RetryInfo)) is not None:
                found.retry_after = max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)
    except DecodeError:
        # Something between us and the server mangled them; the status itself still tells what happened.
        return found
    return found


def _unpacked(detail: AnyMessage, kind: type[M]) -> M | None:
    message = kind()
    return message if detail.Unpack(message) else None
