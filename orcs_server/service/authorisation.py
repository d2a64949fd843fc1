"""Who may do what. An operation needs a role of the token first and the authorization hook's leave second; in doubt neither
is given. The names of the operations are published: hooks see them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from orcs_server.errors import PermissionDenied
from orcs_server.hooks import GuardedHooks, HookSet, Origin
from orcs_server.identity import Caller
from orcs_server.service.trails import current_trail

OPERATIONS: Final = {
    "workflows.create": "operate",
    "workflows.preview": "operate",
    "workflows.start": "operate",
    "workflows.delete": "operate",
    "workflows.pause": "operate",
    "workflows.resume": "operate",
    "workflows.cancel": "operate",
    "workflows.update": "operate",
    "workflows.message": "operate",
    "namespaces.freeze": "operate",
    "namespaces.thaw": "operate",
    "plans.edit": "operate",
    "plans.replan": "operate",
    "plans.list": "view",
    "plans.compare": "view",
    "tasks.retry": "operate",
    "tasks.skip": "operate",
    "tasks.cancel": "operate",
    "tasks.update": "operate",
    "inputs.get": "view",
    "inputs.list": "view",
    "inputs.watch": "view",
    "inputs.answer": "answer",
    "inputs.approve": "approve",
    "workflows.get": "view",
    "workflows.list": "view",
    "workflows.output": "view",
    "workflows.graph": "view",
    "workflows.explain": "view",
    "workflows.watch": "view",
    "tasks.get": "view",
    "tasks.list": "view",
    "memory.read": "view",
    "memory.watch": "view",
    "memory.write": "operate",
    "memory.delete": "operate",
    "memory.share": "operate",
    "memory.revert": "operate",
    "memory.administer": "administer",
    "agents.get": "view",
    "agents.list": "view",
    "agents.register": "administer",
    "agents.deregister": "administer",
    "system.info": "view",
    "system.problems": "administer",
    "system.reflect": "view",
    "audit.list": "administer",
    "audit.export": "administer",
    "audit.verify": "administer",
    "usage.get": "view",
}
"""Operation -> the role that it needs. Every role includes `view`, `approve` includes `answer`, `administer` includes all."""

INCLUDING: Final = {"answer": frozenset({"approve"})}
"""Role -> the roles that include it, beside itself and `administer`."""

ANYTHING: Final = "*"
"""The resource id of an operation that is about no single resource."""


Denied = Callable[[Caller, str, str, PermissionDenied], None]
"""Is told who was not allowed what, where no call tells of it."""


class Visit(Struct, frozen=True):
    """An authorised call: the caller, in the namespace that it works in, and the hooks that were made for it."""

    caller: Caller
    hooks: HookSet
    operation: str = ""
    """What it is, and about what."""
    resource: str = ""

    @property
    def namespace(self) -> str:
        return self.caller.namespace


class Authorisation:
    """Lets callers in, operation by operation."""

    def __init__(self, hooks: GuardedHooks, denied: Denied | None = None) -> None:
        self._hooks = hooks
        self._denied = denied

    async def enter(self, caller: Caller, operation: str, resource_id: str = ANYTHING) -> Visit:
        """Return the visit if the caller may do this. Raises PermissionDenied, or Unavailable when a hook fails.

        `resource_id` is `*` where there is none, a workflow's id, `WORKFLOW/TASK`, or a scope of memory.
        """
        trail = current_trail()
        if trail is not None:
            trail.reached(operation, resource_id)
        try:
            check_role(caller, operation)
            hooks = await self._hooks.hooks_for(caller, Origin.RPC)
            namespace = await self._hooks.namespace(hooks, caller)
            if trail is not None:
                trail.namespace = namespace
            if hooks.tenant not in ("", namespace):
                hooks = dataclasses.replace(hooks, tenant=namespace)
            if namespace != caller.namespace:
                caller = replace(caller, namespace=namespace)
            await self._hooks.authorize(hooks, operation, resource_id)
        except PermissionDenied as error:
            self._tell(caller, operation, resource_id, error)
            raise
        return Visit(caller, hooks, operation, resource_id)

    async def check(self, visit: Visit, operation: str, resource_id: str = ANYTHING) -> None:
        """Raise PermissionDenied unless the caller, who is here for something else, may do this, too."""
        trail = current_trail()
        if trail is not None:
            trail.reached(operation, resource_id)
        try:
            await self._check(visit, operation, resource_id)
        except PermissionDenied as error:
            self._tell(visit.caller, operation, resource_id, error)
            raise

    async def allows(self, visit: Visit, operation: str, resource_id: str = ANYTHING) -> bool:
        """Return whether the caller, who is here for something else, may do this, too."""
        try:
            await self._check(visit, operation, resource_id)
        except PermissionDenied:
            return False
        return True

    async def permitted(self, visit: Visit, operation: str, resource_ids: Sequence[str]) -> frozenset[str]:
        """Return those that the caller may see: lists are filtered by it."""
        return frozenset(await self._hooks.permitted(visit.hooks, operation, resource_ids))

    async def _check(self, visit: Visit, operation: str, resource_id: str) -> None:
        check_role(visit.caller, operation)
        await self._hooks.authorize(visit.hooks, operation, resource_id)

    def _tell(self, caller: Caller, operation: str, resource_id: str, error: PermissionDenied) -> None:
        if self._denied is not None:
            self._denied(caller, operation, resource_id, error)


def stay(visit: Visit, again: Visit) -> None:
    """Raise PermissionDenied for a caller who was looked at again and works in another namespace by now."""
    if again.namespace != visit.namespace:
        raise PermissionDenied(
            "PERMISSION_DENIED", "the caller works in another namespace by now: watch again to see what is there."
        )


def check_role(caller: Caller, operation: str) -> None:
    """Raise PermissionDenied unless one of the caller's roles allows the operation."""
    needed = OPERATIONS[operation]
    enough = {needed, "administer"} | INCLUDING.get(needed, frozenset())
    if enough.intersection(caller.roles) or (needed == "view" and caller.roles):
        return
    raise PermissionDenied(
        "PERMISSION_DENIED",
        f"{operation} needs the role {needed!r}, which this token does not have: use one that has it.",
    )
