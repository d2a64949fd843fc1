"""What every store promises. A test module joins by inheriting `StoreConformance` and giving two fixtures: `store`, open and
empty, and `reopen`, which closes it and opens what it stored anew.
"""

from __future__ import annotations

import asyncio

import pytest

from orcs_server.errors import Unavailable
from orcs_server.storage.store import DuplicateRequest, RequestKey, Store, blob_of
from orcs_server.workflow.model import Digest
from tests.storage.conformance_agents import AgentConformance
from tests.storage.conformance_audit import AuditConformance
from tests.storage.conformance_journal import JournalConformance
from tests.storage.conformance_memory import MemoryConformance
from tests.storage.conformance_memory_once import MemoryOnceConformance
from tests.storage.conformance_memory_past import MemoryPastConformance
from tests.storage.conformance_people import PeopleConformance
from tests.storage.conformance_rows import Reopen, WorkflowConformance
from tests.storage.conformance_usage import UsageConformance
from tests.storage.memories import remember
from tests.storage.samples import Draft, task

NS = "default"


class StoreConformance(
    WorkflowConformance,
    JournalConformance,
    PeopleConformance,
    MemoryConformance,
    MemoryPastConformance,
    MemoryOnceConformance,
    AuditConformance,
    AgentConformance,
    UsageConformance,
):
    """Everything: rows, journals, what waits for people, memory, the audit log, events, requests, blobs, opening and closing."""

    # Events

    async def test_events_come_back_as_they_were_written(self, store: Store, reopen: Reopen) -> None:
        draft = Draft("w1")
        written = [
            draft.create(),
            draft.plan(task("t0")),
            draft.begin("t0"),
            draft.complete("t0", "done"),
            draft.fail(),
        ]
        for write in written:
            await store.commit(write)
        store = await reopen()
        records = [record for write in written for record in write.events]
        assert await store.events(NS, "w1", 0, 100) == records
        assert await store.events(NS, "w1", 2, 3) == records[2:5]
        assert await store.events_after_position(NS, 2, 3) == records[2:5]
        assert await store.oldest_seq(NS, "w1") == 1

    # Requests

    async def test_a_request_is_carried_out_once(self, store: Store) -> None:
        request = Draft("w1").request("r1")
        await store.commit(Draft("w1").create(request))
        with pytest.raises(DuplicateRequest) as caught:
            await store.commit(Draft("w2").create(request))
        assert caught.value.record == request == await store.find_request(request.key)
        assert await store.load(NS, "w2") is None

    async def test_the_same_request_twice_at_once_is_carried_out_once(self, store: Store) -> None:
        request = Draft("w1").request("r1")
        writes = [Draft("w1").create(request), Draft("w1").create(request)]
        outcomes = await asyncio.gather(*(store.commit(write) for write in writes), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), DuplicateRequest]

    async def test_requests_are_forgotten_after_their_time(self, store: Store) -> None:
        request = Draft("w1").request("r1")
        await store.commit(Draft("w1").create(request))
        assert await store.prune_requests(request.created_us, 9) == 0
        assert await store.prune_requests(request.created_us + 1, 9) == 1
        assert await store.find_request(request.key) is None
        assert await store.find_request(RequestKey(NS, "ada", "none", "r1")) is None

    async def test_old_requests_are_forgotten_a_slice_at_a_time(self, store: Store) -> None:
        requests = [Draft(f"w{number}").request(f"r{number}") for number in range(5)]
        for number, request in enumerate(requests):
            await store.commit(Draft(f"w{number}").create(request))
        after = requests[-1].created_us + 1
        assert [await store.prune_requests(after, 2) for _ in range(4)] == [2, 2, 1, 0]

    # Blobs

    async def test_blobs_to_which_nothing_refers_are_erased_a_slice_at_a_time(self, store: Store) -> None:
        draft = Draft("w1")
        await store.commit(draft.create())
        await remember(store, NS, "key", "kept")
        unused = [blob_of(f"unused {number}") for number in range(7)]
        await store.put_blobs(NS, unused)
        await store.put_blobs("other", unused[:1])
        place: tuple[str, str] | None = ("", "")
        pages = 0
        while place is not None:
            place = await store.prune_blobs(place, 3)
            pages += 1
        assert pages == 4
        for namespace, blob in [*((NS, blob) for blob in unused), ("other", unused[0])]:
            with pytest.raises(Unavailable):
                await store.blob(namespace, blob.digest)
        assert await store.blob(NS, blob_of("kept").digest) == b"kept"
        assert await store.blob(NS, draft.query.digest) == draft.query.data

    async def test_blobs_of_any_size_come_back(self, store: Store, reopen: Reopen) -> None:
        texts = ["", "short", "long " * 1000, "very long " * 20_000]
        blobs = [blob_of(text) for text in texts]
        await store.put_blobs(NS, blobs)
        await store.put_blobs(NS, blobs)
        assert [await store.blob(NS, blob.digest) for blob in blobs] == [blob.data for blob in blobs]
        store = await reopen()
        assert [await store.blob(NS, blob.digest) for blob in blobs] == [blob.data for blob in blobs]

    async def test_a_blob_that_is_missing_is_damage(self, store: Store) -> None:
        with pytest.raises(Unavailable, match="backup"):
            await store.blob(NS, Digest("0" * 64))

    # Opening and closing

    async def test_the_epoch_outlives_a_restart(self, store: Store, reopen: Reopen) -> None:
        epoch = store.epoch
        assert int(epoch, 16) >= 0
        assert len(epoch) == 16
        assert (await reopen()).epoch == epoch

    async def test_closing_waits_for_the_writes_under_way(self, store: Store, reopen: Reopen) -> None:
        drafts = [Draft(f"w{number}") for number in range(300)]
        committing = [asyncio.create_task(store.commit(draft.create())) for draft in drafts]
        await asyncio.sleep(0)
        store = await reopen()
        await asyncio.gather(*committing)
        assert await store.last_position() == 300

    async def test_a_closed_store_is_unavailable(self, store: Store) -> None:
        await store.check()
        await store.close()
        await store.close()
        with pytest.raises(Unavailable):
            await store.check()
        with pytest.raises(Unavailable):
            await store.commit(Draft("w1").create())
