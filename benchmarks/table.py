"""How figures are printed: rows of the same columns, and ratios from the same run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one measurement."""

    name: str
    rate: float
    """Tasks a second."""
    p50_ms: float
    p99_ms: float
    """Of a workflow's latency."""
    peak_mib: float
    cpu_us: float
    """CPU microseconds of all processes, a task."""


def figures(name: str, latencies_s: Sequence[float], wall_s: float, cpu_s: float, peak_mib: float, tasks: int) -> Row:
    """Return the row of a measurement of `len(latencies_s)` workflows of `tasks` tasks."""
    ordered = sorted(latencies_s)
    count = len(ordered)
    return Row(
        name,
        count * tasks / wall_s,
        percentile(ordered, 0.5) * 1e3,
        percentile(ordered, 0.99) * 1e3,
        peak_mib,
        cpu_s / count / tasks * 1e6,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which this share of the sorted values lies."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def print_rows(title: str, rows: Sequence[Row], ratio_of: tuple[Row, Row] | None = None) -> None:
    """Print rows under a title; with `ratio_of`, the first one's figures as a ratio to the second one's."""
    if title:
        say(f"\n{title}")
        say(f"{'':28}{'tasks/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'peak MiB':>10}{'CPU us/task':>13}")
    for row in rows:
        say(
            f"{row.name:28}{row.rate:>10.0f}{row.p50_ms:>10.1f}{row.p99_ms:>10.1f}{row.peak_mib:>10.0f}{row.cpu_us:>13.0f}"
        )
    if ratio_of is not None:
        ours, base = ratio_of
        say(
            f"{'ratio':28}{ours.rate / base.rate:>10.2f}{ours.p50_ms / base.p50_ms:>10.2f}"
            f"{ours.p99_ms / base.p99_ms:>10.2f}{ours.peak_mib / base.peak_mib:>10.2f}{ours.cpu_us / base.cpu_us:>13.2f}"
        )


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
