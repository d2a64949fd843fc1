"""The agents of the torture: scripted models that note each call in a file outside the process. The offline model, which plans the
queries, notes its calls, too, as soon as this module is imported: for servers alone, never for the process of the tests.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, AgentOutputSchemaBase
from agents.items import TResponseStreamEvent

from orcs_server.agents.offline import OfflineModel
from orcs_server.agents.run_calls import current_calls
from tests.torture import working
from tests.torture.calls import BEGUN, ENDED, MODEL, Call, note
from tests.torture.failing import broken
from tests.torture.load import MEETING

LABEL = re.compile(r"\[([\w.-]+)/([\w-]+)\]")
"""`[workflow/task]` in a task's title."""


def _call_of(input_: object) -> Call:
    """Return which call this is: by the label, or, for the planner and what it planned, by the run that makes it."""
    found = LABEL.search(str(input_))
    if found is not None:
        return Call(MODEL, found[1], found[2], "", "0")
    calls = current_calls.get()
    assert calls is not None
    assert calls.journal is not None
    key = calls.journal._key
    return Call(MODEL, key.workflow_id, key.task_id, "", "0")


class TortureModel(OfflineModel):
    """The offline model, noted, and made slow or unreliable."""

    def __init__(self, behaviour: str) -> None:
        super().__init__()
        self._behaviour = behaviour
        self._meetings: dict[str, asyncio.Semaphore] = {}

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's name
        model_settings: Any,
        tools: Any,
        output_schema: AgentOutputSchemaBase | None,
        *arguments: Any,
        **named: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        call = _call_of(input)
        note(BEGUN, call)
        if LABEL.search(str(input)):  # what the planner gives an agent, whose ways it does not know, goes well
            await self._behave(call.workflow_id)
        async for event in super().stream_response(
            system_instructions, input, model_settings, tools, output_schema, *arguments, **named
        ):
            if event.type == "response.completed":
                note(ENDED, call)
            yield event

    async def _behave(self, workflow_id: str) -> None:
        match self._behaviour:
            case "slow":
                await asyncio.sleep(random.uniform(0.02, 0.3))
            case "fickle" if random.random() < 0.5:
                raise broken()
            case "broken":
                raise broken()
            case "patient":
                await asyncio.sleep(0.4)
            case "poison":
                await asyncio.sleep(0.1)
                os.kill(os.getpid(), signal.SIGKILL)
            case "meeting":
                await self._meet(workflow_id)

    async def _meet(self, workflow_id: str) -> None:
        """Return once as many calls are under way at the same time as there are slots."""
        arrived = self._meetings.setdefault(workflow_id, asyncio.Semaphore(0))
        arrived.release()
        while arrived._value < MEETING:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def _noted(plain: Any) -> Any:
    async def stream_response(
        self: OfflineModel,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's name
        *arguments: Any,
        **named: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        if isinstance(self, TortureModel):
            async for event in plain(self, system_instructions, input, *arguments, **named):
                yield event
            return
        call = _call_of(input)
        note(BEGUN, call)
        if not call.task_id and "fickle winds" in str(input) and random.random() < 0.5:
            raise broken()
        async for event in plain(self, system_instructions, input, *arguments, **named):
            if event.type == "response.completed":
                note(ENDED, call)
            yield event

    return stream_response


OfflineModel.stream_response = _noted(OfflineModel.stream_response)  # type: ignore[method-assign]

REGISTRY = {
    **working.REGISTRY,
    **{
        name: Agent(name=name, instructions="Answer.", model=TortureModel(name))
        for name in ("steady", "slow", "fickle", "broken", "meeting", "patient", "poison")
    },
}
