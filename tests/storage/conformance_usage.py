"""What every store promises about the ledger of usage and what namespaces hold. `conformance` says how a store joins."""

from __future__ import annotations

import pytest

from orcs_server.errors import Conflict
from orcs_server.identity.quotas import DAY_US, day_of
from orcs_server.storage.journal import JournalKey, ModelCall
from orcs_server.storage.store import Store, blob_of
from orcs_server.storage.usage import Holdings, UsageCounts, UsageDay
from orcs_server.workflow import events as e
from orcs_server.workflow.model import Usage
from tests.storage.conformance_rows import NS, Reopen, planned
from tests.storage.memories import forget, remember
from tests.storage.samples import START_US, Draft

DAY = day_of(START_US)
USAGE = Usage(2, 10, 4, 6, 3, 700)


async def ledger(store: Store, namespace: str = NS) -> list[UsageDay]:
    return await store.usage_days(namespace, 0, 10**6)


class UsageConformance:
    """The ledger and what is held."""

    async def test_what_is_consumed_and_done_is_counted_on_its_day_and_outlives_the_workflow(
        self, store: Store, reopen: Reopen
    ) -> None:
        draft = await planned(store)
        await store.commit(draft.begin("t0"))
        await store.commit(draft.write(e.UsageRecorded(1, 2, USAGE, "t0"), touched=("t0",)))
        draft.time_us += DAY_US
        more = e.UsageRecorded(1, 3, USAGE + Usage(1, 5), "t0")
        await store.commit(draft.write(more, touched=("t0",)))
        await store.commit(draft.fail())
        await store.delete(draft.erase())
        other = Draft("w1", "red")
        await store.commit(other.create())
        store = await reopen()
        assert await ledger(store) == [
            UsageDay(DAY + 1, UsageCounts(Usage(1, 5), failed=1)),
            UsageDay(DAY, UsageCounts(USAGE, attempts=2, created=1)),
        ]
        assert await ledger(store, "red") == [UsageDay(DAY, UsageCounts(created=1))]
        assert await store.usage_days(NS, DAY + 1, DAY + 5) == (await ledger(store))[:1]
        of_all = await store.usage_of_all(DAY)
        assert {name: day.counts.created for name, day in of_all.items()} == {NS: 1, "red": 1}
        assert of_all[NS].tokens == 16

    async def test_a_write_that_does_not_go_through_counts_nothing(self, store: Store) -> None:
        draft = await planned(store)
        await store.commit(draft.begin("t0"))
        counted = await ledger(store)
        write = draft.write(e.UsageRecorded(1, 2, USAGE, "t0"), touched=("t0",))
        await store.commit(write)
        with pytest.raises(Conflict):
            await store.commit(write)
        after = (await ledger(store))[0].counts
        assert after == counted[0].counts + UsageCounts(USAGE)

    async def test_what_was_consumed_without_a_workflow_is_counted_too(self, store: Store) -> None:
        await store.add_usage(NS, START_US, USAGE)
        await store.add_usage(NS, START_US, USAGE)
        assert await ledger(store) == [UsageDay(DAY, UsageCounts(USAGE + USAGE))]

    async def test_old_days_are_forgotten_in_slices(self, store: Store) -> None:
        for days in range(5):
            await store.add_usage(NS if days % 2 else "red", START_US + days * DAY_US, USAGE)
        assert [await store.prune_usage(DAY + 3, 2) for _ in range(3)] == [2, 1, 0]
        assert [day.day for day in [*await ledger(store), *await ledger(store, "red")]] == [DAY + 3, DAY + 4]

    async def test_bytes_are_those_that_are_there_each_text_once(self, store: Store, reopen: Reopen) -> None:
        assert await store.holdings(NS) == Holdings()
        first, second = await planned(store, "w1"), await planned(store, "w2")
        for draft in (first, second):
            await store.commit(draft.begin("t0"))
        await store.commit(first.complete("t0", "same text"))
        before = (await store.holdings(NS)).bytes
        await store.commit(second.complete("t0", "same text"))
        # Only the events: the text is there.
        added = (await store.holdings(NS)).bytes - before
        assert 0 < added < 600
        response = blob_of(b"\x00\xff" * 500)
        call = ModelCall("", 0, "hash", response.digest)
        held = (await store.holdings(NS)).bytes
        await store.append_journal(JournalKey(NS, "w1", "t1", 1), 1, [call], [response])
        await remember(store, NS, "key", "kept in memory")
        grown = (await store.holdings(NS)).bytes
        assert grown > held
        await store.put_blobs(NS, [response])
        assert (await store.holdings(NS)).bytes == grown
        assert await store.holdings("red") == Holdings()
        assert await (await reopen()).holdings(NS) == Holdings(grown, 2)

    async def test_what_is_removed_is_free_again(self, store: Store) -> None:
        loose = blob_of("nothing refers to it")
        await store.put_blobs(NS, [loose])
        loose_bytes = (await store.holdings(NS)).bytes
        assert loose_bytes > 0
        draft = await planned(store)
        await store.commit(draft.begin("t0"))
        await store.commit(draft.complete("t0", "a result"))
        await store.commit(draft.fail())
        full = (await store.holdings(NS)).bytes
        await store.delete(draft.erase())
        # The tombstone stays, and what is not the workflow's.
        left = (await store.holdings(NS)).bytes
        assert loose_bytes < left < full / 2
        assert await store.prune_blobs(("", ""), 100) is None
        assert (await store.holdings(NS)).bytes == left - loose_bytes
        await remember(store, NS, "key", "kept in memory")
        with_memory = (await store.holdings(NS)).bytes
        await forget(store, NS, "key")
        assert (await store.holdings(NS)).bytes == with_memory

    async def test_workflows_are_counted_until_they_end_and_again_when_they_are_reopened(self, store: Store) -> None:
        async def live() -> int:
            return (await store.holdings(NS)).workflows

        draft, other = await planned(store), Draft("w2")
        await store.commit(other.create())
        assert await live() == 2
        await store.commit(draft.fail())
        await store.commit(other.fail())
        assert await live() == 0
        await store.commit(draft.write(e.WorkflowReopened()))
        assert await live() == 1
        await store.commit(draft.fail())
        await store.delete(draft.erase())
        assert await live() == 0
