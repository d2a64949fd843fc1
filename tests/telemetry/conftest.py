"""Fixtures for the tests of telemetry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agents.journal_bench import Bench
from tests.storage.samples import Draft
from tests.telemetry.recorded import Recorded


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.store.open()
    await bench.store.commit(Draft("w1").create())
    yield bench
    await bench.store.close()
