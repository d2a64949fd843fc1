"""Hooks that never come back, by the name of the principal who asks."""

from __future__ import annotations

import asyncio
from typing import Any

from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller


class Hangs:
    async def get_context(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    async def check_permission(self, operation: str, resource_id: str) -> bool:
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")


class Denies:
    async def check_permission(self, operation: str, resource_id: str) -> bool:
        return False


def factory(caller: Caller, origin: Origin) -> HookSet:
    match caller.principal:
        case "stuck-context":
            return HookSet(context=Hangs())
        case "stuck-authorization":
            return HookSet(authorization=Hangs())
        case "denied":
            return HookSet(authorization=Denies())
        case _:
            return HookSet()
