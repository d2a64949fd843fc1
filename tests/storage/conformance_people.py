"""What every store promises about what waits for people, messages, and frozen namespaces. `conformance` says how a store joins."""

from __future__ import annotations

import pytest

from orcs_server.storage.journal import CutOff, JournalKey, MessageRead
from orcs_server.storage.people import Freeze, InputFilter, InputKey
from orcs_server.storage.store import DuplicateRequest, RequestKey, RequestRecord, Store, blob_of
from orcs_server.workflow import events as e
from orcs_server.workflow.model import Budget, StopMode
from orcs_server.workflow.people import InputKind, MessageMode, Need, PendingInput, PersonMessage, Resolution
from orcs_server.workflow.restore import restore
from tests.storage.conformance_rows import NS, Reopen, planned
from tests.storage.samples import START_US, Draft

QUESTION = blob_of('{"type": "string"}')


def asked(draft: Draft, ordinal: int, kind: InputKind = InputKind.QUESTION, task_id: str = "t0") -> e.InputRequested:
    need = Need(kind, f"question {ordinal}", f"/{ordinal}", answer_schema=QUESTION.digest)
    return e.InputRequested(PendingInput(f"i{ordinal}", ordinal, need, draft.time_us, task_id, 1, 1))


class PeopleConformance:
    """Inputs, messages, freezes."""

    async def test_what_waits_and_what_was_said_restore_the_state(self, store: Store, reopen: Reopen) -> None:
        draft = await planned(store)
        await store.commit(draft.begin("t0"))
        await store.commit(
            draft.write(
                asked(draft, 1),
                asked(draft, 2),
                e.AttemptSuspended(1, ("i1", "i2"), "t0"),
                touched=("t0",),
                blobs=(QUESTION,),
            )
        )
        answer, text = blob_of("blue"), blob_of("hurry")
        message = PersonMessage("m1", 1, MessageMode.QUEUE, text.digest, draft.time_us, "", "ada")
        resolved = e.InputResolved("i1", Resolution.ANSWERED, "t0", answer.digest, "", "ada")
        await store.commit(draft.write(resolved, e.MessageReceived(message), touched=("t0",), blobs=(answer, text)))
        stored = await (await reopen()).load(NS, "w1")
        assert stored is not None
        rows = [*stored.tasks]
        assert restore(NS, "w1", stored.spec, stored.progress, rows, stored.inputs, stored.mail) == draft.current

    async def test_the_inbox_lists_what_waits_oldest_first(self, store: Store) -> None:
        first, second, other = await planned(store, "w1"), await planned(store, "w2"), await planned(store, "w3", "red")
        second.time_us += 5
        for draft, events in (
            (first, (asked(first, 1), asked(first, 2, InputKind.TASK_APPROVAL, "t1"))),
            (second, (asked(second, 1),)),
            (other, (asked(other, 1),)),
        ):
            await store.commit(draft.write(*events))
        await store.commit(first.write(e.InputResolved("i1", Resolution.WITHDRAWN, "t0")))
        waiting = await store.list_inputs(NS, InputFilter(), 10)
        assert [(one.workflow_id, one.input.id) for one in waiting] == [("w1", "i2"), ("w2", "i1")]
        assert waiting[0].title == "Title of w1"
        after = InputKey(waiting[0].input.created_us, "w1", 2)
        assert [one.workflow_id for one in await store.list_inputs(NS, InputFilter(), 10, after)] == ["w2"]
        wanted = InputFilter(open_only=False, kinds=(InputKind.QUESTION,), workflow_id="w1", task_id="t0")
        (gone,) = await store.list_inputs(NS, wanted, 10)
        assert gone.input.resolution is Resolution.WITHDRAWN
        assert await store.get_input(NS, "w1", "i1") == gone.input
        for unknown in ("i9", "x", "i01", "i99999999999"):
            assert await store.get_input(NS, "w1", unknown) is None

    async def test_a_workflow_that_waits_for_an_answer_is_idle_until_its_deadline(self, store: Store) -> None:
        draft = await planned(store)
        await store.commit(draft.begin("t0"))
        need = Need(InputKind.QUESTION, "which?", "/1", expires_after_us=50)
        waits = PendingInput("i1", 1, need, draft.time_us, "t0", 1, 1, START_US + 50)
        await store.commit(draft.write(e.InputRequested(waits), e.AttemptSuspended(1, ("i1",), "t0"), touched=("t0",)))
        assert [(row.idle, row.wake_at_us) for row in await store.live()] == [(True, START_US + 50)]
        await store.commit(
            draft.write(e.InputResolved("i1", Resolution.EXPIRED, "t0"), e.TaskReady("t0"), touched=("t0",))
        )
        assert [(row.idle, row.wake_at_us) for row in await store.live()] == [(False, None)]

    async def test_a_changed_workflow_keeps_its_new_labels_and_budget(self, store: Store, reopen: Reopen) -> None:
        draft = Draft("w1", labels=(("team", "red"),))
        await store.commit(draft.create())
        changed = e.WorkflowUpdated(budget=Budget(tokens=5), labels=(("team", "blue"),))
        await store.commit(draft.write(changed))
        summary = await (await reopen()).get_summary(NS, "w1")
        assert summary is not None
        assert (summary.spec.budget, summary.spec.labels) == (Budget(tokens=5), (("team", "blue"),))

    async def test_deleting_a_workflow_takes_what_people_said_along(self, store: Store) -> None:
        draft = await planned(store)
        text = blob_of("a secret")
        said = e.MessageReceived(PersonMessage("m1", 1, MessageMode.QUEUE, text.digest, draft.time_us))
        await store.commit(draft.write(asked(draft, 1), said, blobs=(text, QUESTION)))
        key = JournalKey(NS, "w1", "t0", 1)
        await store.append_journal(key, 1, [MessageRead("", 0, 1, "m1")])
        await store.commit(draft.fail())
        await store.delete(draft.erase())
        assert await store.list_inputs(NS, InputFilter(open_only=False), 10) == []
        assert await store.load(NS, "w1") is None

    async def test_the_journal_knows_where_a_message_was_read(self, store: Store) -> None:
        await planned(store)
        key = JournalKey(NS, "w1", "t0", 1)
        first, second = MessageRead("", 0, 1, "m1"), MessageRead("", 2, 7, "m2")
        await store.append_journal(key, 1, [first, second])
        assert (await store.open_journal(key, 2)).messages == [first, second]
        await store.append_journal(key, 2, [CutOff("", 1)])
        assert (await store.open_journal(key, 3)).messages == [first]

    async def test_freezes_outlive_a_restart(self, store: Store, reopen: Reopen) -> None:
        assert await store.freezes() == []
        await store.put_freeze(Freeze("red", StopMode.DRAIN, "an incident"))
        await store.put_freeze(Freeze("blue", StopMode.IMMEDIATE))
        await store.put_freeze(Freeze("red", StopMode.DRAIN, "an incident", thawing=True))
        store = await reopen()
        assert await store.freezes() == [
            Freeze("blue", StopMode.IMMEDIATE),
            Freeze("red", StopMode.DRAIN, "an incident", thawing=True),
        ]
        await store.end_freeze("red")
        assert [freeze.namespace for freeze in await store.freezes()] == ["blue"]

    async def test_a_freeze_and_its_request_are_stored_together_and_once(self, store: Store, reopen: Reopen) -> None:
        request = RequestRecord(RequestKey("red", "ada", "FreezeNamespace", "once"), "hash", "", 0, START_US)
        await store.put_freeze(Freeze("red", StopMode.DRAIN), request)
        await store.end_freeze("red")
        store = await reopen()
        with pytest.raises(DuplicateRequest) as caught:
            await store.put_freeze(Freeze("red", StopMode.IMMEDIATE), request)
        assert caught.value.record == request
        assert await store.freezes() == []
