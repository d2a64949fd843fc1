"""The mixed load: clients that create, start, watch and delete workflows of every kind over gRPC, whatever happens to the server.

Each notes what was acknowledged to it and what its watch said, for the checks at the end.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from orcs_client import (
    DeadlineExceeded,
    Event,
    IllegalTransition,
    InternalError,
    InvalidArgument,
    NotFound,
    OrcsClient,
    Unavailable,
    plan,
)
from orcs_client.v1 import event_pb2, workflow_pb2

T = TypeVar("T")


@dataclass
class Story:
    """One workflow as its client saw it."""

    id: str
    kind: str
    options: dict[str, Any]
    acknowledged: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Command -> when its answer came (monotonic, ns), and its cursor."""
    seen: list[tuple[int, event_pb2.Event]] = field(default_factory=list)
    """When the watch yielded the event, and the event."""
    log_before_deletion: list[event_pb2.Event] | None = None
    deletion_asked: bool = False
    ended: bool = False


def make_plan(workflow_id: str, *tasks: tuple[str, str, str], **more: Any) -> workflow_pb2.Plan:
    """Return a plan of (id, agent, dependencies) with the label of each task in its title; `more` holds for the task `odd`."""
    return plan(
        [
            {
                "id": name,
                "title": f"[{workflow_id}/{name}]",
                "description": f"Look into {name}.",
                "agent_id": agent,
                "dependencies": needs.split(),
                **(more if name == "odd" else {}),  # type: ignore[typeddict-item]  # fields of a task
            }
            for name, agent, needs in tasks
        ]
    )


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


FAN = (("a", "steady", ""), ("b", "slow", ""), ("c", "steady", ""), ("join", "steady", "a b c"))
ODD = (("a", "slow", ""), ("odd", "broken", ""), ("b", "steady", "odd"), ("c", "slow", "a"))
CHAIN = (("a", "steady", ""), ("b", "steady", "a"), ("c", "slow", "b"))
TOOLS = (("a", "worker", ""), ("b", "worker", ""), ("c", "steady", "a b"))
ACTS_ONCE = "tools that act once"
STOPPED = "paused and resumed"
FAST = workflow_pb2.FAILURE_POLICY_FAIL_FAST
LATE = workflow_pb2.EXECUTION_SEQUENTIAL

KINDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "query": lambda w: {"query": f"Compare apples, pears and plums for {w}."},
    "fickle query": lambda w: {"query": f"Compare fickle winds and tides for {w}."},
    "fan": lambda w: {"plan": make_plan(w, *FAN)},
    "retries": lambda w: {"plan": make_plan(w, ("a", "fickle", ""), ("odd", "fickle", ""), ("b", "steady", "a"))},
    "optional": lambda w: {"plan": make_plan(w, *ODD, optional=True, max_attempts=1)},
    "isolated": lambda w: {"plan": make_plan(w, *ODD, max_attempts=2)},
    "fail fast": lambda w: {"plan": make_plan(w, *ODD, max_attempts=1), "failure_policy": FAST},
    "sequential": lambda w: {"plan": make_plan(w, *FAN), "execution": LATE},
    "timeout": lambda w: {"plan": make_plan(w, ("odd", "slow", ""), ("b", "steady", ""), timeout=0.1)},
    "deadline": lambda w: {"plan": make_plan(w, *CHAIN), "deadline_time": soon(random.uniform(3, 4))},
    "later": lambda w: {"plan": make_plan(w, *CHAIN), "auto_start": False},
    "planned later": lambda w: {"query": f"Compare tea and coffee for {w}.", "auto_start": False},
    "late": lambda w: {"plan": make_plan(w, *CHAIN), "not_before_time": soon(3)},
    "resources": lambda w: {"plan": make_plan(w, *CHAIN), "resource_requirements": {"desks": 1}},
    "tools": lambda w: {"plan": make_plan(w, *TOOLS)},
    "shaky tools": lambda w: {"plan": make_plan(w, ("odd", "shaky", ""), ("b", "worker", "odd"), max_attempts=8)},
    ACTS_ONCE: lambda w: {"plan": make_plan(w, ("a", "payer", ""), ("b", "steady", ""))},
    STOPPED: lambda w: {"plan": make_plan(w, *TOOLS)},
}
MUST_COMPLETE = frozenset(
    {
        "query",
        "fan",
        "optional",
        "sequential",
        "later",
        "planned later",
        "late",
        "resources",
        "tools",
        ACTS_ONCE,
        STOPPED,
    }
)
"""Kinds with no failure of their own; they may only fail where attempts were lost several times in a row."""
STOPS = (workflow_pb2.STOP_MODE_DRAIN, workflow_pb2.STOP_MODE_AFTER_TURN)
"""Those that cut nothing off."""
MEETING_WORKFLOW = "meeting"
MEETING = 8
"""So many calls of its agent wait for each other."""
STARTED_BY_HAND = frozenset({"later", "planned later"})


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Return the call's answer; while there is none, make it again. It carries the same request id each time."""
    while True:
        try:
            return await call()
        except (Unavailable, DeadlineExceeded) as error:
            if error.reason not in ("", "SERVER_DRAINING"):
                raise
        except InternalError as error:
            if error.reason:  # without one, the connection broke off within the answer
                raise
        await asyncio.sleep(0.02)


