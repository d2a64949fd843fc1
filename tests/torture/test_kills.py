"""Servers die at every commit point and at random, under a mixed load; nothing is lost, stuck or told twice."""

from __future__ import annotations

from pathlib import Path

from tests.torture.calls import ENDED, MODEL, TOOL
from tests.torture.faults import ONCE_START
from tests.torture.kills import STATES, Scale, missing, run_over_kills

SHORT = Scale(
    clients=18, states=(*STATES, ONCE_START), random_kills=2, cold_every=5, orderly_every=1, commit_points_s=0
)


async def test_nothing_is_lost_whatever_commit_a_server_dies_at(tmp_path: Path) -> None:
    report = await run_over_kills(tmp_path, SHORT, seed=1)
    assert missing(report.situations, SHORT.states) == set()
    assert report.kills["at random"] >= SHORT.random_kills
    assert report.ledger.histories == report.ledger.workflows > 0
    assert report.ledger.audited >= report.ledger.workflows
    assert report.ledger.repeats.although_stored == []
    assert report.ledger.calls(MODEL, ENDED) > report.ledger.workflows
    assert report.ledger.calls(TOOL, ENDED) > 0
    assert report.ledger.repeats.in_doubt
