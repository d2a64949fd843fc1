"""Namespaces take turns at the writer and at long reads: what one of them piles up does not hold another one up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.sqlite.reader import Reader
from tests.storage.samples import Draft


async def test_a_write_waits_for_the_batch_under_way_and_not_for_what_another_namespace_has_piled_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcs_server.storage.sqlite.writer.BATCH_LIMIT", 4)
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    flood = [asyncio.create_task(store.commit(Draft(f"w{n}", namespace="red").create())) for n in range(200)]
    await asyncio.sleep(0)
    await store.commit(Draft("mine", namespace="blue").create())
    records = await store.events_after_position("blue", 0, 10)
    assert records[0].position <= 2 * 4
    await asyncio.gather(*flood)
    assert len(await store.events_after_position("red", 0, 1000)) == 200
    await store.close()


async def test_a_batch_is_bounded_by_its_rows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orcs_server.storage.sqlite.writer.BATCH_WEIGHT", 1)
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    sizes: list[int] = []
    commit = store._writer._commit

    async def counting(operations: list[object]) -> object:
        sizes.append(len(operations))
        return await commit(operations)  # type: ignore[arg-type]

    monkeypatch.setattr(store._writer, "_commit", counting)
    await asyncio.gather(*(store.commit(Draft(f"w{n}").create()) for n in range(5)))
    assert sizes == [1] * 5
    await store.close()


async def test_long_reads_are_given_in_turn_and_one_that_is_cancelled_holds_nobody_up(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    reader, order = Reader(tmp_path / "orcs.db"), []

    async def read(namespace: str) -> None:
        async with reader.transaction(namespace):
            order.append(namespace)
            await asyncio.sleep(0)

    async with reader.transaction("red"):
        reads = [asyncio.create_task(read(name)) for name in ("red", "red", "red", "red", "blue")]
        await asyncio.sleep(0)
        reads[0].cancel()
        await asyncio.wait((reads[0],))
    await asyncio.gather(*reads[1:])
    assert order == ["red", "blue", "red", "red"]
    await reader.close()
    await store.close()
