"""Entries of memory for tests over the wire."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from orcs_client.v1 import common_pb2, memory_pb2, memory_service_pb2
from tests.rpc.wire import Wire

_m, _s = memory_pb2, memory_service_pb2


def putting(key: str, text: str, scope: str = "global", request_id: str = "", **more: Any) -> _s.PutMemoryRequest:
    value = common_pb2.Part(text=text)
    return _s.PutMemoryRequest(request_id=request_id, put=_m.MemoryPut(scope=scope, key=key, value=value, **more))


def put(client: Wire, key: str, text: str, scope: str = "global", **more: Any) -> Awaitable[Any]:
    """Store a text."""
    return client.call("PutMemory", putting(key, text, scope, **more))  # type: ignore[no-any-return]


def deletion(key: str, scope: str = "global", request_id: str = "", **more: Any) -> _s.DeleteMemoryRequest:
    return _s.DeleteMemoryRequest(request_id=request_id, delete=_m.MemoryDelete(scope=scope, key=key, **more))


def get(client: Wire, key: str, scope: str = "global", **more: Any) -> Awaitable[Any]:
    return client.call("GetMemory", _s.GetMemoryRequest(scope=scope, key=key, **more))  # type: ignore[no-any-return]


async def entry_of(client: Wire, key: str, scope: str = "global", **more: Any) -> Any:
    return (await get(client, key, scope, **more)).entry


async def text_of(client: Wire, key: str, scope: str = "global", **more: Any) -> str:
    """Return the text that a key holds, or held."""
    return str((await entry_of(client, key, scope, **more)).value.text)


async def keys(client: Wire, scope: str = "global", **more: Any) -> list[str]:
    """Return a scope's keys, page by page."""
    found: list[str] = []
    request = _s.ListMemoryRequest(scope=scope, page_size=2, **more)
    while True:
        page = await client.call("ListMemory", request)
        found += [entry.key for entry in page.entries]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found
