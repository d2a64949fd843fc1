"""The SQLite store keeps every promise of a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import Store
from tests.storage.conformance import StoreConformance
from tests.storage.conformance_rows import Reopen


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = SqliteStore(tmp_path / "orcs.db")
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def reopen(self, store: Store) -> Reopen:
        async def reopened() -> Store:
            await store.close()
            await store.open()
            return store

        return reopened
