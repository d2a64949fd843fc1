"""What every store promises about the call journal. `conformance` says how a store joins."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from orcs_server.errors import Conflict, Unavailable
from orcs_server.storage.journal import CutOff, JournalHead, JournalKey, ModelCall, Spent, ToolCall
from orcs_server.storage.store import Store, blob_of
from orcs_server.workflow.model import Usage
from tests.storage.conformance_rows import Reopen
from tests.storage.samples import Draft

NS = "default"
KEY = JournalKey(NS, "w1", "t0", 1)
RESPONSES = [blob_of(f"response {number}") for number in range(3)]
CALLS = [ModelCall("", number, f"hash {number}", blob.digest) for number, blob in enumerate(RESPONSES)]


class JournalConformance:
    """Journals: appending, continuing, deleting."""

    async def test_a_journal_comes_back_as_it_was_written(self, store: Store, reopen: Reopen) -> None:
        await store.commit(Draft("w1").create())
        result = blob_of("result")
        inner = ModelCall("a%2Fb/c", 0, "hash", RESPONSES[2].digest)
        started = ToolCall("", "call", "pay", repeatable=False)
        await store.append_journal(KEY, 1, [CALLS[0], started, inner], [RESPONSES[0], RESPONSES[2]])
        finished = replace(started, result=result.digest)
        await store.append_journal(KEY, 1, [finished, ToolCall("", "open", "look", repeatable=True)], [result])
        store = await reopen()
        rows = await store.open_journal(KEY, 2)
        assert rows.model_calls == [CALLS[0], inner]
        assert rows.tool_calls == [finished, ToolCall("", "open", "look", repeatable=True)]
        assert await store.blob(NS, result.digest) == b"result"

    async def test_runs_do_not_see_one_another(self, store: Store) -> None:
        others = [KEY._replace(run=2), KEY._replace(task_id=""), KEY._replace(namespace="other")]
        await store.commit(Draft("w1").create())
        await store.commit(Draft("w1", "other").create())
        await store.append_journal(KEY, 1, [CALLS[0]], [RESPONSES[0]])
        for key in others:
            rows = await store.open_journal(key, 1)
            assert (rows.model_calls, rows.tool_calls) == ([], [])

    async def test_a_course_that_is_left_is_cut_off(self, store: Store) -> None:
        await store.commit(Draft("w1").create())
        await store.append_journal(KEY, 1, CALLS, RESPONSES)
        other = replace(CALLS[2], path="call")
        await store.append_journal(KEY, 1, [other, CutOff("", 1)])
        assert (await store.open_journal(KEY, 2)).model_calls == [CALLS[0], other]

    async def test_only_the_latest_attempt_writes(self, store: Store) -> None:
        await store.commit(Draft("w1").create())
        await store.append_journal(KEY, 1, [CALLS[0]], [RESPONSES[0]])
        await store.open_journal(KEY, 3)
        with pytest.raises(Conflict, match="attempt 3 has taken over"):
            await store.append_journal(KEY, 1, [CALLS[1]], [RESPONSES[1]])
        with pytest.raises(Conflict, match="attempt 3 has taken over"):
            await store.open_journal(KEY, 2)
        assert (await store.open_journal(KEY, 3)).model_calls == [CALLS[0]]

    async def test_of_calls_that_are_stored_together_only_those_of_an_overtaken_attempt_are_refused(
        self, store: Store
    ) -> None:
        await store.commit(Draft("w1").create())
        other = KEY._replace(task_id="t1")
        await store.open_journal(KEY, 2)
        await store.append_journal(other, 1, CALLS[:2], RESPONSES[:2])
        outcomes = await asyncio.gather(
            store.append_journal(KEY, 1, [CALLS[0]], [RESPONSES[0]]),
            store.append_journal(other, 1, [CutOff("", 1)]),
            store.append_journal(other, 1, [CALLS[2]], [RESPONSES[2]]),
            store.append_journal(KEY, 2, [ToolCall("", "call", "pay", repeatable=False)]),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [Conflict, type(None), type(None), type(None)]
        assert (await store.open_journal(other, 1)).model_calls == [CALLS[0], CALLS[2]]
        rows = await store.open_journal(KEY, 2)
        assert (rows.model_calls, len(rows.tool_calls)) == ([], 1)
        heads = await store.journal_heads(NS, "w1")
        assert {name: head.grown_in for name, head in heads.items()} == {"t0": 0, "t1": 1}

    async def test_calls_that_are_stored_together_count_as_growth_of_the_later_attempt(self, store: Store) -> None:
        await store.commit(Draft("w1").create())
        await asyncio.gather(
            store.append_journal(KEY, 1, [CALLS[0]], [RESPONSES[0]], Spent(3, Usage(3, 24))),
            store.append_journal(KEY, 2, [ToolCall("", "call", "pay", repeatable=False)]),
            store.append_journal(KEY, 2, [CALLS[1], CutOff("", 1), CALLS[2]], RESPONSES[1:], Spent(1, Usage(1, 8))),
        )
        assert (await store.open_journal(KEY, 2)).model_calls == [CALLS[0], CALLS[2]]
        assert await store.journal_heads(NS, "w1") == {"t0": JournalHead(2, Spent(1, Usage(1, 8)), 2)}

    async def test_growth_is_by_finished_calls(self, store: Store) -> None:
        await store.commit(Draft("w1").create())
        await store.append_journal(KEY, 1, [CALLS[0]], [RESPONSES[0]])
        assert await store.journal_heads(NS, "w1") == {"t0": JournalHead(1, Spent(), 1)}
        await store.append_journal(KEY, 2, [ToolCall("", "call", "pay", repeatable=False)])
        assert await store.journal_heads(NS, "w1") == {"t0": JournalHead(2, Spent(), 1)}
        result = blob_of("result")
        await store.append_journal(
            KEY, 2, [ToolCall("", "call", "pay", repeatable=False, result=result.digest)], [result]
        )
        assert await store.journal_heads(NS, "w1") == {"t0": JournalHead(2, Spent(), 2)}
        assert await store.journal_heads(NS, "w2") == {}

    async def test_what_an_attempt_has_spent_is_stored_with_its_entries(self, store: Store, reopen: Reopen) -> None:
        await store.commit(Draft("w1").create())
        first, later = Spent(2, Usage(2, 30, 0, 10)), Spent(3, Usage(3, 45, 5, 12, 2, 7))
        await store.append_journal(KEY, 1, [CALLS[0]], [RESPONSES[0]], later)
        await store.append_journal(KEY, 1, [CutOff("", 0)], (), first)
        await store.append_journal(KEY, 1, [ToolCall("", "call", "pay", repeatable=False)])
        await store.append_journal(KEY._replace(task_id=""), 1, [CALLS[0]], [RESPONSES[0]], first)
        store = await reopen()
        assert await store.journal_heads(NS, "w1") == {"t0": JournalHead(1, later, 1), "": JournalHead(1, first, 1)}

    async def test_each_attempt_counts_what_it_spends_from_nothing(self, store: Store) -> None:
        await store.commit(Draft("w1").create())
        await store.append_journal(KEY, 1, [CALLS[0]], [RESPONSES[0]], Spent(5, Usage(5, 50)))
        await store.open_journal(KEY, 2)
        assert await store.journal_heads(NS, "w1") == {"t0": JournalHead(2, Spent(), 1)}
        await store.append_journal(KEY, 2, [CALLS[1]], [RESPONSES[1]], Spent(1, Usage(1, 9)))
        await store.append_journal(KEY._replace(run=2), 3, [CALLS[2]], [RESPONSES[2]], Spent(1, Usage(1, 8)))
        assert await store.journal_heads(NS, "w1") == {"t0": JournalHead(3, Spent(1, Usage(1, 8)), 3)}

    async def test_a_journal_goes_with_its_workflow(self, store: Store) -> None:
        drafts = [Draft("w1"), Draft("w2")]
        for draft in drafts:
            await store.commit(draft.create())
            key = KEY._replace(workflow_id=draft.id)
            await store.append_journal(
                key, 1, [CALLS[0], ToolCall("", "call", "pay", repeatable=False)], [RESPONSES[0]]
            )
        await store.append_journal(KEY, 1, [CALLS[1]], [RESPONSES[1]])
        await store.commit(drafts[0].fail())
        await store.delete(drafts[0].erase())
        assert await store.journal_heads(NS, "w1") == {}
        rows = await store.open_journal(KEY, 1)
        assert (rows.model_calls, rows.tool_calls) == ([], [])
        assert await store.blob(NS, RESPONSES[0].digest) == RESPONSES[0].data
        with pytest.raises(Unavailable):
            await store.blob(NS, RESPONSES[1].digest)
        with pytest.raises(Conflict, match="the workflow is gone"):
            await store.append_journal(KEY, 1, [CALLS[0]], [RESPONSES[0]])
