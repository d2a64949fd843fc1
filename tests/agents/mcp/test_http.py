"""MCP servers over streamable HTTP: headers, deaths, restarts, redirects, messages without end, hanging calls."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from orcs_server.agents.mcp.servers import McpServers
from orcs_server.agents.toolbox import ToolTrouble
from orcs_server.config.mcp import McpServer
from tests.agents.mcp.support import GOOD, Noted, environ, until, within


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class HttpServer:
    """The good server at a port, which can be killed and started again."""

    def __init__(self, noted: Noted, port: int) -> None:
        self._noted = noted
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = subprocess.Popen(  # noqa: ASYNC220 - only started here
            [sys.executable, GOOD, self._noted.path, str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environ(),
        )
        await until(self._listens, "it does not listen")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
async def http(noted: Noted) -> AsyncIterator[HttpServer]:
    server = HttpServer(noted, free_port())
    await server.start()
    yield server
    server.kill()


@asynccontextmanager
async def reaching(port: int, *, variables: dict[str, str] | None = None, **settings: Any) -> AsyncIterator[McpServers]:
    table = McpServer.model_validate({"url": f"http://127.0.0.1:{port}/mcp", "timeout": 20, **settings})
    servers = McpServers({"x": table}, environ(**(variables or {})))
    try:
        yield servers
    finally:
        await servers.aclose()


async def test_tools_are_called_with_headers_out_of_the_environment(http: HttpServer, noted: Noted) -> None:
    secrets = {"NOTES_TOKEN": "Bearer of-notes", "OPENAI_API_KEY": "sk-secret"}
    async with reaching(http.port, variables=secrets, headers={"Authorization": "NOTES_TOKEN"}) as servers:
        assert {tool.name for tool in await servers.tools("ns", ["x"])} >= {"x__add", "x__read"}
        assert await servers.call("ns", "x", "add", {"text": "tea"}, "key") == "kept 1"
        assert "'key'" in await servers.call("ns", "x", "key", {}, "key")
        seen = json.loads(await servers.call("ns", "x", "headers", {}))
        assert seen["authorization"] == "Bearer of-notes"
        assert "sk-secret" not in json.dumps(seen)
        many = [servers.call("ns", "x", "slow", {"seconds": 0.3}) for _ in range(5)]
        assert await within(asyncio.gather(*many)) == ["done"] * 5
    assert noted.calls.count("add") == 1


async def test_a_server_that_dies_in_a_call_is_told_and_found_again(http: HttpServer, noted: Noted) -> None:
    async with reaching(http.port) as servers:
        await servers.tools("ns", ["x"])
        call = asyncio.create_task(servers.call("ns", "x", "slow", {"seconds": 600}))
        await until(lambda: "slow" in noted.calls, "it was not called")
        http.kill()
        assert "nobody knows whether the tool has acted" in await within(call)
        assert noted.calls == ["slow"]
        assert "could not be used" in await within(servers.call("ns", "x", "read", {}))
        with pytest.raises(ToolTrouble, match="cannot be reached"):
            await within(servers.tools("ns", ["x"]))
        await http.start()
        assert await within(servers.call("ns", "x", "read", {})) == "none"


async def test_a_call_that_hangs_is_given_up(http: HttpServer, noted: Noted) -> None:
    async with reaching(http.port, timeout=4) as servers:
        await servers.tools("ns", ["x"])
        assert "within 4 seconds" in await within(servers.call("ns", "x", "slow", {"seconds": 600}))
        assert await within(servers.call("ns", "x", "read", {})) == "none"
    assert noted.calls == ["slow", "read"]


@contextmanager
def answering(head: bytes, body: bytes = b"", times: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Listen at a port, note what is asked, and answer everything so, the body so many times."""
    import threading

    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))
    open_: list[socket.socket] = []

    def talk(one: socket.socket) -> None:
        try:
            asked.append(one.recv(65_536))
            one.sendall(head)
            for _ in range(times):
                one.sendall(body)
        except OSError:
            pass
        finally:
            one.close()

    def serve() -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            open_.append(one)
            threading.Thread(target=talk, args=(one,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for one in open_:
            one.close()
        thread.join(5)


async def test_a_redirect_takes_no_header_elsewhere() -> None:
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as (elsewhere, asked):
        moved = f"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{elsewhere}/mcp\r\ncontent-length: 0\r\n\r\n"
        with answering(moved.encode()) as (port, _):
            headers = {"X-Api-Key": "NOTES_TOKEN"}
            async with reaching(port, variables={"NOTES_TOKEN": "secret"}, headers=headers) as servers:
                with pytest.raises(ToolTrouble):
                    await within(servers.tools("ns", ["x"]))
        assert not asked


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
async def test_a_message_without_end_is_broken_off(kind: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\n\r\n"
    with answering(head, b"data: " + b"x" * 1_000_000, 1_000) as (port, _):
        async with reaching(port) as servers:
            with pytest.raises(ToolTrouble, match="could not be used"):
                await within(servers.tools("ns", ["x"]))


async def test_empty_lines_do_not_make_messages_of_what_is_one() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    with answering(head, b"\n\n" * 500_000, 1_000) as (port, _):
        async with reaching(port) as servers:
            with pytest.raises(ToolTrouble, match="could not be used"):
                await within(servers.tools("ns", ["x"]))


async def test_what_is_compressed_is_not_unpacked() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n"
    with answering(head, b"x" * 1_000, 10) as (port, _):
        async with reaching(port) as servers:
            with pytest.raises(ToolTrouble, match="could not be used"):
                await within(servers.tools("ns", ["x"]))


async def test_what_is_no_mcp_server_is_said(http: HttpServer) -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n") as (port, _):
        async with reaching(port) as servers:
            with pytest.raises(ToolTrouble, match="cannot be reached, or does not speak MCP"):
                await within(servers.tools("ns", ["x"]))
