"""What ORCS raises to a caller. Each error carries a stable reason for programs and a sentence that says what to do.

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
│   └── QuotaExceeded    a quota of the caller's namespace; says which, how much of it is in use and when it is free again
└── Unavailable          not now: draining, or storage does not answer
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a request: where, and what would be right."""

    field: str
    description: str


class OrcsError(Exception):
    """Base of all errors that are meant for a caller. `reason` is a name of the published `ErrorReason` enum."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NotFound(OrcsError):
    """No such thing in the caller's namespace."""


class AlreadyExists(OrcsError):
    """The id is taken."""


class InvalidArgument(OrcsError):
    """The request is wrong in itself. `violations` holds everything that is wrong, not just the first."""

    def __init__(self, reason: str, message: str, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(reason, message)
        self.violations = violations


class IllegalTransition(OrcsError):
    """The state does not allow the request."""


@dataclass(frozen=True, slots=True)
class StaleKey:
    """A key of memory that is not at the version that was expected, and the one that it is at; 0: it is absent."""

    scope: str
    key: str
    version: int


class Conflict(OrcsError):
    """The caller acted on something stale: read again and repeat. `stale` names the keys of memory that are meant, if any."""

    def __init__(self, reason: str, message: str, stale: tuple[StaleKey, ...] = ()) -> None:
        super().__init__(reason, message)
        self.stale = stale


class OutOfRange(OrcsError):
    """The cursor is older than the log; `oldest` is the first one that still works."""

    def __init__(self, reason: str, message: str, oldest: str = "") -> None:
        super().__init__(reason, message)
        self.oldest = oldest


class Unauthenticated(OrcsError):
    """No token, or one that is not valid."""


class PermissionDenied(OrcsError):
    """The caller is known and may not do this."""


class PermissionUnknown(PermissionDenied):
    """Whether the caller may do this could not be found out, so it is not done now; another time it may be."""


class ResourceExhausted(OrcsError):
    """A limit was reached; `retry_after_us` says when another try makes sense."""

    def __init__(self, reason: str, message: str, retry_after_us: int | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after_us = retry_after_us


class QuotaExceeded(ResourceExhausted):
    """A quota of the caller's namespace is used up; the operator has set it."""

    def __init__(
        self,
        message: str,
        *,
        quota: str,
        limit: int,
        in_use: int,
        free_us: int | None,
        free_when: str,
        retry_after_us: int | None = None,
    ) -> None:
        super().__init__("QUOTA_EXCEEDED", message, retry_after_us)
        self.quota = quota
        """The name of its setting."""
        self.limit = limit
        self.in_use = in_use
        self.free_us = free_us
        """When all of it is free again, where the clock tells."""
        self.free_when = free_when
        """The same in words."""


class Unavailable(OrcsError):
    """Not now; the same request may go through later."""


class StartupError(Exception):
    """The server cannot start; the message is one sentence that says what to do. Never raised over RPC."""
