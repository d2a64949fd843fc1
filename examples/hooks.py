"""Hooks for a server with several tenants: who belongs to which, what they may do, how much they may run, what is written down of it.

    TENANTS_FILE=examples/tenants.json PYTHONPATH=examples orcs serve --hooks hooks:factory  # this is examples/hooks.py

Everything stands in one file, which is read again when it changes; what is held and what has happened is written into the folder that
TENANTS_STATE names (by default that of TENANTS_FILE). docs/hooks.md says when each hook is called.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orcs_server.hooks import HookSet, Origin, inline
from orcs_server.identity import Caller

TENANTS = Path(os.environ.get("TENANTS_FILE", "tenants.json")).absolute()
STATE = Path(os.environ.get("TENANTS_STATE", str(TENANTS.parent))).absolute()


@dataclass(frozen=True)
class Tenant:
    """What the file says of a tenant, and of the one of its people who calls."""

    name: str
    allowed: tuple[str, ...]
    """What the operations begin with that the caller may do."""
    forbidden_tools: tuple[str, ...]
    """What no agent of this tenant may call."""
    workflows_at_once: int
    settings: dict[str, Any]
    context: dict[str, Any]


class TenantsFile:
    """The file, read again when it has changed. One that cannot be read stops all calls: hooks that raise fail closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0
        self._content: dict[str, Any] = {}

    def of(self, caller: Caller) -> Tenant:
        """Return the tenant of a caller. Strangers have one of their own, in which they may do nothing; who runs the server may do
        everything.
        """
        if caller.own:
            return Tenant(caller.namespace, ("",), (), 8, {}, {})
        principal = caller.principal
        seen = self._path.stat().st_mtime_ns
        if seen != self._seen:
            self._content, self._seen = json.loads(self._path.read_text()), seen
        for name, said in self._content["tenants"].items():
            if principal in said["people"]:
                return Tenant(
                    name,
                    tuple(said["people"][principal]),
                    tuple(said.get("forbidden_tools", ())),
                    said.get("workflows_at_once", 1),
                    said.get("settings", {}),
                    said.get("context", {}),
                )
        return Tenant("nobody", (), (), 0, {}, {})


tenants = TenantsFile(TENANTS)


class TenantContext:
    """Tells planner and agents what the operator knows of the tenant; on a clash with the client's own words this wins."""

    def __init__(self, tenant: Tenant, caller: Caller) -> None:
        self._context = {"tenant": tenant.name, "asked_by": caller.principal, **tenant.context}

    @inline
    def get_context(self) -> dict[str, Any]:
        return self._context


class TenantIsolation:
    """Gives each tenant a namespace, whatever the token's is."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    @inline
    def get_isolation_prefix(self) -> str:
        return f"tenant:{self._tenant.name}"


class TenantPermissions:
    """People may do what their line in the file says; agents may do what they like for whoever may do anything, but for some tools."""

    def __init__(self, tenant: Tenant, caller: Caller) -> None:
        self._tenant = tenant
        self._agent = caller.agent

    @inline
    def check_permission(self, operation: str, resource_id: str) -> bool:
        if self._agent:
            banned = operation == "tools.call" and resource_id in self._tenant.forbidden_tools
            return bool(self._tenant.allowed) and not banned
        return operation.startswith(self._tenant.allowed) if self._tenant.allowed else False


class TenantQuota:
    """So many workflows at once for each tenant. What is held stands in a file, since it has to outlive the server."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:  # noqa: ARG002 - the hook's signature
        with self._held() as held:
            # It may be asked for the same workflow again, after a crash.
            if workflow_id not in held and len(held) >= self._tenant.workflows_at_once:
                return False
            held[workflow_id] = True
        return True

    def release_resources(self, workflow_id: str) -> None:
        with self._held() as held:
            held.pop(workflow_id, None)

    @contextmanager
    def _held(self) -> Iterator[dict[str, bool]]:
        path = STATE / f"held-{self._tenant.name}.json"
        STATE.mkdir(parents=True, exist_ok=True)
        with (STATE / "held.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held: dict[str, bool] = json.loads(path.read_text()) if path.exists() else {}
            before = dict(held)
            yield held
            if held != before:
                draft = path.with_suffix(".new")
                draft.write_text(json.dumps(held))
                draft.replace(path)


class TenantEvents:
    """Writes a line of JSON for each event, into a file of the tenant's own."""

    def __init__(self, tenant: Tenant, caller: Caller, origin: Origin) -> None:
        self._path = STATE / f"events-{tenant.name}.jsonl"
        self._who = {"principal": caller.principal, "origin": origin.value}

    def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"event": event_type, "workflow": resource_id, **self._who, **metadata}) + "\n")


class TenantSettings:
    """Settings of the tenant's own, by their names in the configuration file; they are frozen into each new workflow."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    @inline
    def get_config(self, key: str, default: Any) -> Any:
        return self._tenant.settings.get(key, default)


def factory(caller: Caller, /, origin: Origin) -> HookSet:
    """Return the hooks of the tenant to which the caller belongs."""
    tenant = tenants.of(caller)
    return HookSet(
        context=TenantContext(tenant, caller),
        isolation=TenantIsolation(tenant),
        authorization=TenantPermissions(tenant, caller),
        resources=TenantQuota(tenant),
        telemetry=TenantEvents(tenant, caller, origin),
        configuration=TenantSettings(tenant),
    )
