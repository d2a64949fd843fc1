"""Fixtures for all tests: a real server process, shared or of one's own, and a store on a real data file."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from orcs_server.storage.sqlite import SqliteStore
from tests.server_process import ServerProcess


@pytest.fixture(scope="session")
def orcs_server_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the offline model, which answers at once, for tests that leave it as it is."""
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers of the test's own: `start_server(offline_pace="1")`, each setting as in `ORCS_…`."""
    started: list[ServerProcess] = []

    def start(**settings: str) -> ServerProcess:
        server = ServerProcess(tmp_path / f"server{len(started)}", **settings)
        server.folder.mkdir()
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    yield store
    await store.close()


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test also where the suite was started in the background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
