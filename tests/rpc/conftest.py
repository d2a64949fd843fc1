"""Clients of the shared server, and of one of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orcs_server.app import Server
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected
from tests.server_process import ServerProcess


@pytest.fixture
async def wire(orcs_server_process: ServerProcess) -> AsyncIterator[Wire]:
    async with connected(orcs_server_process.address, orcs_server_process.token) as client:
        yield client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Wire]:
    """A client of a server of the test's own, which knows no tokens."""
    settings = settings_in(tmp_path, insecure_no_auth=True)
    async with (
        Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server,
        connected(str(server.address), None) as wire,
    ):
        yield wire


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server of the test's own."""
    async with Server(settings_in(tmp_path), {"XDG_STATE_HOME": str(tmp_path)}) as running:
        yield running
