"""The agents of the torture: scripted models that note each call in a file outside the process, one line appended at its begin
and one at its end. The same for the offline model, which plans the queries, as soon as this module is imported.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, AgentOutputSchemaBase
from agents.items import TResponseStreamEvent
from openai import APIConnectionError, AsyncOpenAI

from orcs_server.agents.offline import OfflineModel

CALLS_VARIABLE = "TORTURE_CALLS"
"""Names the file of the calls."""
LABEL = re.compile(r"\[([\w.-]+/[\w-]+)\]")
"""`[workflow/task]` in a task's title."""
MEETING = 8
"""So many calls of one workflow's `meeting` wait for each other."""


def note(word: str, label: str) -> None:
    """Append a line to the file of the calls; the system keeps lines of several processes apart."""
    path = os.environ.get(CALLS_VARIABLE)
    if path:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, f"{word} {label}\n".encode())
        os.close(file)


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
        found = LABEL.search(str(input))
        label = "planned/task" if found is None else found[1]
        note("begun", label)
        if found is not None:  # what the planner gives an agent, whose ways it does not know, goes well
            await self._behave(label)
        async for event in super().stream_response(
            system_instructions, input, model_settings, tools, output_schema, *arguments, **named
        ):
            if event.type == "response.completed":
                note("ended", label)
            yield event

    async def _behave(self, label: str) -> None:
        match self._behaviour:
            case "slow":
                await asyncio.sleep(random.uniform(0.02, 0.3))
            case "fickle" if random.random() < 0.5:
                raise _broken()
            case "broken":
                raise _broken()
            case "meeting":
                await self._meet(label.partition("/")[0])

    async def _meet(self, workflow_id: str) -> None:
        """Return once as many calls are under way at the same time as there are slots."""
        arrived = self._meetings.setdefault(workflow_id, asyncio.Semaphore(0))
        arrived.release()
        while arrived._value < MEETING:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


_REQUEST = AsyncOpenAI(api_key="none")._client.build_request("POST", "http://127.0.0.1/")


def _broken() -> APIConnectionError:
    return APIConnectionError(request=_REQUEST)


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
        schema = arguments[2] if len(arguments) > 2 else named.get("output_schema")
        plans = schema is not None and schema.name() == "PlannerOutput"
        label = "planner" if plans else "planned/task"
        note("begun", label)
        if plans and "fickle winds" in str(input) and random.random() < 0.5:
            raise _broken()
        async for event in plain(self, system_instructions, input, *arguments, **named):
            if event.type == "response.completed":
                note("ended", label)
            yield event

    return stream_response


OfflineModel.stream_response = _noted(OfflineModel.stream_response)  # type: ignore[method-assign]

REGISTRY = {
    name: Agent(name=name, instructions="Answer.", model=TortureModel(name))
    for name in ("steady", "slow", "fickle", "broken", "meeting")
}
