"""The six places where an operator's own code joins in, what they do by default, and how they are called safely."""

from __future__ import annotations

from orcs_server.hooks.guarded import GuardedHooks
from orcs_server.hooks.leave import RUN_OPERATION, TOOL_OPERATION, AgentLeave, agent_leave
from orcs_server.hooks.loading import load_factory
from orcs_server.hooks.nulls import (
    ALLOW_ALL,
    NO_CONFIGURATION,
    NO_CONTEXT,
    NO_ISOLATION,
    NO_TELEMETRY,
    NULL_HOOKS,
    UNLIMITED_RESOURCES,
    HookSet,
    null_factory,
)
from orcs_server.hooks.protocols import (
    AuthorizationHook,
    ConfigurationHook,
    ContextHook,
    HookFactory,
    IsolationHook,
    Origin,
    ResourcesHook,
    TelemetryHook,
    inline,
)

__all__ = [
    "ALLOW_ALL",
    "NO_CONFIGURATION",
    "NO_CONTEXT",
    "NO_ISOLATION",
    "NO_TELEMETRY",
    "NULL_HOOKS",
    "RUN_OPERATION",
    "TOOL_OPERATION",
    "UNLIMITED_RESOURCES",
    "AgentLeave",
    "AuthorizationHook",
    "ConfigurationHook",
    "ContextHook",
    "GuardedHooks",
    "HookFactory",
    "HookSet",
    "IsolationHook",
    "Origin",
    "ResourcesHook",
    "TelemetryHook",
    "agent_leave",
    "inline",
    "load_factory",
    "null_factory",
]
