"""Lists of what was asked of people read what they show, and not all that a namespace has ever asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from orcs_server.storage.people import InputFilter, InputKey
from orcs_server.storage.sqlite import SqliteStore, people
from orcs_server.storage.sqlite.reader import Reader


class Explaining:
    """A reader that says how SQLite would go about a query."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.ways: list[str] = []

    def page(self, query: str, parameters: Sequence[object]) -> list[Any]:
        self.ways = [row[3] for row in self._connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
        return []


@pytest.mark.parametrize("after", [None, InputKey(1, "w", 1)])
@pytest.mark.parametrize("open_only", [True, False])
async def test_a_page_of_the_inbox_is_neither_sorted_nor_looked_for_among_other_workflows(
    tmp_path: Path, after: InputKey | None, *, open_only: bool
) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    await store.close()
    with closing(sqlite3.connect(tmp_path / "orcs.db")) as connection:
        reader = Explaining(connection)
        people.inputs(cast("Reader", reader), "ns", InputFilter(open_only), 10, after)
        assert reader.ways
        assert not [way for way in reader.ways if "TEMP B-TREE" in way]
        people.inputs(cast("Reader", reader), "ns", InputFilter(open_only, workflow_id="w"), 10, after)
        assert "SEARCH pending_inputs USING PRIMARY KEY (namespace=? AND workflow_id=?)" in reader.ways
