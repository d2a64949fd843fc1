"""Bytes on disk, after a checkpoint: of a finished ten-task workflow, and of an agent run of many turns, beside its texts."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.load import TASKS, at_once, finish, one_task, ten_tasks
from benchmarks.server import new_folder, serving_in
from benchmarks.table import say
from benchmarks.tooled import ANSWER_BYTES, RESULT_BYTES
from orcs_client.v1 import workflow_pb2

WORKFLOWS = 200
RUNS = 40
PARTS = {
    "events": "events",
    "blobs": "blobs",
    "blob_uses": "uses",
    "journals": "journal",
    "journal_model_calls": "journal",
    "journal_tool_calls": "journal",
    "workflows": "rows",
    "tasks": "rows",
    "workflow_labels": "rows",
    "requests": "rows",
}
"""Tables by what a reader calls them; indexes count with their table. `uses` is which workflow refers to which blob. What is not named is `rest`."""
COLUMNS = ("events", "rows", "journal", "blobs", "uses", "rest")


def sizes(data: Path) -> Counter[str]:
    """Return the bytes of a file's pages by part. The server has ended, so its log has gone into the file."""
    if data.with_name(f"{data.name}-wal").exists():
        raise RuntimeError("the server left its log behind")
    query = (
        "SELECT coalesce(tbl_name, dbstat.name), sum(pgsize) FROM dbstat"
        " LEFT JOIN sqlite_master ON sqlite_master.name = dbstat.name GROUP BY 1"
    )
    parts: Counter[str] = Counter()
    with closing(sqlite3.connect(data)) as connection:
        for table, size in connection.execute(query):
            parts[PARTS.get(table, "rest")] += size
    parts["rest"] += data.stat().st_size - parts.total()  # pages that are free
    return parts


def stored(plans: Callable[[int], workflow_pb2.Plan], count: int, turns: int) -> Counter[str]:
    """Return the bytes that so many finished workflows take in a new file, less those of an empty one."""

    async def run() -> None:
        async with server.client() as client:
            await at_once(16, count, lambda index: finish(client, plans(index)))

    with new_folder() as home:
        flags = ("--agents", "benchmarks.tooled:registry", "--config", str(home / "orcs.toml"))
        (home / "orcs.toml").write_text("[agents.tooled_agent]\nmax_turns = 100\n")
        with serving_in(home, *flags):
            pass
        empty = sizes(home / "orcs.db")
        with serving_in(home, *flags, environment={"ORCS_BENCH_TURNS": str(turns)}) as server:
            asyncio.run(run())
        full = sizes(home / "orcs.db")
    full.subtract(empty)
    return full


def measure() -> None:
    """Print a row for each."""
    say(
        "\nBytes on disk, after a checkpoint, of what has finished (texts: descriptions, arguments, results and answers)"
    )
    say(f"{'':28}{'total':>9}{'texts':>9}{'total/texts':>13}" + "".join(f"{part:>9}" for part in COLUMNS))

    def row(name: str, parts: Counter[str], count: int, texts: int) -> float:
        total = parts.total() / count
        columns = "".join(f"{parts[part] / count:>9.0f}" for part in COLUMNS)
        say(f"{name:28}{total:>9.0f}{texts:>9}{total / texts:>13.2f}{columns}")
        return total

    texts = TASKS * (ANSWER_BYTES + len("Answer the question of task t1 in plan 100."))
    row(
        "ten-task workflow",
        stored(lambda i: ten_tasks("tooled_agent", f" in plan {i}"), WORKFLOWS, 1),
        WORKFLOWS,
        texts,
    )
    totals = {}
    for turns in (1, 25, 50):
        tool_calls = (turns - 1) * (RESULT_BYTES + len('{"what": "01234567 turn 10, 0"}'))
        texts = ANSWER_BYTES + len("Answer question 10.") + tool_calls
        parts = stored(lambda i: one_task("tooled_agent", f"Answer question {i}."), RUNS, turns)
        totals[turns] = row(f"agent run of {turns} turns", parts, RUNS, texts)
    one, half, whole = totals.values()
    say(
        f"50 turns beside 25: {whole / half:.2f}; each turn more takes {(half - one) / 24:.0f} bytes up to the 25th, "
        f"{(whole - half) / 25:.0f} from there (linear: no more)"
    )
