"""What the SQLite store refuses for a quota: within the transaction, and so exactly."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orcs_server.errors import QuotaExceeded
from orcs_server.identity.quotas import DAY_US, NamespaceQuota, Quotas
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import DuplicateRequest
from orcs_server.workflow.model import Usage
from tests.storage.memories import forget, note, putting, remember
from tests.storage.samples import START_US, Draft

QUOTAS = Quotas(
    {
        "few": NamespaceQuota(max_workflows=3),
        "small": NamespaceQuota(max_bytes=1_500),
        "frugal": NamespaceQuota(tokens_per_day=10, cost_per_day=100),
    }
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "orcs.db", QUOTAS)
    await store.open()
    yield store
    await store.close()


async def test_of_creations_that_wait_together_as_many_go_through_as_may(store: SqliteStore) -> None:
    drafts = [Draft(f"w{n}", namespace) for n in range(6) for namespace in ("few", "many")]
    outcomes = await asyncio.gather(
        *(store.commit(draft.create(draft.request(f"r{draft.id}"))) for draft in drafts), return_exceptions=True
    )
    counted = Counter((draft.namespace, type(one).__name__) for draft, one in zip(drafts, outcomes, strict=True))
    assert counted == {("few", "NoneType"): 3, ("few", "QuotaExceeded"): 3, ("many", "NoneType"): 6}
    created = next(draft for draft in drafts if draft.namespace == "few")
    assert (await store.holdings("few")).workflows == 3
    # A repetition is known as one, full or not.
    again = Draft(created.id, "few")
    with pytest.raises(DuplicateRequest):
        await store.commit(again.create(again.request(f"r{created.id}")))
    await store.commit(created.fail())
    await store.commit(Draft("next", "few").create())
    with pytest.raises(QuotaExceeded, match="max_workflows is 3"):
        await store.commit(Draft("one too many", "few").create())


@pytest.mark.parametrize(
    ("usage", "quota"), [(Usage(1, 8, 0, 2), "tokens_per_day"), (Usage(1, 1, 0, 1, 0, 100), "cost_per_day")]
)
async def test_a_day_that_is_used_up_refuses_creations_of_that_day(
    store: SqliteStore, usage: Usage, quota: str
) -> None:
    await store.commit(Draft("w1", "frugal").create())
    await store.add_usage("frugal", START_US, usage)
    with pytest.raises(QuotaExceeded) as refused:
        await store.commit(Draft("w2", "frugal").create())
    assert refused.value.quota == quota
    assert refused.value.free_us == (START_US // DAY_US + 1) * DAY_US
    assert refused.value.retry_after_us == refused.value.free_us - START_US
    await store.commit(Draft("w2", "frugal", created_us=START_US + DAY_US).create())
    # What is there goes on.
    draft = Draft("w3", "frugal", created_us=START_US + DAY_US)
    await store.commit(draft.create())
    draft.time_us = START_US
    await store.commit(draft.fail())


async def test_a_full_namespace_puts_nothing_into_memory_and_creates_nothing(store: SqliteStore) -> None:
    text = "".join(chr(33 + n * n % 90) for n in range(900))
    await remember(store, "small", "first", text)
    await remember(store, "small", "second", text[::-1])
    full = (await store.holdings("small")).bytes
    assert full >= 1_500
    with pytest.raises(QuotaExceeded) as refused:
        await remember(store, "small", "third", "x")
    assert (refused.value.quota, refused.value.in_use, refused.value.free_us) == ("max_bytes", full, None)
    batch = [putting("fourth", "y")]
    with pytest.raises(QuotaExceeded):
        await store.memory.write("small", batch, note())
    with pytest.raises(QuotaExceeded):
        await store.commit(Draft("w1", "small").create())
    await remember(store, "other", "third", "x")
    await forget(store, "small", "first")
    assert (await store.holdings("small")).bytes == full
