"""The inbox of a namespace, listed and watched over restarts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from orcs_client import InputsUpdate
from orcs_client.v1 import workflow_pb2 as w
from tests.control.script import ask, task, wire_money
from tests.control.stage import APPROVE, PAUSED, Stage, until

QUESTION, TOOL = w.PENDING_INPUT_KIND_QUESTION, w.PENDING_INPUT_KIND_TOOL_APPROVAL


async def test_the_inbox_shows_what_waits_whatever_happens_to_the_server(stage: Stage) -> None:
    updates: list[InputsUpdate] = []

    async def follow() -> None:
        async with aclosing(stage.watching.watch_pending_inputs()) as items:
            async for update in items:
                updates.append(update)  # noqa: PERF401 - read while it grows

    def known() -> dict[tuple[str, str], w.InputResolution.ValueType]:
        found: dict[tuple[str, str], w.InputResolution.ValueType] = {}
        for update in updates:
            if update.snapshot:
                found.clear()
            found |= {(one.workflow_id, one.id): one.resolution for one in update.inputs}
            for gone in update.removed_workflow_ids:
                found = {key: value for key, value in found.items() if key[0] != gone}
        return found

    following = asyncio.create_task(follow())
    asking = [await stage.create(task("a", [ask("q", f"Question {number}?")])) for number in range(3)]
    wiring = await stage.create(task("a", [wire_money("t")]), title="Wire")
    await until(lambda: len(known()) == 4)
    await stage.restart()
    waiting = [one async for one in stage.client.list_pending_inputs(page_size=1)]
    assert {(one.workflow_id, one.id) for one in waiting} == set(known())
    assert [one.create_time.ToNanoseconds() for one in waiting] == sorted(
        one.create_time.ToNanoseconds() for one in waiting
    )
    kinds = [one async for one in stage.client.list_pending_inputs(kinds=[TOOL])]
    assert [(one.workflow_id, one.workflow_title, one.kind) for one in kinds] == [(wiring, "Wire", TOOL)]
    await stage.client.answer_input(asking[0], "i1", "one")
    await stage.restart()
    await stage.client.cancel_workflow(asking[1])
    await stage.decide(await stage.input(wiring), APPROVE)
    wanted = {
        (asking[0], "i1"): w.INPUT_RESOLUTION_ANSWERED,
        (asking[1], "i1"): w.INPUT_RESOLUTION_WITHDRAWN,
        (asking[2], "i1"): w.INPUT_RESOLUTION_UNSPECIFIED,
        (wiring, "i1"): w.INPUT_RESOLUTION_APPROVED,
    }
    await until(lambda: known() == wanted, lambda: str(known()))
    await stage.end_of(wiring)
    await stage.restart()
    assert [one.workflow_id async for one in stage.client.list_pending_inputs()] == [asking[2]]
    whole = [one async for one in stage.client.list_pending_inputs(include_resolved=True)]
    assert {(one.workflow_id, one.id): one.resolution for one in whole} == wanted
    await stage.watched(wiring)
    await stage.client.delete_workflow(wiring)
    await until(lambda: (wiring, "i1") not in known())
    later = await stage.create(task("a", [ask("q", "Later?")]))
    await until(lambda: (later, "i1") in known())
    for workflow_id in (asking[2], later):
        await stage.client.answer_input(workflow_id, "i1", "so be it")
    await asyncio.gather(*(stage.end_of(one) for one in (asking[0], asking[2], later)))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert stage.calls("a").count("tool t") == 1


async def test_a_watch_of_one_workflow_and_kind_goes_on_after_its_cursor(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [ask("q", "Yes?")]), task("b", [wire_money("t")]))
    other = await stage.create(task("a", [ask("q", "No?")]))
    await stage.inputs(workflow_id, 2)
    await stage.input(other)
    async with aclosing(stage.client.watch_pending_inputs(workflow_id=workflow_id, kinds=[QUESTION])) as items:
        first = await anext(items)
    assert [(one.workflow_id, one.task_id) for one in first.inputs] == [(workflow_id, "a")]
    await stage.restart()
    (asked,) = first.inputs
    await stage.client.pause_workflow(workflow_id)
    await stage.until(workflow_id, PAUSED)
    await stage.client.answer_input(workflow_id, asked.id, "yes")
    async with aclosing(
        stage.client.watch_pending_inputs(workflow_id=workflow_id, kinds=[QUESTION], after_cursor=first.cursor)
    ) as items:
        second = await anext(items)
    assert [(one.id, one.resolution) for one in second.inputs] == [(asked.id, w.INPUT_RESOLUTION_ANSWERED)]
    for one in (workflow_id, other):
        await stage.client.cancel_workflow(one)
        await stage.until(one, w.WORKFLOW_STATE_CANCELLED)
