"""One connection to one MCP server, for one namespace: opened, asked for its tools once, called, closed."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Final, cast

from agents.mcp import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

from orcs_server.agents.failures import quoted
from orcs_server.agents.mcp.limits import (
    ALL_TOOLS_BYTES,
    CLOSES_WITHIN_S,
    RESULT_CHARACTERS,
    TOOL_BYTES,
    TOOLS,
)
from orcs_server.agents.mcp.transports import client_of
from orcs_server.agents.toolbox import TOOL_NAME, ToolTrouble
from orcs_server.config.mcp import McpServer

BACKSTOP_S: Final = 5.0
"""Beyond a server's own time limit, in case the client does not keep it."""
_ALL: Final = "*"
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]")
_CUT: Final = "… (cut off: the result has {} characters in all)"

_log = logging.getLogger("orcs.mcp")


class Listed:
    """A tool as a server lists it. What it says of itself beyond this (annotations) is not looked at."""

    def __init__(self, server: str, tool: Any) -> None:
        self.own_name: str = tool.name
        self.name = f"{server}__{_NOT_IN_NAMES.sub('_', tool.name)}"
        """As agents see it: no tool of another server, and none of the operator's, can be called the same."""
        self.description: str = tool.description or ""
        schema = dict(tool.input_schema or {})
        self.schema: dict[str, Any] = {**schema, "type": "object", "properties": schema.get("properties") or {}}
        self.size = len(self.name) + len(self.description) + len(json.dumps(self.schema))


class CallTrouble(Exception):
    """A call did not come back as it should; the text says for the model what is known."""

    def __init__(self, text: str, *, broken: bool, begun: bool = True) -> None:
        super().__init__(text)
        self.broken = broken
        """The connection is not to be used again."""
        self.begun = begun
        """Whether the server may have acted."""


