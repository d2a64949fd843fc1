"""Hooks that change nothing. Each is one object, so a call site sees by `is` that there is nothing to call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from orcs_server.hooks.protocols import (
    AuthorizationHook,
    ConfigurationHook,
    ContextHook,
    IsolationHook,
    Origin,
    ResourcesHook,
    TelemetryHook,
    inline,
)
from orcs_server.identity import Caller


class _NoContext:
    @inline
    def get_context(self) -> dict[str, Any]:
        return {}


class _NoIsolation:
    @inline
    def get_isolation_prefix(self) -> str:
        return ""


class _AllowAll:
    @inline
    def check_permission(self, operation: str, resource_id: str, /) -> bool:  # noqa: ARG002
        return True


class _UnlimitedResources:
    @inline
    def allocate_resources(self, workflow_id: str, requirements: dict[str, Any], /) -> bool:  # noqa: ARG002
        return True

    @inline
    def release_resources(self, workflow_id: str, /) -> None:  # noqa: ARG002
        return None


class _NoTelemetry:
    @inline
    def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:  # noqa: ARG002
        return None


class _NoConfiguration:
    @inline
    def get_config(self, key: str, default: Any, /) -> Any:  # noqa: ARG002
        return default


NO_CONTEXT: Final = _NoContext()
NO_ISOLATION: Final = _NoIsolation()
"""The namespace of the caller's token stays as it is."""
ALLOW_ALL: Final = _AllowAll()
"""Roles alone decide."""
UNLIMITED_RESOURCES: Final = _UnlimitedResources()
NO_TELEMETRY: Final = _NoTelemetry()
NO_CONFIGURATION: Final = _NoConfiguration()


@dataclass(frozen=True, slots=True)
class HookSet:
    """The hooks for one caller. What is left out does nothing."""

    context: ContextHook = NO_CONTEXT
    isolation: IsolationHook = NO_ISOLATION
    authorization: AuthorizationHook = ALLOW_ALL
    resources: ResourcesHook = UNLIMITED_RESOURCES
    telemetry: TelemetryHook = NO_TELEMETRY
    configuration: ConfigurationHook = NO_CONFIGURATION
    tenant: str = field(default="", compare=False)
    """Filled in by the server: among whom the threads for hooks are shared."""


NULL_HOOKS: Final = HookSet()

METHODS: Final = {
    "context": ("get_context",),
    "isolation": ("get_isolation_prefix",),
    "authorization": ("check_permission",),
    "resources": ("allocate_resources", "release_resources"),
    "telemetry": ("record_event",),
    "configuration": ("get_config",),
}
"""Field of `HookSet` -> the methods that its object must have."""


@inline
def null_factory(_caller: Caller, /, origin: Origin) -> HookSet:  # noqa: ARG001
    """Return hooks that do nothing, whoever calls."""
    return NULL_HOOKS
