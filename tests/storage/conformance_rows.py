"""What every store promises about the rows of workflows and tasks. `conformance` says how a store joins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from orcs_server.errors import AlreadyExists, Conflict, Unavailable
from orcs_server.storage.store import PageKey, Store, WorkflowFilter, blob_of
from orcs_server.workflow import events as e
from orcs_server.workflow.model import PlanSource
from orcs_server.workflow.restore import restore
from orcs_server.workflow.states import TaskStatus, WorkflowStatus
from tests.storage.memories import remember
from tests.storage.samples import CALLER, FAILURE, START_US, Draft, task

Reopen = Callable[[], Awaitable[Store]]
NS = "default"


async def planned(store: Store, workflow_id: str = "w1", namespace: str = NS) -> Draft:
    draft = Draft(workflow_id, namespace)
    await store.commit(draft.create())
    await store.commit(draft.plan(task("t0"), task("t1", "t0"), task("t2", "t0")))
    return draft


class WorkflowConformance:
    """Rows: writing, deleting and listing them."""

    # Workflows

    async def test_rows_restore_the_state_that_was_written(self, store: Store, reopen: Reopen) -> None:
        draft = await planned(store)
        await store.commit(draft.begin("t0"))
        await store.commit(draft.complete("t0", "# Result"))
        stored = await (await reopen()).load(NS, "w1")
        assert stored is not None
        assert stored.seq == draft.seq
        assert stored.caller == CALLER
        assert restore(NS, "w1", stored.spec, stored.progress, [*stored.tasks]) == draft.current

    async def test_a_commit_numbers_its_records_on_from_the_last_position(self, store: Store, reopen: Reopen) -> None:
        first, second = Draft("w1"), Draft("w2")
        writes = [first.create(), second.create()]
        await asyncio.gather(*(store.commit(write) for write in writes))
        store = await reopen()
        writes.append(first.fail())
        await store.commit(writes[-1])
        assert [write.events[0].position for write in writes] == [1, 2, 3]
        assert await store.last_position() == 3

    async def test_an_unknown_workflow_is_nowhere(self, store: Store) -> None:
        assert await store.load(NS, "w1") is None
        assert await store.get_summary(NS, "w1") is None
        assert await store.snapshot(NS, "w1") is None
        assert await store.get_task(NS, "w1", "t0") is None
        assert await store.oldest_seq(NS, "w1") is None
        assert await store.events(NS, "w1", 0, 10) == []
        assert await store.last_position() == 0

    async def test_an_id_that_is_taken_is_refused(self, store: Store) -> None:
        await store.commit(Draft("w1").create())
        with pytest.raises(AlreadyExists) as caught:
            await store.commit(Draft("w1").create())
        assert caught.value.reason == "WORKFLOW_ALREADY_EXISTS"

    async def test_a_write_on_a_stale_seq_is_refused_and_stores_nothing(self, store: Store) -> None:
        draft = Draft("w1")
        await store.commit(draft.create())
        lost = draft.write(e.PlanningStarted(1), blobs=(blob_of("lost"),))
        late = draft.write(e.PlanningStarted(2))
        with pytest.raises(Conflict):
            await store.commit(late)
        await store.commit(lost)
        with pytest.raises(Conflict):
            await store.commit(lost)
        assert [record.seq for record in await store.events(NS, "w1", 0, 10)] == [1, 2]

    async def test_a_write_to_a_workflow_that_is_not_there_is_refused(self, store: Store) -> None:
        draft = Draft("w1")
        draft.create()
        with pytest.raises(Conflict):
            await store.commit(draft.fail())
        with pytest.raises(Conflict):
            await store.delete(draft.erase())

    async def test_events_that_do_not_follow_on_are_refused(self, store: Store) -> None:
        write = Draft("w1").create()
        write.events[0].seq = 2
        with pytest.raises(ValueError, match="numbered"):
            await store.commit(write)
        assert await store.load(NS, "w1") is None

    async def test_two_writes_of_one_workflow_may_wait_at_once(self, store: Store) -> None:
        draft = Draft("w1")
        writes = [draft.create(), draft.plan(task("t0")), draft.begin("t0"), draft.complete("t0", "done")]
        await asyncio.gather(*(store.commit(write) for write in writes))
        stored = await store.get_task(NS, "w1", "t0")
        assert stored is not None
        assert stored.progress.status is TaskStatus.COMPLETED

    async def test_of_many_writes_at_once_only_the_offenders_fail(self, store: Store) -> None:
        drafts = [Draft(f"w{number}") for number in range(20)]
        await store.commit(drafts[3].create())
        taken, fresh = Draft("w3"), [draft for draft in drafts if draft.id != "w3"]
        stale = Draft("w99")
        stale.create()
        writes = [taken.create(), stale.fail(), *(draft.create() for draft in fresh)]
        outcomes = await asyncio.gather(*(store.commit(write) for write in writes), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes[:2]] == [AlreadyExists, Conflict]
        assert outcomes[2:] == [None] * 19
        positions = [write.events[0].position for write in writes[2:]]
        assert positions == list(range(2, 21))
        assert writes[0].events[0].position == 0

    async def test_a_write_goes_through_though_its_caller_is_cancelled(self, store: Store) -> None:
        committing = asyncio.create_task(store.commit(Draft("w1").create()))
        await asyncio.sleep(0)
        committing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await committing
        await store.commit(Draft("w2").create())
        assert await store.load(NS, "w1") is not None

    async def test_a_snapshot_holds_the_row_and_the_tasks_of_one_moment(self, store: Store) -> None:
        draft = Draft("w1")
        await store.commit(draft.create())
        await store.commit(draft.plan(*(task(f"t{number}") for number in range(600))))
        reading = asyncio.create_task(store.snapshot(NS, "w1"))
        await asyncio.sleep(0)
        seq = draft.seq
        await store.commit(draft.begin("t599"))
        snapshot = await reading
        assert snapshot is not None
        assert snapshot.summary.seq == seq
        assert [row.ordinal for row in snapshot.tasks] == list(range(600))
        assert snapshot.tasks[599].progress.status is TaskStatus.PENDING

    async def test_namespaces_do_not_see_each_other(self, store: Store) -> None:
        await planned(store, "w1", "ours")
        await planned(store, "w1", "theirs")
        secret = blob_of("theirs alone")
        await store.put_blobs("theirs", [secret])
        await remember(store, "theirs", "key", "theirs alone")
        assert await store.load("others", "w1") is None
        assert len(await store.list_summaries("ours", WorkflowFilter(), 10)) == 1
        assert {record.namespace for record in await store.events_after_position("ours", 0, 100)} == {"ours"}
        assert await store.memory.newest("ours", "global", "key", START_US) is None
        with pytest.raises(Unavailable):
            await store.blob("ours", secret.digest)

    async def test_settled_workflows_are_found_by_the_time_of_their_end_in_pages(self, store: Store) -> None:
        drafts = {}
        for namespace, name, age in (
            ("b", "w1", 9),
            ("a", "w2", 9),
            ("a", "w3", 8),
            ("a", "young", 1),
            ("c", "live", 9),
        ):
            drafts[name] = Draft(name, namespace, created_us=START_US - age * 1_000)
            await store.commit(drafts[name].create())
            if name != "live":
                await store.commit(drafts[name].fail())
        before = START_US - 2_000
        first = await store.finished_before(before, 2)
        assert [(row.namespace, row.workflow_id) for row in first] == [("a", "w2"), ("a", "w3")]
        rest = await store.finished_before(before, 2, first[-1])
        assert [(row.namespace, row.workflow_id) for row in rest] == [("b", "w1")]
        assert await store.finished_before(before, 2, rest[-1]) == []
        # It is the end that counts, not the beginning.
        assert drafts["w2"].time_us == START_US - 9_000 + 2
        assert await store.finished_before(START_US - 9_000 + 1, 9) == []

    # Deletion

    async def test_of_a_deleted_workflow_one_event_stays(self, store: Store) -> None:
        draft = await planned(store)
        last = draft.erase()
        await store.delete(last)
        assert await store.load(NS, "w1") is None
        assert await store.list_tasks(NS, "w1") == []
        assert await store.live() == []
        (tombstone,) = await store.events(NS, "w1", 0, 100)
        assert (tombstone.seq, tombstone.event) == (draft.seq, e.WorkflowDeleted())
        assert tombstone.position == last.events[0].position == await store.last_position()
        assert await store.oldest_seq(NS, "w1") == draft.seq

    async def test_the_id_of_a_deleted_workflow_is_never_given_again(self, store: Store) -> None:
        draft = await planned(store)
        await store.delete(draft.erase())
        with pytest.raises(AlreadyExists):
            await store.commit(Draft("w1").create())

    async def test_a_deletion_erases_the_blobs_that_nothing_else_uses(self, store: Store, reopen: Reopen) -> None:
        draft, other = await planned(store, "w1"), await planned(store, "w2")
        remembered, own = blob_of("remembered"), draft.query
        await store.commit(draft.write(e.ResourcesAllocated(), blobs=(remembered,)))
        await remember(store, NS, "key", "remembered")
        await store.delete(draft.erase())
        with pytest.raises(Unavailable):
            await store.blob(NS, own.digest)
        store = await reopen()
        with pytest.raises(Unavailable):
            await store.blob(NS, own.digest)
        assert await store.blob(NS, remembered.digest) == b"remembered"
        assert await store.blob(NS, other.query.digest) == other.query.data
        assert await store.blob(NS, blob_of("do t0").digest) == b"do t0"

    async def test_a_stale_deletion_erases_nothing(self, store: Store) -> None:
        draft = await planned(store)
        deletion = draft.erase()
        newer = Draft("w1")
        newer.state, newer.seq = draft.state, draft.seq - 1
        await store.commit(newer.fail())
        with pytest.raises(Conflict):
            await store.delete(deletion)
        assert len(await store.list_tasks(NS, "w1")) == 3

    # Lists

    async def test_workflows_are_listed_newest_first_page_by_page(self, store: Store) -> None:
        for number in (3, 1, 2):
            await store.commit(Draft(f"w{number}", created_us=START_US + number // 2).create())
        first = await store.list_summaries(NS, WorkflowFilter(), 2)
        after = PageKey(first[-1].progress.created_us, first[-1].id)
        second = await store.list_summaries(NS, WorkflowFilter(), 2, after)
        assert [summary.id for summary in first + second] == ["w3", "w2", "w1"]
        assert first[0] == await store.get_summary(NS, "w3")

    async def test_filters_narrow_a_list(self, store: Store) -> None:
        red = Draft("red", labels=(("team", "a"), ("env", "test")), title="100% red")
        blue = Draft("blue", labels=(("team", "a"),), created_us=START_US + 10)
        for draft in (red, blue):
            await store.commit(draft.create())
        await store.commit(blue.fail())

        async def ids(where: WorkflowFilter) -> list[str]:
            return [summary.id for summary in await store.list_summaries(NS, where, 10)]

        assert await ids(WorkflowFilter(labels=(("team", "a"),))) == ["blue", "red"]
        assert await ids(WorkflowFilter(labels=(("team", "a"), ("env", "test")))) == ["red"]
        assert await ids(WorkflowFilter(statuses=(WorkflowStatus.FAILED,))) == ["blue"]
        assert await ids(WorkflowFilter(title_prefix="100%")) == ["red"]
        assert await ids(WorkflowFilter(created_from_us=START_US + 10)) == ["blue"]
        assert await ids(WorkflowFilter(created_before_us=START_US + 10)) == ["red"]

    async def test_live_workflows_come_oldest_first_and_ended_ones_not(self, store: Store) -> None:
        ended, waiting = Draft("ended"), Draft("waiting", auto_start=False, created_us=START_US + 5)
        timed = Draft("timed", deadline_us=START_US + 99, created_us=START_US + 1)
        for draft in (ended, waiting, timed):
            await store.commit(draft.create())
        await store.commit(ended.fail())
        await store.commit(waiting.write(e.PlanningStarted(1), touched=()))
        await store.commit(waiting.write(e.PlanAdopted(1, (task("t0"),), PlanSource.CLIENT), touched=None))
        assert await store.live() == [(NS, "timed", START_US + 99, False), (NS, "waiting", None, True)]

    async def test_an_ended_workflow_that_holds_resources_is_still_live(self, store: Store) -> None:
        draft = Draft("w1", holds_resources=True)
        await store.commit(draft.create())
        planned_and_started = (e.PlanAdopted(1, (task("t0"),), PlanSource.CLIENT), e.WorkflowStarted())
        await store.commit(draft.write(*planned_and_started, touched=None))
        # What was asked for may have been given, even if the answer never came.
        await store.commit(draft.write(e.WorkflowFailed(FAILURE)))
        assert [row.workflow_id for row in await store.live()] == ["w1"]
        await store.commit(draft.write(e.ResourcesReturned()))
        assert await store.live() == []

    async def test_tasks_are_listed_by_ordinal_status_and_page(self, store: Store) -> None:
        draft = await planned(store)
        await store.commit(draft.begin("t0"))
        assert [row.spec.id for row in await store.list_tasks(NS, "w1", limit=2)] == ["t0", "t1"]
        assert [row.spec.id for row in await store.list_tasks(NS, "w1", after_ordinal=1)] == ["t2"]
        running = await store.list_tasks(NS, "w1", statuses=(TaskStatus.RUNNING, TaskStatus.FAILED))
        assert [row.spec.id for row in running] == ["t0"]

    async def test_tasks_enter_and_leave_the_plan(self, store: Store) -> None:
        draft = await planned(store)
        amended = e.PlanAmended(2, PlanSource.CLIENT, 3, added=(task("t3"),), removed=("t2",))
        write = draft.write(amended, touched=("t2", "t3"))
        remaining = write.state.tasks.delete("t2") if "t2" in write.state.tasks else write.state.tasks
        await store.commit(replace(write, state=replace(write.state, tasks=remaining)))
        rows = await store.list_tasks(NS, "w1")
        assert [(row.ordinal, row.spec.id) for row in rows] == [(0, "t0"), (1, "t1"), (3, "t3")]

    async def test_a_new_plan_takes_the_place_of_the_old_one(self, store: Store) -> None:
        draft = await planned(store)
        write = draft.write(e.WorkflowFailed(FAILURE), touched=None)
        remaining = write.state.tasks.delete("t1")
        await store.commit(replace(write, state=replace(write.state, tasks=remaining)))
        assert [row.spec.id for row in await store.list_tasks(NS, "w1")] == ["t0", "t2"]

    async def test_a_task_that_was_never_stored_cannot_move(self, store: Store) -> None:
        draft = Draft("w1")
        await store.commit(draft.create())
        draft.plan(task("t0"))
        begun = draft.begin("t0")
        for record in begun.events:
            record.seq -= 3
        with pytest.raises(Unavailable, match="tasks are not all there"):
            await store.commit(replace(begun, base_seq=1))

    async def test_an_idle_workflow_is_one_that_only_a_person_or_its_time_moves_on(self, store: Store) -> None:
        draft = await planned(store)
        assert [row.idle for row in await store.live()] == [False]
        for status, idle in (
            (WorkflowStatus.READY, True),
            (WorkflowStatus.PAUSED, True),
            (WorkflowStatus.RUNNING, False),
        ):
            write = draft.write(e.ResourcesAllocated())
            progress = replace(write.state.progress, status=status)
            await store.commit(replace(write, state=replace(write.state, progress=progress)))
            assert [row.idle for row in await store.live()] == [idle]
