"""The MCP servers of the configuration, and the connections to them: one for each server and namespace, opened when it is first
needed, closed when it has not been used for a while, opened anew after it broke.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from agents import FunctionTool
from agents.tool_context import ToolContext

from orcs_server.agents.context import RunContext
from orcs_server.agents.idempotence import idempotent
from orcs_server.agents.mcp.connection import CallTrouble, Connection, Listed
from orcs_server.agents.mcp.limits import CONNECTIONS, IDLE_S
from orcs_server.agents.mcp.transports import check_headers
from orcs_server.agents.sensitivity import sensitive, trusted
from orcs_server.agents.toolbox import ToolTrouble
from orcs_server.config.mcp import McpServer
from orcs_server.identity.fairness import Shares

IDEMPOTENCY_KEY = "orcs/idempotencyKey"
"""Under this name each call's `_meta` has a key that stays the same when the call is repeated."""

_log = logging.getLogger("orcs.mcp")
_Key = tuple[str, str]


class McpServers:
    """Gives agents the tools of MCP servers. One per server of ours; close it when no run uses it any more."""

    def __init__(self, tables: Mapping[str, McpServer], environ: Mapping[str, str], *, idle_s: float = IDLE_S) -> None:
        """Raises StartupError for a server of which something is missing."""
        for name, table in tables.items():
            check_headers(name, table, environ)
        self._tables = dict(tables)
        self._environ = environ
        self._idle_s = idle_s
        self._open: dict[_Key, asyncio.Task[Connection]] = {}
        self._places = Shares(CONNECTIONS)
        self._closing: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.Task[None] | None = None
        self._closed = False

    async def tools(self, namespace: str, names: Iterable[str]) -> list[FunctionTool]:
        """Return the tools of these servers, as they are now. Raises ToolTrouble."""
        connections = await asyncio.gather(*(self._connection(namespace, name) for name in names))
        return [self._tool(one, listed) for one in connections for listed in one.tools]

    async def call(self, namespace: str, name: str, tool: str, arguments: dict[str, Any], key: str = "") -> str:
        """Call a tool and return its result, or what has become of the call, as text for the model."""
        meta = {IDEMPOTENCY_KEY: key} if key else None
        text = ""
        for _ in range(2):
            try:
                connection = await self._connection(namespace, name)
            except ToolTrouble as trouble:
                return str(trouble)
            try:
                return await connection.call(tool, arguments, meta)
            except CallTrouble as trouble:
                text = str(trouble)
                if trouble.broken:
                    self._retire(connection)
                if trouble.begun:
                    break
        return text

    async def aclose(self) -> None:
        """Close all connections and end all programs."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for key, opening in list(self._open.items()):
            if not opening.done():
                opening.cancel()
            self._let_go(key, opening)
        while self._closing:
            await asyncio.wait(self._closing)

    # Connections

    async def _connection(self, namespace: str, name: str) -> Connection:
        key = (namespace, name)
        opening = self._open.get(key)
        if opening is not None and opening.done() and _is_over(opening):
            self._let_go(key, opening)
            opening = None
        if opening is None:
            opening = self._begin(key)
        connection = await asyncio.shield(opening)
        connection.used_s = time.monotonic()
        return connection

    def _begin(self, key: _Key) -> asyncio.Task[Connection]:
        namespace, name = key
        table = self._tables.get(name)
        if table is None:
            raise ToolTrouble(
                f"The MCP server {name!r} is not configured any more: start the server with [mcp.{name}] again."
            )
        if self._closed:
            raise ToolTrouble("The server is going down.", retryable=True)
        if not self._places.take(namespace):
            raise ToolTrouble(
                f"This namespace has {self._places.held(namespace)} connections to MCP servers, and no more are free. Try again.",
                retryable=True,
            )
        opening = self._open[key] = asyncio.create_task(self._opened(Connection(namespace, name, table, self._environ)))
        opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._sweep is None:
            self._sweep = asyncio.create_task(self._close_idle(), name="idle MCP servers")
        return opening

    async def _opened(self, connection: Connection) -> Connection:
        await connection.open()
        _log.info(
            "the MCP server %s is there, with %d tools",
            connection.name,
            len(connection.tools),
            extra={"mcp_server": connection.name, "namespace": connection.namespace},
        )
        return connection

    def _retire(self, connection: Connection) -> None:
        """Have a broken connection closed; whoever needs the server next opens another."""
        connection.ended = True
        key = (connection.namespace, connection.name)
        opening = self._open.get(key)
        if opening is not None and opening.done() and not opening.exception() and opening.result() is connection:
            self._let_go(key, opening)

    def _let_go(self, key: _Key, opening: asyncio.Task[Connection]) -> None:
        if self._open.get(key) is opening:
            del self._open[key]
        closing = asyncio.create_task(self._close(key[0], opening))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close(self, namespace: str, opening: asyncio.Task[Connection]) -> None:
        try:
            await asyncio.wait((opening,))
            if not opening.cancelled() and opening.exception() is None:
                await opening.result().close()
        finally:
            self._places.give(namespace)

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(min(self._idle_s / 2, 30.0))
            since = time.monotonic() - self._idle_s
            for key, opening in list(self._open.items()):
                if not opening.done():
                    continue
                if _is_over(opening) or (not opening.result().calls and opening.result().used_s < since):
                    self._let_go(key, opening)

    # Tools

    def _tool(self, connection: Connection, listed: Listed) -> FunctionTool:
        """Return a tool. Only the operator's lists say what it may do: what the server says of it counts for nothing."""
        namespace, name, own_name = connection.namespace, connection.name, listed.own_name
        table = self._tables[name]

        async def invoke(context: ToolContext[Any], arguments: str) -> str:
            try:
                values = json.loads(arguments or "{}")
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, dict):
                return "The call was not made: its arguments are no JSON object."
            run = context.context
            key = run.idempotency_key(context.tool_call_id) if isinstance(run, RunContext) else ""
            return await self.call(namespace, name, own_name, values, key)

        tool = FunctionTool(
            name=listed.name,
            description=listed.description,
            params_json_schema=listed.schema,
            on_invoke_tool=invoke,
            strict_json_schema=False,
            needs_approval=_says(table.needs_approval, own_name),
        )
        for names, declare in ((table.idempotent, idempotent), (table.sensitive, sensitive), (table.trusted, trusted)):
            if _says(names, own_name):
                declare(tool)
        return tool


def _says(names: Iterable[str], tool: str) -> bool:
    return any(name in ("*", tool) for name in names)


def _is_over(opening: asyncio.Task[Connection]) -> bool:
    return opening.cancelled() or opening.exception() is not None or opening.result().ended
