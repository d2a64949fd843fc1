"""The named statements of `queries.sql` and the files beside it, and the way to run one of them for many rows at once.

In a thread every step gives up the interpreter lock and then waits for a busy event loop to hand it back: beside one, a
batch with a step per row took 495 µs a row, with many rows to a step 130 µs, at no more CPU time.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from importlib.resources import files
from itertools import chain

Row = tuple[object, ...]

_SIZES = (64, 32, 16)
"""Rows to a step; what remains below the last of them takes one step of its own size or two."""


def _load() -> dict[str, str]:
    queries = {}
    for file in ("queries.sql", "memory.sql", "audit.sql", "agents.sql"):
        text = files("orcs_server.storage.sqlite").joinpath(file).read_text(encoding="utf-8")
        for block in text.split("-- name: ")[1:]:
            name, _description, statement = block.split("\n", 2)
            queries[name.strip()] = statement.strip()
    return queries


QUERIES = _load()


class Bulk:
    """A statement with a `/*rows*/` tuple, run for any number of rows in a few steps."""

    def __init__(self, name: str) -> None:
        head, tuple_, tail = re.split(r"/\*rows\*/ (\([^)]*\))", QUERIES[name])
        self._statements = {size: head + ", ".join([tuple_] * size) + tail for size in (*_SIZES, *range(1, _SIZES[-1]))}

    def run(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """Run the statement for all rows; return how many rows it changed."""
        changed = done = 0
        while done < len(rows):
            size = self._fitting(len(rows) - done)
            parameters = tuple(chain.from_iterable(rows[done : done + size]))
            changed += connection.execute(self._statements[size], parameters).rowcount
            done += size
        return changed

    def count(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """Return the sum of what a counting query says for all rows."""
        total = done = 0
        while done < len(rows):
            size = self._fitting(len(rows) - done)
            parameters = tuple(chain.from_iterable(rows[done : done + size]))
            total += connection.execute(self._statements[size], parameters).fetchone()[0]
            done += size
        return total

    @staticmethod
    def _fitting(remaining: int) -> int:
        for size in _SIZES:
            if remaining >= size:
                return size
        return remaining
