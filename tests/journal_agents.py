"""A registry for servers that are killed: agents whose model and tools write down, outside the process, what they do.

Every line is written before the act ends, so that the file knows of all that has happened, stored or not.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agents import Agent, Model, ModelResponse, RunContextWrapper, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from orcs_server import idempotent
from orcs_server.agents.context import RunContext
from orcs_server.agents.task_input import read_task_input

NOTES = Path(os.environ.get("XDG_STATE_HOME", ".")) / "notes.txt"
TURNS = 4


def note(kind: str, name: str) -> None:
    NOTES.parent.mkdir(parents=True, exist_ok=True)
    with NOTES.open("a", encoding="utf-8") as file:
        file.write(f"{kind} {name}\n")


class ByRule(Model):
    """Asks for two tools a turn, one of them an agent, then answers. Who asks, and which turn it is, stands in the input."""

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise NotImplementedError("the runner streams")

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's name
        *rest: Any,
        **more: Any,
    ) -> AsyncIterator[Any]:
        first = str(input[0]["content"])
        inner = system_instructions == "inner"
        name = first if inner else read_task_input(first)[0]
        turn = sum(item.get("type") == "function_call_output" for item in input) // (1 if inner else 2)
        await asyncio.sleep(0.03)
        note("model", f"{name}/{turn}")
        here = f"{name}.{turn}"
        if inner:
            output = [function_call("act", {"what": here}, call_id="act")] if turn == 0 else [assistant_message(here)]
        elif turn < TURNS:
            asked = function_call("ask", {"input": here}, call_id="ask")
            output = [function_call("act", {"what": here}, call_id="act"), asked]
        else:
            output = [assistant_message(f"{name} is done")]
        async for event in ScriptedModel([output]).stream_response(system_instructions, input, *rest, **more):
            yield event


@idempotent
@function_tool
async def act(context: RunContextWrapper[RunContext], what: str) -> str:
    """Act."""
    await asyncio.sleep(0.03)
    note("tool", f"{context.context.task_id}:{what}")
    return f"acted on {what}"


INNER = Agent(name="inner", instructions="inner", tools=[act], model=ByRule())
OUTER = Agent(
    name="outer", instructions="outer", tools=[act, INNER.as_tool("ask", "Ask the inner agent.")], model=ByRule()
)
REGISTRY = {"outer": OUTER}


def arguments_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return what a stored function call was asked for."""
    return dict(json.loads(item["arguments"]))
