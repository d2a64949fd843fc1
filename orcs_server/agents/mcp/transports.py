"""The SDK's MCP clients for the two ways to reach a server, with an environment of few words and messages of bounded size."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx2
from agents.mcp import MCPServer, MCPServerStdio, MCPServerStdioParams, MCPServerStreamableHttp
from mcp.client.stdio import StdioServerParameters, stdio_client

from orcs_server.agents.mcp.limits import LINES_LOGGED, MESSAGE_BYTES, PAGES
from orcs_server.agents.toolbox import ToolTrouble
from orcs_server.config.mcp import McpServer
from orcs_server.errors import StartupError

PASSED: Final = ("LANG", "LC_ALL", "TMPDIR", "TZ")
"""Variables that every program gets beside those that the MCP client passes on: HOME, LOGNAME, PATH, SHELL, TERM, USER."""
LINE_SHOWN: Final = 500
_WARDEN: Final = Path(__file__).with_name("warden.py")

_log = logging.getLogger("orcs.mcp")
# It writes a traceback for each line that is no message, as many as a server cares to send.
logging.getLogger("mcp.client.stdio").setLevel(logging.CRITICAL)


def client_of(name: str, table: McpServer, environ: Mapping[str, str], on_end: Callable[[], None]) -> MCPServer:
    """Return the client of a server, not connected yet. `on_end` is called when a program has ended. Raises ToolTrouble."""
    if table.url is not None:
        return _client_over_http(name, table, environ)
    variables = {key: environ[key] for key in (*PASSED, *table.pass_environment) if key in environ}
    variables |= table.environment
    command = table.command or ""
    # One with a folder in its name is looked for where the program runs.
    found = str(Path(table.cwd or ".", command)) if os.sep in command else command
    if shutil.which(found, path=variables.get("PATH", os.environ.get("PATH"))) is None:
        _log.error("the program of the MCP server %s is not found: %s", name, command)
        raise ToolTrouble(f"The program of the MCP server {name!r} is not found: correct command in [mcp.{name}].")
    return _Program(name, table, variables, on_end)


class _Program(MCPServerStdio):
    """A server that is a program. What it writes to its standard error goes into the log, a bounded number of lines."""

    def __init__(self, name: str, table: McpServer, variables: dict[str, str], on_end: Callable[[], None]) -> None:
        watched = ["-I", "-S", str(_WARDEN), str(os.getpid()), str(MESSAGE_BYTES), table.command or "", *table.args]
        params: MCPServerStdioParams = {"command": sys.executable, "args": watched, "env": variables}
        if table.cwd is not None:
            params["cwd"] = table.cwd
        super().__init__(
            params,
            name=name,
            client_session_timeout_seconds=table.timeout,
            max_list_pages=PAGES,
        )
        self._on_end = on_end

    def create_streams(self) -> AbstractAsyncContextManager[Any]:
        return _logged(self.params, self.name, self._on_end)


@asynccontextmanager
async def _logged(params: StdioServerParameters, name: str, on_end: Callable[[], None]) -> AsyncIterator[Any]:
    """Yield the transport; beside it the program's standard error is read, which ends with the program."""
    async with AsyncExitStack() as stack:
        reading, writing = os.pipe()
        with os.fdopen(writing, "w") as errors:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: _Errors(name, on_end), os.fdopen(reading, "rb", 0)
            )
            stack.callback(transport.close)
            streams = await stack.enter_async_context(stdio_client(params, errlog=errors))
        # Ours is closed: once the program's is, too, there is no more to read.
        yield streams


class _Errors(asyncio.Protocol):
    """Logs lines, the first so many."""

    def __init__(self, name: str, on_end: Callable[[], None]) -> None:
        self._name = name
        self._on_end = on_end
        self._rest = b""
        self._logged = 0

    def data_received(self, data: bytes) -> None:
        if self._logged >= LINES_LOGGED:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        # The beginning of a line that has no end is a line.
        if len(self._rest) > LINE_SHOWN:
            lines.append(self._rest)
            self._rest = b""
        for line in lines[: LINES_LOGGED - self._logged]:
            self._logged += 1
            text = line[:LINE_SHOWN].decode("utf-8", "replace").rstrip()
            _log.info("%s", text, extra={"mcp_server": self._name})
        if self._logged >= LINES_LOGGED:
            _log.warning("the MCP server %s writes more to its standard error than is logged", self._name)

    def connection_lost(self, _error: Exception | None) -> None:
        self._on_end()


def check_headers(name: str, table: McpServer, environ: Mapping[str, str]) -> None:
    """Raise StartupError for a header without a value."""
    for header, variable in table.headers.items():
        if not environ.get(variable, "").strip():
            raise StartupError(
                f"[mcp.{name}] needs a value for its header {header}: put it into the environment variable {variable}"
            )


def _client_over_http(name: str, table: McpServer, environ: Mapping[str, str]) -> MCPServer:
    headers = {header: environ[variable].strip() for header, variable in table.headers.items()}
    return MCPServerStreamableHttp(
        {
            "url": table.url or "",
            "headers": headers,
            "timeout": table.timeout,
            "sse_read_timeout": table.timeout,
            "httpx_client_factory": _bounded_client,
        },
        name=name,
        client_session_timeout_seconds=table.timeout,
        max_list_pages=PAGES,
    )


def _bounded_client(headers: dict[str, str] | None = None, timeout: Any = None, auth: Any = None) -> httpx2.AsyncClient:
    """Return a client that follows no redirect, to which it would take the headers along, and reads no endless message."""
    transport = _Bounded(httpx2.AsyncHTTPTransport())
    return httpx2.AsyncClient(
        headers=headers, timeout=timeout, auth=auth, follow_redirects=False, transport=transport, trust_env=False
    )


class _Bounded(httpx2.AsyncBaseTransport):
    """Breaks a response off where one of its messages has too many bytes."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # What is compressed would be counted before it is unpacked.
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.ReadError("the server compresses what it was asked not to", request=request)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        response.stream = _BoundedStream(response.stream, request, of_events=kind == "text/event-stream")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    """A body that has so many bytes at most; of a stream of events each message, which an empty line ends."""

    def __init__(self, inner: Any, request: httpx2.Request, *, of_events: bool) -> None:
        self._inner = inner
        self._request = request
        self._of_events = of_events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for chunk in self._inner:
            end = max(chunk.rfind(b"\n\n"), chunk.rfind(b"\r\n\r\n")) if self._of_events else -1
            length = length + len(chunk) if end < 0 else len(chunk) - end
            if length > MESSAGE_BYTES:
                raise httpx2.ReadError(f"a message has more than {MESSAGE_BYTES} bytes", request=self._request)
            yield chunk

    async def aclose(self) -> None:
        with suppress(httpx2.HTTPError):
            await self._inner.aclose()
