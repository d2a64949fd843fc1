"""The main job against the floor: ten-task plans (1 -> 8 -> 1) with a model that takes no time.

The floor is bare `Runner.run` under asyncio in one process, nothing durable, nobody watching. ORCS is a server process with
`synchronous=FULL` and this process as its client, which creates every workflow and watches it to its end.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

from benchmarks.load import TASKS, WARM_UP, drive, ten_tasks
from benchmarks.server import serving
from benchmarks.table import Row, figures, print_rows

CONCURRENCIES = (1, 8, 32)


def floor(concurrency: int, total: int, deltas: int) -> Row:
    """Run the same work under bare `Runner.run`, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.floor", str(concurrency), str(total)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "ORCS_BENCH_DELTAS": str(deltas)}
    )
    run = json.loads(done.stdout)
    name = f"floor, {concurrency} at a time"
    return figures(name, run["latencies_s"], run["wall_s"], run["cpu_s"], run["peak_mib"], TASKS)


def measure(total: int = 100, deltas: int = 0) -> None:
    """Print floor and ORCS side by side at each concurrency."""
    print_rows(f"Ten-task plans, {deltas} deltas a task", [])
    with serving("--agents", "benchmarks.instant:registry", ORCS_BENCH_DELTAS=str(deltas)) as server:
        for concurrency in CONCURRENCIES:
            count = total if concurrency > 1 else max(total // 3, 10)
            base = floor(concurrency, count, deltas)
            plans = [ten_tasks(mark=f" of plan {concurrency}/{index}") for index in range(WARM_UP + count)]
            ours = asyncio.run(drive(server, concurrency, count, iter(plans).__next__, deltas=deltas > 0))
            again = floor(concurrency, count, deltas)
            best = max(base, again, key=lambda row: row.rate)
            print_rows("", [best, ours], ratio_of=(ours, best))
