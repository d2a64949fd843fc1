"""The long overload: the floods at full size, and retention over a thousand workflows while others write.

`run_overload(folder)` is one call for `make torture`; `python -m tests.torture.overload` runs it alone and prints the figures.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from orcs_server.app import Backend
from orcs_server.config import Settings
from orcs_server.service.retention import Retention
from orcs_server.storage.sqlite import SqliteStore
from tests.overload.rounds import OverloadedServer, Report, Scale, run_rounds
from tests.storage.samples import START_US, Draft

LONG = Scale(
    connections=6,
    creators=100,
    creates=2_000,
    watchers=1_000,
    slow_readers=200,
    huge=10,
    silent=150,
    halves=40,
    resets=2_000,
    vanishing=100,
)
OLD_WORKFLOWS = 1_000
GROWTH_MIB = 100


class Pruning(NamedTuple):
    """What retention did to those who wrote meanwhile."""

    deleted: int
    commits: int
    """Of others, while it went on."""
    alone_us: int
    """Median of a commit before."""
    beside_us: int
    """Median of a commit meanwhile."""
    beside_p99_us: int


async def measure_pruning(folder: Path, count: int) -> Pruning:
    """Let retention delete so many workflows, and commit for another namespace all the while."""
    path = folder / "orcs.db"
    await _fill(path, count)
    backend = Backend(Settings.load({"data": path}, environ={"HOME": str(folder)}), {})
    await backend.open()
    await backend.engine.start()
    beside: list[float] = []
    try:
        alone = [await _commit(backend, f"before{number}") for number in range(300)]
        retention = Retention(
            engine=backend.engine, store=backend.store, clock=backend.clock, finished_kept_us=24 * 3_600_000_000
        )
        going_over = asyncio.create_task(retention.go_over())
        while not going_over.done():
            beside.append(await _commit(backend, f"beside{len(beside)}"))
        await going_over
        left = await backend.store.finished_before(backend.clock.now_us(), count)
    finally:
        await backend.engine.stop(0)
        await backend.close(0)
    assert not left, f"{len(left)} workflows were not deleted"
    return Pruning(
        count,
        len(beside),
        round(statistics.median(alone)),
        round(statistics.median(beside)),
        round(statistics.quantiles(beside, n=100)[98]),
    )


async def _fill(path: Path, count: int) -> None:
    store = SqliteStore(path)
    await store.open()
    for start in range(0, count, 100):
        drafts = [Draft(f"old{number}", "red", created_us=START_US) for number in range(start, min(start + 100, count))]
        await asyncio.gather(*(store.commit(draft.create(draft.request(f"r-{draft.id}"))) for draft in drafts))
        await asyncio.gather(*(store.commit(draft.fail()) for draft in drafts))
    await store.close()


async def _commit(backend: Backend, name: str) -> float:
    begun = time.perf_counter()
    await backend.store.commit(Draft(name, "blue").create())
    return (time.perf_counter() - begun) * 1e6


def run_overload(folder: Path) -> tuple[Report, Pruning]:
    """Overload a server for long, then prune for long; raise AssertionError where something is wrong."""
    server = OverloadedServer(folder)
    server.start()
    try:
        report = asyncio.run(run_rounds(server, LONG))
        assert report.after[-1] <= report.after[-2] + GROWTH_MIB, report
        assert "Traceback" not in server.errors.read_text(), server.errors
    finally:
        server.kill()
    pruned = folder / "pruned"
    pruned.mkdir()
    return report, asyncio.run(measure_pruning(pruned, OLD_WORKFLOWS))


def figures(report: Report, pruning: Pruning) -> list[tuple[str, object]]:
    """Return what it came to, line by line."""
    return [
        ("calls in floods", sum(report.outcomes.values())),
        ("answers to a neighbour meanwhile, all in time", report.answered),
        ("  of its workflows completed", report.completed),
        ("MiB before, at most, after each round", f"{report.idle} {report.peak} {report.after}"),
        ("workflows removed by retention", pruning.deleted),
        ("commits of others meanwhile", pruning.commits),
        ("  their median, compared with before", f"{pruning.beside_us / pruning.alone_us:.2f}"),
        ("  their p99, compared with the median before", f"{pruning.beside_p99_us / pruning.alone_us:.1f}"),
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="orcs-overload-") as name:
        for line in figures(*run_overload(Path(name))):
            print(f"{line[0]:<58}{line[1]:>12}")