class Connection:
    """Used from one event loop: `open` once, then `call` any number of times at once, then `close`."""

    def __init__(self, namespace: str, name: str, table: McpServer, environ: Mapping[str, str]) -> None:
        self.namespace = namespace
        self.name = name
        self._table = table
        self._environ = environ
        self._client: MCPServer | None = None
        self.tools: tuple[Listed, ...] = ()
        self.ended = False
        """The program has ended, or the connection is broken."""
        self.calls = 0
        """Under way."""
        self.used_s = time.monotonic()

    async def open(self) -> None:
        """Start or reach the server and ask for its tools. Raises ToolTrouble, and then nothing is left open."""
        client = client_of(self.name, self._table, self._environ, self._note_end)
        self._client = client
        limit = self._table.timeout
        try:
            async with asyncio.timeout(limit):
                await client.connect()  # type: ignore[no-untyped-call]
                listed = [Listed(self.name, tool) for tool in await client.list_tools()]
            self.tools = self._checked(listed)
        except ToolTrouble:
            await self.close()
            raise
        except asyncio.CancelledError:
            await self.close()
            raise
        except (Exception, BaseExceptionGroup) as error:
            await self.close()
            _log.warning("the MCP server %s could not be used: %s", self.name, _first(error), extra=self._where())
            raise ToolTrouble(
                f"The MCP server {self.name!r} could not be used: {self._why(error)}. The server's log says more.",
                retryable=True,
            ) from error

    async def call(self, tool: str, arguments: dict[str, Any], meta: dict[str, Any] | None) -> str:
        """Return what a tool gives, as text. Raises CallTrouble."""
        session = cast("Any", self._client).session
        if session is None or self.ended:
            raise CallTrouble("The MCP server has ended.", broken=True, begun=False)
        self.calls += 1
        try:
            # Not by the SDK's own call: over HTTP it may repeat a call that has begun.
            async with asyncio.timeout(self._table.timeout + BACKSTOP_S):
                result = await session.call_tool(tool, arguments, self._table.timeout, meta=meta)
        except TimeoutError:
            raise self._too_slow() from None
        except MCPError as error:
            raise self._refused(error) from error
        except Exception as error:  # whatever a client makes of a server that does what it likes
            _log.warning("a call of the MCP server %s failed: %r", self.name, error, extra=self._where())
            raise CallTrouble(
                "The MCP server broke the connection off, or answered what is no answer: nobody knows whether the tool has "
                "acted.",
                broken=True,
            ) from error
        finally:
            self.calls -= 1
            self.used_s = time.monotonic()
        return _text_of(result)

    async def close(self) -> None:
        """End the connection, and the program with it. May be repeated."""
        self.ended = True
        client, self._client = self._client, None
        if client is None:
            return
        cleaning = asyncio.ensure_future(client.cleanup())  # type: ignore[no-untyped-call]
        done, _ = await asyncio.wait((cleaning,), timeout=CLOSES_WITHIN_S)
        if not done:
            cleaning.cancel()
            _log.warning("the MCP server %s could not be ended in good order", self.name, extra=self._where())
        elif not cleaning.cancelled() and cleaning.exception() is not None:
            _log.debug("closing the MCP server %s failed: %r", self.name, cleaning.exception())

    def _note_end(self) -> None:
        self.ended = True

    def _where(self) -> dict[str, str]:
        return {"mcp_server": self.name, "namespace": self.namespace}

    def _too_slow(self) -> CallTrouble:
        limit = f"{self._table.timeout:g}"
        return CallTrouble(
            f"The tool has not answered within {limit} seconds: nobody knows whether it has acted.", broken=True
        )

    def _refused(self, error: MCPError) -> CallTrouble:
        if error.code == REQUEST_TIMEOUT:
            return self._too_slow()
        if error.code == CONNECTION_CLOSED:
            return CallTrouble(
                "The MCP server ended during the call: nobody knows whether the tool has acted.", broken=True
            )
        return CallTrouble(f"The MCP server refused the call: {_cut(error.message)}", broken=False)

    def _why(self, error: BaseException) -> str:
        first = _first(error)
        if isinstance(first, TimeoutError) or (isinstance(first, MCPError) and first.code == REQUEST_TIMEOUT):
            return f"it did not answer within {self._table.timeout:g} seconds"
        if isinstance(first, MCPError) and first.code == CONNECTION_CLOSED:
            return "it ended before it had answered"
        return "it cannot be reached, or does not speak MCP"

    def _checked(self, listed: list[Listed]) -> tuple[Listed, ...]:
        """Return the tools that may be used. Raises ToolTrouble where they are not what the configuration goes by, or too much."""
        table, there = self._table, {tool.own_name for tool in listed}
        for setting in ("tools", "needs_approval", "sensitive"):
            for name in getattr(table, setting) or ():
                if name != _ALL and name not in there:
                    # It may be called otherwise now, and what guarded it would not.
                    raise self._unusable(f"it has no tool {quoted(name)}, which {setting} names")
        wanted = [tool for tool in listed if table.tools is None or _ALL in table.tools or tool.own_name in table.tools]
        advice = "name those that are wanted in `tools`"
        if len(wanted) > TOOLS:
            raise self._unusable(f"it has {len(wanted)} tools, and {TOOLS} are taken at most: {advice}")
        names = [tool.name for tool in wanted]
        for tool in wanted:
            if not TOOL_NAME.fullmatch(tool.name):
                raise self._unusable(f"the name of its tool {quoted(tool.own_name)} is too long for models: {advice}")
            if names.count(tool.name) > 1:
                raise self._unusable(f"it lists two tools that are called like {quoted(tool.own_name)}: {advice}")
            if tool.size > TOOL_BYTES:
                raise self._unusable(f"its tool {quoted(tool.own_name)} is described by {tool.size} bytes: {advice}")
        if sum(tool.size for tool in wanted) > ALL_TOOLS_BYTES:
            raise self._unusable(f"its tools are described by more than {ALL_TOOLS_BYTES} bytes: {advice}")
        return tuple(wanted)

    def _unusable(self, why: str) -> ToolTrouble:
        return ToolTrouble(f"The MCP server {self.name!r} cannot be used: {why}. See [mcp.{self.name}].")


def _first(error: BaseException) -> BaseException:
    """Return what lies at the bottom of groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _text_of(result: Any) -> str:
    parts = []
    for item in result.content or ():
        if item.type == "text":
            parts.append(item.text)
        elif item.type in ("image", "audio"):
            parts.append(f"({item.type} of type {item.mime_type}, which is not shown)")
        else:
            parts.append(item.model_dump_json(by_alias=True, exclude_none=True))
    if not parts and result.structured_content is not None:
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    text = _cut("\n".join(parts))
    return f"The tool failed: {text}" if result.is_error else text


def _cut(text: str) -> str:
    return text if len(text) <= RESULT_CHARACTERS else text[:RESULT_CHARACTERS] + _CUT.format(len(text))
