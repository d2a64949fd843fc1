"""What the call journal costs: runs of several turns with tools, with it and without it, at the same concurrency."""

from __future__ import annotations

import asyncio
from itertools import count
from statistics import median

from benchmarks.load import drive, ten_tasks
from benchmarks.server import ServerProcess, serving
from benchmarks.table import Row, print_rows, say
from orcs_client.v1 import workflow_pb2

CONCURRENCY = 32
ROUNDS = 4
AGENTS = ("--agents", "benchmarks.tooled:registry")


def measure(total: int = 64) -> None:
    """Print both, the middle one of several rounds each, and the middle one of the rounds' ratios."""
    marks = count()

    def plan() -> workflow_pb2.Plan:
        return ten_tasks("tooled_agent", f" in plan {next(marks)}")

    def run(server: ServerProcess, name: str) -> Row:
        return asyncio.run(drive(server, CONCURRENCY, total, plan, name=name))

    print_rows("Ten-task plans, 4 turns a task, 3 of them with a tool call: the call journal", [])
    with (
        serving(*AGENTS) as journaled,
        serving(*AGENTS, program="benchmarks.unjournaled") as unjournaled,
    ):
        pairs = []
        for number in range(ROUNDS):
            order = [(unjournaled, "without"), (journaled, "with journal")]
            rows = {name: run(server, name) for server, name in (order if number % 2 else order[::-1])}
            pairs.append((rows["without"], rows["with journal"]))
    pairs.sort(key=lambda pair: pair[1].rate / pair[0].rate)
    without, ours = pairs[len(pairs) // 2]
    print_rows("", [without, ours], ratio_of=(ours, without))
    rates, cpu = (
        sorted(1 - ours.rate / without.rate for without, ours in pairs),
        sorted(ours.cpu_us / without.cpu_us - 1 for without, ours in pairs),
    )
    say(
        f"the journal's cost: {median(rates):.0%} of the tasks/s, {median(cpu):.0%} more CPU time a task (aim: less than 10 %); "
        f"in {ROUNDS} rounds {rates[0]:.0%} to {rates[-1]:.0%} and {cpu[0]:.0%} to {cpu[-1]:.0%}"
    )
