"""Servers die at every commit point and at random, under a mixed load; nothing is lost, stuck or told twice."""

from __future__ import annotations

from pathlib import Path

from tests.torture.kills import Scale, missing, run_over_kills

SHORT = Scale(clients=14, random_kills=2, cold_every=2, commit_points_s=0)


async def test_nothing_is_lost_whatever_commit_a_server_dies_at(tmp_path: Path) -> None:
    report = await run_over_kills(tmp_path, SHORT, seed=1)
    assert missing(report.situations) == set()
    assert report.kills["at random"] >= SHORT.random_kills
    assert report.ledger.histories == report.ledger.workflows > 0
