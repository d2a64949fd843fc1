"""The power goes anywhere between two writes; what was acknowledged is there afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.power import run_over_cuts
from tests.torture.recording import available


@pytest.mark.skipif(not available(), reason="Python's SQLite is built in: its file functions cannot be reached")
async def test_whatever_was_acknowledged_before_a_power_cut_is_there_after_it(tmp_path: Path) -> None:
    report = await run_over_cuts(tmp_path, seconds=1.5, number=25, seed=1)
    assert report.cuts == 25
    assert report.acknowledged > 0
    assert report.operations > report.syncs > 0
