"""Fixtures for the tests of control: servers that are forked, killed and started again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.control.stage import Stage, Zygote, staged


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """What forks the servers of all tests."""
    process = Zygote()
    yield process
    process.close()


@pytest.fixture
async def stage(zygote: Zygote, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server of the test's own, which is checked once the test is over."""
    async with staged(zygote, tmp_path / "stage") as found:
        yield found
