"""Fifty clients control one workflow at once, at random, while it runs and ends: every answer is a yes or a documented no, and what
comes of it is sound.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from orcs_client import (
    Conflict,
    IllegalTransition,
    InternalError,
    InvalidArgument,
    NotFound,
    OrcsClient,
    OrcsError,
    Unavailable,
    add_task,
    budget,
    change_task,
    remove_task,
    set_dependencies,
)
from orcs_client.v1 import workflow_pb2 as w
from tests.control.calls import Call, noted
from tests.control.script import ask, delegate, look, pay, planned, propose, script, task, wire_money
from tests.control.stage import APPROVE, CANCELLED, COMPLETED, EDIT, FAILED, PAUSED, REJECT, Stage
from tests.torture.calls import BEGUN

CLIENTS = 50
REQUESTS = 8
"""Of each client."""
REFUSALS = {
    (IllegalTransition, "ILLEGAL_TRANSITION"),
    (IllegalTransition, "INPUT_ALREADY_RESOLVED"),
    (IllegalTransition, "NAMESPACE_FROZEN"),
    (IllegalTransition, "WORKFLOW_TERMINAL"),
    (Conflict, "STALE_APPROVAL"),
    (Conflict, "STALE_REVISION"),
    (NotFound, "INPUT_NOT_FOUND"),
    (NotFound, "TASK_NOT_FOUND"),
    (InvalidArgument, "PLAN_INVALID"),
    (InvalidArgument, "FIELD_INVALID"),
}
"""What a request may be told that the state does not allow."""
MODES = (w.STOP_MODE_DRAIN, w.STOP_MODE_AFTER_TURN, w.STOP_MODE_IMMEDIATE)
ENDED = (COMPLETED, FAILED, CANCELLED)


def expect(what: str, error: OrcsError, documented: bool) -> None:
    """Fail for an answer that nothing allows."""
    assert documented, (what, type(error).__name__, error.reason, error.message)


class Crowd:
    """Clients that do anything."""

    def __init__(self, stage: Stage, workflow_id: str, seed: int) -> None:
        self.answers: Counter[str] = Counter()
        self._stage = stage
        self._workflow_id = workflow_id
        self._random = random.Random(seed)
        self._acts: tuple[Callable[[], Awaitable[Any]], ...] = (
            self._pause,
            self._resume,
            self._resume,
            self._freeze,
            self._thaw,
            self._thaw,
            self._retry,
            self._skip,
            self._cancel_task,
            self._update_task,
            self._edit,
            self._replan,
            self._send,
            self._answer,
            self._answer,
            self._decide,
            self._decide,
            self._update,
        )

    async def rush(self) -> None:
        """All at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client())

    async def _client(self) -> None:
        for _ in range(REQUESTS):
            await self.attempt(self._random.choice(self._acts))
            await asyncio.sleep(self._random.random() * 0.05)

    async def attempt(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Make a request; only a yes, a documented no, or no server at all is right."""
        name = act.__name__.strip("_")
        try:
            await act()
        except (Unavailable, InternalError) as error:
            # Without a reason no server answered: the kill broke the connection off.
            expect(name, error, error.reason in ("", "SERVER_DRAINING"))
            self.answers["no server"] += 1
        except OrcsError as error:
            expect(name, error, (type(error), error.reason) in REFUSALS)
            self.answers[f"{name}: {error.reason}"] += 1
        else:
            self.answers[name] += 1

    @property
    def _api(self) -> OrcsClient:
        return self._stage.watching

    def _task(self) -> str:
        return f"t{self._random.randint(1, 12)}"

    def _text(self) -> str:
        return script([look(f"l{self._random.randrange(10**9)}")])

    async def _pause(self) -> Any:
        return await self._api.pause_workflow(self._workflow_id, mode=self._random.choice(MODES))

    async def _resume(self) -> Any:
        return await self._api.resume_workflow(self._workflow_id)

    async def _freeze(self) -> Any:
        return await self._api.freeze_namespace(mode=self._random.choice(MODES))

    async def _thaw(self) -> Any:
        return await self._api.thaw_namespace()

    async def _retry(self) -> Any:
        described = self._random.choice((None, self._text()))
        dependants = self._random.random() < 0.5
        return await self._api.retry_task(
            self._workflow_id, self._task(), description=described, include_dependants=dependants
        )

    async def _skip(self) -> Any:
        substitute = self._random.choice((None, "a substitute"))
        return await self._api.skip_task(self._workflow_id, self._task(), substitute=substitute)

    async def _cancel_task(self) -> Any:
        return await self._api.cancel_task(self._workflow_id, self._task(), reason="at random")

    async def _update_task(self) -> Any:
        return await self._api.update_task(self._workflow_id, self._task(), priority=self._random.randint(-9, 9))

    async def _edit(self) -> Any:
        edits = {
            "add": add_task(**task(f"x{self._random.randrange(10**9)}", needs=self._task())),
            "change": change_task(self._task(), description=self._text()),
            "remove": remove_task(self._task()),
            "depend": set_dependencies(self._task(), {self._task(), self._task()}),
        }
        names = self._random.sample(sorted(edits), self._random.randint(1, 2))
        revision = self._random.choice((None, None, 1, 2))
        return await self._api.edit_plan(self._workflow_id, [edits[name] for name in names], plan_revision=revision)

    async def _replan(self) -> Any:
        return await self._api.replan(self._workflow_id, planned(task("anew")))

    async def _send(self) -> Any:
        mode = self._random.choice((w.MESSAGE_MODE_QUEUE, w.MESSAGE_MODE_INTERRUPT))
        task_id = self._random.choice(("", self._task()))
        return await self._api.send_message(self._workflow_id, "Hurry up.", task_id=task_id, mode=mode)

    async def _answer(self) -> Any:
        answer = self._random.choice(("yes", "no"))
        share = self._random.random() < 0.5
        return await self._api.answer_input(self._workflow_id, f"i{self._random.randint(1, 8)}", answer, share=share)

    async def _decide(self) -> Any:
        asked = (await self._api.get_pending_input(self._workflow_id, f"i{self._random.randint(1, 8)}")).input
        return await resolve(self._api, asked, self._random)

    async def _update(self) -> Any:
        limits = budget(tokens=self._random.choice((50, 10_000)), wall_time=600)
        return await self._api.update_workflow(
            self._workflow_id, budget=limits, priority=self._random.randint(-9, 9), labels={"seen": "yes"}
        )


async def resolve(client: OrcsClient, asked: w.PendingInput, chance: random.Random) -> Any:
    """Resolve an input in some way that its kind has."""
    if asked.kind == w.PENDING_INPUT_KIND_QUESTION:
        return await client.answer_input(asked.workflow_id, asked.id, chance.choice(("yes", "no")))
    rest: dict[str, Any] = {}
    decision = chance.choice((APPROVE, APPROVE, REJECT, EDIT))
    if decision == EDIT:
        if asked.kind == w.PENDING_INPUT_KIND_BUDGET:
            rest["budget"] = budget(tokens=10_000)
        elif asked.kind == w.PENDING_INPUT_KIND_TOOL_APPROVAL:
            rest["content"] = {"what": "another"}
        else:
            rest["content"] = script(answer="another")
    return await client.resolve_approval(
        asked.workflow_id, asked.id, decision, subject_sha256=asked.subject_sha256, **rest
    )


def plan_of_everything() -> str:
    """Return a query for twelve tasks that do all that agents can."""
    busy = [[look(f"b{turn}")] for turn in range(4)]
    return planned(
        task("1", *busy),
        task("2", [ask("q", "Shall it?"), look("l")]),
        task("3", [pay("p")], [pay("p2")]),
        task("4", [wire_money("w")]),
        task("5", [delegate("d", [look("in")], [ask("q", "Inner?", choices=["yes", "no"])])]),
        task("6", [propose("n", task("more"), task("still more", [pay("p")]))]),
        task("7", *busy),
        task("8", [pay("p")], *busy),
        task("9", *busy),
        task("10", [ask("q", "And?", default="no", deadline_seconds=1)]),
        task("11", [wire_money("w"), pay("p")]),
        task("12", *busy),
    )


async def bring_to_its_end(stage: Stage, workflow_id: str) -> w.Workflow:
    """Undo what was stopped and give what is asked for, until the workflow has ended."""
    chance = random.Random(0)
    async with asyncio.timeout(60):
        while (workflow := await stage.workflow(workflow_id)).state not in ENDED:
            if workflow.frozen:
                await stage.client.thaw_namespace()
            elif workflow.paused:
                await stage.client.resume_workflow(workflow_id)
            async for one in stage.client.list_pending_inputs(workflow_id=workflow_id):
                asked = (await stage.client.get_pending_input(workflow_id, one.id)).input
                try:
                    await resolve(stage.client, asked, chance)
                except OrcsError as error:
                    expect(one.id, error, (type(error), error.reason) in REFUSALS)
            await asyncio.sleep(0.05)
    return workflow


async def check_once_only(stage: Stage, workflow_id: str) -> None:
    """What must not run twice did so only as often as somebody gave leave."""
    begun: Counter[Call] = Counter(
        call for word, call in noted(stage.folder) if word == BEGUN and call.name.startswith(("p", "w"))
    )
    leave: Counter[str] = Counter()
    async for one in stage.client.list_pending_inputs(workflow_id=workflow_id, include_resolved=True):
        if one.kind == w.PENDING_INPUT_KIND_UNSAFE_RERUN and one.resolution == w.INPUT_RESOLUTION_APPROVED:
            leave[one.task_id] += 1
    assert begun
    for call, times in begun.items():
        assert times <= 1 + leave[call.task_id], (call, times, leave)


@pytest.mark.parametrize(("seed", "killed"), [(1, False), (2, True), (3, True)])
async def test_fifty_clients_at_once_get_an_answer_each_and_leave_a_sound_workflow(
    stage: Stage, seed: int, *, killed: bool
) -> None:
    workflow_id = await stage.create(query=plan_of_everything())
    await stage.begun("t3", "tool p")  # What must not run twice has begun, whatever the crowd does to the rest.
    crowd = Crowd(stage, workflow_id, seed)
    rush = asyncio.create_task(crowd.rush())
    if killed:
        await asyncio.sleep(0.3)
        await stage.restart()
    await rush
    await bring_to_its_end(stage, workflow_id)
    if not killed:
        await stage.restart()
    await check_once_only(stage, workflow_id)
    made = sum(crowd.answers.values())
    assert made == CLIENTS * REQUESTS
    assert crowd.answers["no server"] < made / 2
    await stage.client.thaw_namespace()


async def test_commands_that_race_the_end_are_carried_out_or_refused(stage: Stage) -> None:
    """Each workflow ends while clients pause, cancel and retry it: it comes to one end, and stays there."""
    workflows = [await stage.create(task("t1", [look("l", "g")]), task("t2")) for _ in range(5)]
    for workflow_id in workflows:
        await stage.task_until(workflow_id, "t2", "COMPLETED")
    client, answers = stage.client, Counter[str]()

    async def give(act: Callable[[str], Awaitable[Any]], workflow_id: str) -> None:
        try:
            await act(workflow_id)
        except (IllegalTransition, Conflict) as error:
            expect(workflow_id, error, (type(error), error.reason) in REFUSALS)
            answers["no"] += 1
        else:
            answers["yes"] += 1

    acts = (
        client.pause_workflow,
        client.resume_workflow,
        client.cancel_workflow,
        lambda one: client.cancel_task(one, "t1"),
        lambda one: client.skip_task(one, "t1", reason="late"),
        lambda one: client.send_message(one, "Too late?", task_id="t1"),
        lambda one: client.retry_task(one, "t2"),
    )
    stage.open("g")
    await asyncio.gather(*(give(acts[number % len(acts)], workflows[number % 5]) for number in range(70)))
    await stage.restart()
    assert answers["yes"] + answers["no"] == 70
    for workflow_id in workflows:
        ended = await stage.until(workflow_id, *ENDED, PAUSED)
        if ended.state == PAUSED:
            await stage.client.resume_workflow(workflow_id)
        await stage.until(workflow_id, *ENDED)
