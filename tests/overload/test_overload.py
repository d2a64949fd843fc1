"""A namespace that floods the server in every way, and another one beside it that is not to notice; each server is a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.overload.rounds import OverloadedServer, Scale, run_rounds

SHORT = Scale(
    connections=4,
    creators=60,
    creates=180,
    watchers=500,
    slow_readers=30,
    huge=3,
    silent=30,
    halves=12,
    resets=100,
    vanishing=10,
)
COMES_BACK_MIB = 250
"""What the server may have kept after all rounds: caches, and what Python and gRPC do not give back to the system."""
GROWTH_MIB = 60
"""From the second round to the third, when everything that is kept for good is there."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OverloadedServer]:
    overloaded = OverloadedServer(tmp_path)
    overloaded.start()
    yield overloaded
    overloaded.kill()


async def test_floods_neither_starve_a_neighbour_nor_make_the_server_grow_from_round_to_round(
    server: OverloadedServer,
) -> None:
    report = await run_rounds(server, SHORT)
    outcomes = report.outcomes
    assert report.completed > 3
    assert outcomes["create: OK"] == 3 * SHORT.creates
    assert outcomes["watch: OK"] == 3 * SHORT.watchers
    assert outcomes["slow reader: 8 Nothing was read"] == 3 * SHORT.slow_readers
    assert outcomes["half a request: 8"] == 3 * SHORT.halves
    assert outcomes["text of 262144: OK"] == 3 * SHORT.huge
    assert outcomes["text of 262145: INVALID_ARGUMENT FIELD_INVALID"] == 3 * SHORT.huge
    assert outcomes["text of 9437184: RESOURCE_EXHAUSTED"] == 3 * SHORT.huge
    assert report.after[-1] <= report.idle + COMES_BACK_MIB, report
    assert report.after[-1] <= report.after[-2] + GROWTH_MIB, report
    assert "INTERNAL" not in " ".join(outcomes)
    assert "Traceback" not in server.errors.read_text()
    assert server.terminate() == 0