class Load:
    """So many clients at a time, each with one workflow after the other, until `stop` is set."""

    def __init__(self, client: OrcsClient, clients: int, seed: int) -> None:
        self.client = client
        self.stories: list[Story] = []
        self.repetitions = 0
        self.stop = asyncio.Event()
        self._clients = clients
        self._last_id = 0
        self._random = random.Random(seed)

    async def run(self) -> None:
        """Return when all clients have seen the end of what they began."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._live())

    async def _live(self) -> None:
        while not self.stop.is_set():
            kinds = list(KINDS)
            kind = kinds[self._last_id % len(kinds)]
            self._last_id += 1
            workflow_id = f"w{self._last_id}"
            options = {**KINDS[kind](workflow_id), "workflow_id": workflow_id, "request_id": f"create-{workflow_id}"}
            story = Story(workflow_id, kind, options)
            self.stories.append(story)
            await self._live_through(story)

    async def _live_through(self, story: Story) -> None:
        if await self._acknowledged(story, "create") is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(story))
            if story.kind in STARTED_BY_HAND:
                group.create_task(self._start(story))
            if story.kind == STOPPED:
                group.create_task(self._stop_and_go(story))
            if story.kind == ACTS_ONCE:
                group.create_task(self._refuse_reruns(story))
        if self._random.random() < 0.5:
            story.log_before_deletion = await self.log(story.id)
            story.deletion_asked = True
            await self._acknowledged(story, "delete")

    async def _acknowledged(self, story: Story, name: str) -> str | None:
        """Give the command until it is acknowledged, at times once more; None where it came too late to be meant."""
        try:
            cursor = await insist(lambda: self.command(story, name))
        except InvalidArgument:
            # No server lived long enough to take it: by now its deadline has passed.
            assert story.kind == "deadline", story.kind
            self.stories.remove(story)
            return None
        story.acknowledged[name] = (time.monotonic_ns(), cursor)
        if self._random.random() < 0.3:
            assert await insist(lambda: self.command(story, name)) == cursor, f"{name} {story.id} again"
            self.repetitions += 1
        return cursor

    async def command(self, story: Story, name: str) -> str:
        """Give a command under its one request id, and return the cursor of the answer."""
        if name == "create":
            created = await self.client.create_workflow(**story.options)
            assert created.workflow.id == story.id
            return created.cursor
        if name == "start":
            return (await self.client.start_workflow(story.id, request_id=f"start-{story.id}")).cursor
        return (await self.client.delete_workflow(story.id, request_id=f"delete-{story.id}")).cursor

    async def _start(self, story: Story) -> None:
        while await self._state(story) != workflow_pb2.WORKFLOW_STATE_READY:
            await asyncio.sleep(0.02)
            if story.ended:
                return
        await self._acknowledged(story, "start")

    async def _stop_and_go(self, story: Story) -> None:
        """Pause the workflow and let it go on, again and again, until it has ended."""
        number = 0
        while not story.ended:
            number += 1
            await asyncio.sleep(self._random.uniform(0.02, 0.3))
            mode, name = self._random.choice(STOPS), f"{number}-{story.id}"
            with suppress(IllegalTransition):  # It has ended meanwhile.
                await insist(lambda: self.client.pause_workflow(story.id, mode=mode, request_id=f"pause-{name}"))  # noqa: B023 - called at once
                await asyncio.sleep(self._random.uniform(0, 0.2))
                await insist(lambda: self.client.resume_workflow(story.id, request_id=f"resume-{name}"))  # noqa: B023 - called at once

    async def _refuse_reruns(self, story: Story) -> None:
        """Say of every call that was cut off, and must not run twice, that it is not to."""
        while not story.ended:
            await asyncio.sleep(0.05)
            for asked in await insist(lambda: self._asked(story)):
                with suppress(IllegalTransition):  # Nobody needs it any more.
                    await insist(lambda: self._refuse(asked))  # noqa: B023 - called at once

    async def _asked(self, story: Story) -> list[workflow_pb2.PendingInput]:
        return [one async for one in self.client.list_pending_inputs(workflow_id=story.id)]

    async def _refuse(self, asked: workflow_pb2.PendingInput) -> None:
        await self.client.resolve_approval(
            asked.workflow_id,
            asked.id,
            workflow_pb2.DECISION_REJECT,
            subject_sha256=asked.subject_sha256,
            request_id=f"refuse-{asked.workflow_id}-{asked.id}",
        )

    async def _state(self, story: Story) -> workflow_pb2.WorkflowState.ValueType:
        return (await insist(lambda: self.client.get_workflow(story.id))).workflow.state

    async def _watch(self, story: Story) -> None:
        async with aclosing(self.client.watch(story.id)) as items:
            async for item in items:
                assert isinstance(item, Event)
                story.seen.append((time.monotonic_ns(), item.message))
        story.ended = True

    async def log(self, workflow_id: str) -> list[event_pb2.Event]:
        """Return the whole log of a workflow that has ended."""
        async with aclosing(self.client.watch(workflow_id)) as items:
            return [item.message async for item in items if isinstance(item, Event)]

    async def repeat_everything(self) -> None:
        """Give every acknowledged command once more: each gets its first answer, or hears that the workflow was deleted."""
        for story in self.stories:
            for name, (_, cursor) in story.acknowledged.items():
                try:
                    assert await self.command(story, name) == cursor, f"{name} {story.id} again"
                except NotFound:
                    assert story.deletion_asked, story.id
                self.repetitions += 1

    async def meet(self, width: int) -> None:
        """Have so many tasks wait for each other, which ends only if each has a slot: none was lost."""
        tasks = [(f"t{number}", "meeting", "") for number in range(width)]
        made = make_plan(MEETING_WORKFLOW, *tasks)
        async with asyncio.timeout(60):
            await self.client.run(plan=made, workflow_id=MEETING_WORKFLOW)
