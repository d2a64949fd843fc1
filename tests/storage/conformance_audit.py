"""What every store promises about the audit log. `conformance` says how a store joins."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from orcs_server.errors import Conflict
from orcs_server.storage.audit import (
    PRUNE,
    SERVER,
    AuditDraft,
    AuditFilter,
    AuditRecord,
    ChainWalk,
    fields_of,
    hash_of,
)
from orcs_server.storage.memory_rows import MemoryPut, Note, Trust, Writer
from orcs_server.storage.once import Once
from orcs_server.storage.people import Freeze
from orcs_server.storage.store import DuplicateRequest, RequestKey, RequestRecord, Store, blob_of
from orcs_server.workflow.model import StopMode
from tests.storage.conformance_rows import NS, Reopen
from tests.storage.samples import START_US, Draft

SAID = AuditDraft(
    START_US,
    "workflows.pause",
    "PauseWorkflow",
    "ada",
    ("operate", "view"),
    "w1",
    request_id="r1",
    peer="ipv4:10.0.0.1",
)


def told(number: int, **more: object) -> AuditDraft:
    return replace(SAID, time_us=START_US + number, **more)


async def misfit(store: Store, namespace: str = NS) -> object:
    """Go along a chain; return what does not fit."""
    walk = ChainWalk(namespace, await store.audit.chain(namespace))
    return walk.take(await store.audit.records(namespace, walk.number, 10_000)) or walk.end()


async def numbers(store: Store, where: AuditFilter, *, oldest_first: bool = True, limit: int = 100) -> list[int]:
    page = await store.audit.find(NS, where, None, limit, oldest_first=oldest_first)
    return [record.number for record in page.records]


class AuditConformance:
    """Chains of records."""

    async def test_records_are_numbered_and_chained_by_namespace(self, store: Store, reopen: Reopen) -> None:
        await store.audit.append(NS, [told(1), told(2)])
        await store.audit.append("red", [told(3)])
        await store.audit.append(SERVER, [told(4)])
        await store.audit.append(NS, [told(5, details='{"a":1}', agent="x", workflow_id="w", task_id="t")])
        store = await reopen()
        records = await store.audit.records(NS, 0, 100)
        assert [(one.namespace, one.number, one.draft.time_us - START_US) for one in records] == [
            (NS, 1, 1),
            (NS, 2, 2),
            (NS, 3, 5),
        ]
        assert records[2].draft == told(5, details='{"a":1}', agent="x", workflow_id="w", task_id="t")
        assert [one.previous_hash for one in records] == ["", records[0].hash, records[1].hash]
        for one in records:
            assert one.hash == hash_of(one.previous_hash, fields_of(NS, one.number, one.draft))
        assert (await store.audit.chain(NS))[:2] == (3, records[2].hash)
        assert [one.number for one in await store.audit.records(NS, 1, 1)] == [2]
        for namespace in (NS, "red", SERVER):
            assert await misfit(store, namespace) is None
        assert await store.audit.chain("nobody") == (0, "", 0, "")
        assert await store.audit.records("nobody", 0, 10) == []

    async def test_a_write_and_its_record_are_stored_together_or_not_at_all(self, store: Store) -> None:
        draft = Draft("w1")
        write = replace(draft.create(), audit=(told(1), told(2)))
        await store.commit(write)
        with pytest.raises(Conflict):
            await store.commit(replace(write, base_seq=7, audit=(told(3),)))
        assert [one.number for one in await store.audit.records(NS, 0, 10)] == [1, 2]
        assert await misfit(store) is None

    async def test_of_writes_side_by_side_only_those_that_go_through_are_recorded(self, store: Store) -> None:
        request = RequestRecord(RequestKey(NS, "ada", "CreateWorkflow", "r1"), "hash", "w0", 1, START_US)
        writes = [
            replace(Draft(f"w{number}").create(), audit=(told(number, resource=f"w{number}"),)) for number in range(9)
        ]
        writes += [replace(Draft(f"again{number}").create(), audit=(told(0),), request=request) for number in range(3)]
        outcomes = await asyncio.gather(*(store.commit(write) for write in writes), return_exceptions=True)
        assert [isinstance(one, DuplicateRequest) for one in outcomes] == [*[False] * 10, True, True]
        records = await store.audit.records(NS, 0, 100)
        assert len(records) == 10
        assert {one.draft.resource for one in records} == {f"w{number}" for number in range(9)}
        assert await misfit(store) is None

    async def test_a_deleted_workflow_keeps_its_records(self, store: Store) -> None:
        draft = Draft("w1")
        await store.commit(replace(draft.create(), audit=(told(1),)))
        await store.commit(draft.fail())
        await store.delete(replace(draft.erase(), audit=(told(2, operation="workflows.delete"),)))
        assert [one.draft.operation for one in await store.audit.records(NS, 0, 9)] == [
            "workflows.pause",
            "workflows.delete",
        ]

    async def test_a_change_of_memory_and_its_record_are_stored_together(self, store: Store) -> None:
        note = Note(START_US, Writer("ada"), Trust.CLIENT)
        put = MemoryPut("global", "tea", blob_of("green"), "text/plain", None, 0)
        key = RequestKey(NS, "ada", "PutMemory", "r1")
        await store.memory.bound(Once(key, "hash", START_US, told(1))).write(NS, [put], note)
        with pytest.raises(DuplicateRequest):
            await store.memory.bound(Once(key, "hash", START_US, told(2))).write(NS, [put], note)
        with pytest.raises(Conflict):
            await store.memory.bound(Once(None, "", START_US, told(3))).write(NS, [put], note)
        assert [one.draft.time_us for one in await store.audit.records(NS, 0, 9)] == [START_US + 1]

    async def test_a_freeze_and_its_record_are_stored_together(self, store: Store) -> None:
        request = RequestRecord(RequestKey(NS, "ada", "FreezeNamespace", "r1"), "hash", "", 0, START_US)
        await store.put_freeze(Freeze(NS, StopMode.DRAIN), request, told(1))
        with pytest.raises(DuplicateRequest):
            await store.put_freeze(Freeze(NS, StopMode.DRAIN), request, told(2))
        assert len(await store.audit.records(NS, 0, 9)) == 1

    async def test_records_are_found_by_what_they_say(self, store: Store) -> None:
        await store.audit.append(
            NS,
            [
                told(1),
                told(2, principal="bob", resource="w1/t1"),
                told(3, operation="memory.write", resource="global"),
                told(4, operation="memory.delete", resource="global", outcome="PERMISSION_DENIED"),
                told(5, resource="w10"),
                told(6, operation="memory.revert", outcome="BEGUN"),
            ],
        )
        await store.audit.append("red", [told(1)])
        for where, expected in (
            (AuditFilter(), [1, 2, 3, 4, 5, 6]),
            (AuditFilter(principal="bob"), [2]),
            (AuditFilter(operation="memory.write"), [3]),
            (AuditFilter(operation="memory."), [3, 4, 6]),
            (AuditFilter(operation="memory"), []),
            (AuditFilter(resource="w1"), [1, 2, 6]),
            (AuditFilter(resource="w1/t1"), [2]),
            (AuditFilter(outcome="PERMISSION_DENIED"), [4]),
            (AuditFilter(refused_only=True), [4]),
            (AuditFilter(from_us=START_US + 3, before_us=START_US + 5), [3, 4]),
            (AuditFilter(principal="ada", operation="memory.", outcome="OK"), [3]),
        ):
            assert await numbers(store, where) == expected
            assert await numbers(store, where, oldest_first=False) == expected[::-1]

    async def test_pages_go_on_where_the_last_one_ended_while_records_are_added(self, store: Store) -> None:
        await store.audit.append(NS, [told(number, principal="ab"[number % 2]) for number in range(5_000)])
        for oldest_first in (True, False):
            seen: list[AuditRecord] = []
            start: int | None = None
            for _ in range(100):
                page = await store.audit.find(NS, AuditFilter(principal="a"), start, 700, oldest_first=oldest_first)
                seen += page.records
                start = page.following
                if start is None:
                    break
                await store.audit.append(NS, [told(1, principal="c")])
            order = [one.number for one in seen]
            assert order == (list(range(1, 5_001, 2)) if oldest_first else list(range(4_999, 0, -2)))

    async def test_old_records_go_and_the_chain_goes_on_from_where_it_was_cut(
        self, store: Store, reopen: Reopen
    ) -> None:
        await store.audit.append(NS, [told(number) for number in range(1, 11)])
        await store.audit.append("red", [told(100)])
        before = START_US + 8
        assert await store.audit.old_chains(before) == [NS]
        pruning = AuditDraft(START_US + 50, PRUNE, "retention", "orcs")
        assert await store.audit.prune(NS, before, 5, pruning) == 5
        assert await store.audit.prune(NS, before, 5, pruning) == 2
        assert await store.audit.old_chains(before) == []
        assert await store.audit.prune(NS, before, 5, pruning) == 0
        store = await reopen()
        chain = await store.audit.chain(NS)
        assert (chain.number, chain.removed) == (12, 7)
        records = await store.audit.records(NS, 0, 100)
        assert [one.number for one in records] == [8, 9, 10, 11, 12]
        assert records[0].previous_hash == chain.removed_hash
        assert await misfit(store) is None
        assert await numbers(store, AuditFilter(), oldest_first=False, limit=2) == [12, 11]
        await store.audit.append(NS, [told(60)])
        assert (await store.audit.chain(NS)).number == 13
        assert await misfit(store) is None

    async def test_what_only_tells_of_removals_is_not_removed_by_itself(self, store: Store) -> None:
        await store.audit.append(NS, [told(1), told(2)])
        pruning = AuditDraft(START_US + 3, PRUNE, "retention", "orcs")
        assert await store.audit.prune(NS, START_US + 10, 500, pruning) == 2
        assert await store.audit.prune(NS, START_US + 10, 500, pruning) == 0
        assert [one.number for one in await store.audit.records(NS, 0, 9)] == [3]
        # So many of them that a slice is full do go: more may follow them.
        assert await store.audit.prune(NS, START_US + 10, 1, pruning) == 1
        assert [one.number for one in await store.audit.records(NS, 0, 9)] == [4]
        assert await misfit(store) is None
