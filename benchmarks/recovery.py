"""How long a server takes to be back: from the start of its process to receiving work, and to the first attempt that goes on, with
many unfinished workflows in its data file, beside one with none.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

from benchmarks.load import at_once, ten_tasks
from benchmarks.server import MIB, new_folder, serving_in
from benchmarks.table import say

ROUNDS = 3
AT_ONCE = 64
SETTLED_S = 1.0
"""Memory is looked at so long after the first attempt went on, when every workflow has taken its place in the queue."""
PATIENCE_S = 60.0
AGENTS = ("--agents", "benchmarks.waiting:registry")


@dataclass(frozen=True, slots=True)
class Start:
    """What one start of a server took."""

    cold_s: float
    """From the start of its process until it received work."""
    serving_s: float
    """The same from when everything was imported."""
    going_on_s: float
    """From there until a model was asked what it had not been asked before the crash; not a number where nothing was running."""
    cpu_s: float
    """Processor time until it received work, imports included."""
    resident_mib: float


def fill(home: Path, workflows: int, *, started: bool) -> None:
    """Make a data file with unfinished workflows of ten tasks, and kill its server."""
    asked = home / "asked"

    async def create() -> None:
        async with server.client() as client:

            async def one(index: int) -> None:
                plan = ten_tasks("waiting_agent", f" in plan {index}")
                await client.create_workflow(plan=plan, auto_start=started)

            await at_once(AT_ONCE, workflows, one)

    with serving_in(home, *AGENTS, end_by=signal.SIGKILL, environment={"ORCS_BENCH_ASKED": str(asked)}) as server:
        asyncio.run(create())
        if started:
            wait_for(asked)
    asked.unlink(missing_ok=True)
    with closing(sqlite3.connect(f"file:{home}/orcs.db?mode=ro", uri=True)) as connection:
        if connection.execute("SELECT count(*) FROM workflows WHERE live = 1").fetchone() != (workflows,):
            raise RuntimeError("not every workflow is there")


def wait_for(asked: Path) -> None:
    """Return once a model has been asked for its second turn."""
    patience = time.monotonic() + PATIENCE_S
    while not asked.exists() or not asked.read_text():
        if time.monotonic() > patience:
            raise RuntimeError("no attempt goes on")
        time.sleep(0.01)


def start(filled: Path, *, started: bool) -> Start:
    """Start a server on a copy of the data file."""
    with new_folder() as folder:
        home = folder / "home"
        shutil.copytree(filled, home)
        for file in home.glob("orcs.db*"):
            with file.open("rb") as copied:
                os.fsync(copied.fileno())  # or the server's first commit would wait for it
        asked = home / "asked"
        began = time.time()
        with serving_in(
            home,
            *AGENTS,
            program="benchmarks.imported",
            end_by=signal.SIGKILL,
            environment={"ORCS_BENCH_ASKED": str(asked)},
        ) as server:
            imported_s, cpu_s = server.marks["imported"], server.cpu_s()
            if started:
                wait_for(asked)
            time.sleep(SETTLED_S)
            going_on_s = float(asked.read_text()) - began - imported_s if started else math.nan
            serving_s = server.marks["orcs"]
            return Start(serving_s, serving_s - imported_s, going_on_s, cpu_s, server.resident_mib())


def measure() -> None:
    """Print each kind of data file beside the empty one: of several starts, taken in turns, the quickest."""
    kinds: dict[str, tuple[int, bool]] = {
        "empty": (0, False),
        "1,000 running": (1_000, True),
        "10,000 running": (10_000, True),
        "10,000 not started": (10_000, False),
    }
    say("\nStart after kill -9: unfinished workflows of ten tasks; of those that run, 64 attempts were under way")
    say(
        f"{'':20}{'cold s':>8}{'imported to: SERVING s':>24}{'going on s':>12}{'CPU s':>8}{'resident MiB':>14}{'file MiB':>10}"
    )
    starts: dict[str, list[Start]] = {name: [] for name in kinds}
    with new_folder() as folder:
        homes = {name: folder / str(index) for index, name in enumerate(kinds)}
        for name, (workflows, started) in kinds.items():
            homes[name].mkdir()
            fill(homes[name], workflows, started=started)
        for _ in range(ROUNDS):
            for name, (workflows, started) in kinds.items():
                starts[name].append(start(homes[name], started=started and workflows > 0))
        sizes = {name: sum(file.stat().st_size for file in home.glob("orcs.db*")) / MIB for name, home in homes.items()}
    best = {
        name: Start(*(min(figures) for figures in zip(*map(astuple, runs), strict=True)))
        for name, runs in starts.items()
    }
    for name, run in best.items():
        say(
            f"{name:20}{run.cold_s:>8.2f}{run.serving_s:>24.2f}{run.going_on_s:>12.2f}{run.cpu_s:>8.2f}"
            f"{run.resident_mib:>14.0f}{sizes[name]:>10.0f}"
        )
    base, most = best["empty"], best["10,000 running"]
    say(
        f"a running workflow costs {(most.serving_s - base.serving_s) / 10:.2f} ms of the start and "
        f"{(most.resident_mib - base.resident_mib) / 10_000 * 1024:.0f} KiB of memory; one that waits for a person "
        f"{(best['10,000 not started'].resident_mib - base.resident_mib) / 10_000 * 1024:.1f} KiB"
    )
