"""The main job with all six hooks and with telemetry, beside the same server without either.

All servers run for the whole measurement and take turns; spans and metrics go to a receiver of OTLP in a process of its own.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from benchmarks.load import drive, ten_tasks
from benchmarks.server import ServerProcess, serving
from benchmarks.table import Row, print_rows, say

CONCURRENCY = 32
ROUNDS = 5
AIM = 1.10


@contextmanager
def receiver() -> Iterator[Mapping[str, str]]:
    """Run a receiver; yield the variables by which a server sends there."""
    with subprocess.Popen([sys.executable, "-m", "benchmarks.otlp_sink"], stdout=subprocess.PIPE, text=True) as child:
        try:
            port = child.stdout.readline().strip() if child.stdout else ""
            yield {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_METRIC_EXPORT_INTERVAL": "5000",
            }
        finally:
            child.kill()


def measure(total: int = 100) -> None:
    """Print a server alone, with hooks, with telemetry, and with both."""
    print_rows(f"Hooks and telemetry, {CONCURRENCY} ten-task plans at a time", [])
    agents, hooks = ("--agents", "benchmarks.instant:registry"), ("--hooks", "benchmarks.six_hooks:factory")
    with ExitStack() as stack:
        sending = stack.enter_context(receiver())
        servers = {
            "neither": stack.enter_context(serving(*agents)),
            "six hooks": stack.enter_context(serving(*agents, *hooks)),
            "telemetry": stack.enter_context(serving(*agents, **sending)),
            "both": stack.enter_context(serving(*agents, *hooks, **sending)),
        }
        rounds = [_round(servers, number, total) for number in range(ROUNDS)]
    for name in servers:
        rows = sorted((each[name] for each in rounds), key=lambda row: row.rate)
        print_rows("", [rows[len(rows) // 2]])
    for name in list(servers)[1:]:
        slower = sorted(each["neither"].rate / each[name].rate for each in rounds)
        dearer = sorted(each[name].cpu_us / each["neither"].cpu_us for each in rounds)
        say(
            f"{name}: {statistics.median(slower):.2f} of the time ({slower[0]:.2f} to {slower[-1]:.2f}), "
            f"{statistics.median(dearer):.2f} of the processor time ({dearer[0]:.2f} to {dearer[-1]:.2f}); "
            f"aim of both together: {AIM:.2f}"
        )


def _round(servers: Mapping[str, ServerProcess], number: int, total: int) -> dict[str, Row]:
    order = list(servers)
    order = order[number % len(order) :] + order[: number % len(order)]
    rows = {}
    for name in order:
        plans = (ten_tasks(mark=f" of plan {name}/{number}/{index}") for index in range(total + 100))
        rows[name] = asyncio.run(drive(servers[name], CONCURRENCY, total, plans.__next__, name=name))
    return rows
