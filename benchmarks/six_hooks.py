"""All six hooks, useful ones: what an operator with tenants, rights, budgets, an event log and settings of its own would write."""

from __future__ import annotations

from collections import Counter
from typing import Any

from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller

RIGHTS = {"local": {"*"}}
HELD: Counter[str] = Counter()
EVENTS: Counter[str] = Counter()


class Hooks:
    """The hooks of one caller."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get_context(self) -> dict[str, Any]:
        """Say who it is that works."""
        return {"principal": self._caller.principal, "team": "benchmarks"}

    async def get_isolation_prefix(self) -> str:
        """Keep the namespace of the token."""
        return self._caller.namespace

    async def check_permission(self, operation: str, resource_id: str) -> bool:
        """Look the right up."""
        rights = RIGHTS.get(self._caller.principal, {"*"})
        return "*" in rights or operation in rights

    async def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:
        """Give one of a million places."""
        HELD[workflow_id] += 1
        return len(HELD) < 1_000_000

    async def release_resources(self, workflow_id: str) -> None:
        """Take the place back."""
        HELD.pop(workflow_id, None)

    async def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
        """Count events by kind."""
        EVENTS[event_type] += 1

    async def get_config(self, key: str, default: Any) -> Any:
        """Change nothing."""
        return default


def factory(caller: Caller, origin: Origin) -> HookSet:
    """Return the hooks of a caller."""
    hooks = Hooks(caller)
    return HookSet(
        context=hooks, isolation=hooks, authorization=hooks, resources=hooks, telemetry=hooks, configuration=hooks
    )
