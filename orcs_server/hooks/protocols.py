"""What the six hooks look like. They know nothing of users: a factory makes a set of them for whoever calls.

Each method may be `def` or `async def`. A `def` runs in a thread unless it is marked `inline`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from orcs_server.identity import Caller

if TYPE_CHECKING:
    from orcs_server.hooks.nulls import HookSet

INLINE_MARK = "__orcs_inline__"

_F = TypeVar("_F", bound=Callable[..., Any])


class Origin(StrEnum):
    """Why hooks are asked for: a call, a recovery after a restart, or a timer. The last two act for the stored caller."""

    RPC = "RPC"
    RECOVERY = "RECOVERY"
    TIMER = "TIMER"


class ContextHook(Protocol):
    """Gives a workflow what the outside world knows of it."""

    def get_context(self) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Return JSON for the planner and the agents. Called once, at creation."""
        ...


class IsolationHook(Protocol):
    """Keeps tenants apart."""

    def get_isolation_prefix(self) -> str | Awaitable[str]:
        """Return the namespace that the caller works in."""
        ...


class AuthorizationHook(Protocol):
    """Says who may do what. Only `True` lets anyone in."""

    def check_permission(self, operation: str, resource_id: str, /) -> bool | Awaitable[bool]:
        """Return whether the caller may do this to that."""
        ...


class ResourcesHook(Protocol):
    """Grants a workflow what it needs outside. Called at least once, so both methods must bear being repeated."""

    def allocate_resources(self, workflow_id: str, requirements: dict[str, Any], /) -> bool | Awaitable[bool]:
        """Return whether the workflow may have what it requires. Held while paused, too."""
        ...

    def release_resources(self, workflow_id: str, /) -> Awaitable[None] | None:
        """Take back whatever the workflow holds, if anything."""
        ...


class TelemetryHook(Protocol):
    """Is told of every event, and can never harm a run."""

    def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> Awaitable[None] | None:
        """Take note of an event. Called with keywords, in the order of the events."""
        ...


class ConfigurationHook(Protocol):
    """Answers for settings from outside."""

    def get_config(self, key: str, default: Any, /) -> Any:
        """Return the value of `key`, of the same JSON type as `default`. Frozen into a workflow at creation."""
        ...


class HookFactory(Protocol):
    """Makes the hooks for one caller; may be `async`. It is asked for every call, so it should be quick."""

    def __call__(self, caller: Caller, /, origin: Origin) -> HookSet | Awaitable[HookSet]:
        """Return the hooks that are to be used for what `caller` does."""
        ...


def inline(hook: _F) -> _F:
    """Mark a `def` that never waits for anything, so that it is called directly instead of in a thread."""
    setattr(hook, INLINE_MARK, True)
    return hook
