"""Memory over a real data file, with a clock that tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orcs_server.identity import Clock
from orcs_server.memory import Memory, Refusal
from orcs_server.storage.sqlite import SqliteStore

START_US = 1_700_000_000_000_000


class SetClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time_us = START_US

    def now_us(self) -> int:
        return self.time_us


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def refusals() -> list[Refusal]:
    return []


@pytest.fixture
async def shared(store: SqliteStore, clock: SetClock, refusals: list[Refusal]) -> AsyncIterator[Memory]:
    """Memory as the service has it."""
    memory = Memory(store, clock, refusals.append)
    yield memory
    await memory.close()
