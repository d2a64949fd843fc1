"""A client of the shared server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rpc.wire import Wire, connected
from tests.server_process import ServerProcess


@pytest.fixture
async def wire(orcs_server_process: ServerProcess) -> AsyncIterator[Wire]:
    async with connected(orcs_server_process.address, orcs_server_process.token) as client:
        yield client
