"""Fixtures for the tests of control: servers that are forked, killed and started again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.control.stage import Stage, Zygote, staged

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which tests have failed: what they leave need not be whole."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """What forks the servers of all tests."""
    process = Zygote()
    yield process
    process.close()


@pytest.fixture
async def stage(zygote: Zygote, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """A server of the test's own, which is checked once the test is over."""
    async with staged(zygote, tmp_path / "stage", **getattr(request, "param", {})) as found:
        yield found
        found.failed = request.node.stash.get(FAILED, True)
