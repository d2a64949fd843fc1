"""Agents with several turns, parallel tools, and another agent as a tool. Whom they work for, and where, stands in their input."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.tool_context import ToolContext

from orcs_server import idempotent
from tests.torture.calls import BEGUN, ENDED, MODEL, TOOL, Call, note
from tests.torture.failing import broken

TURNS = 3
"""Turns with tools; one more has the answer."""
PLACE = re.compile(r"\[([\w.-]+)/([\w-]+)\](?: within ([\w.-]+))?")
"""`[workflow/task] within path`, the latter in the input of a nested agent."""
ONCE_ONLY = "pay"
"""The tool that must not run twice."""


def place(text: str) -> tuple[str, str, str]:
    """Return workflow, task and path."""
    found = PLACE.search(text)
    assert found is not None, text
    return found[1], found[2], found[3] or ""


class WorkingModel(Model):
    """Asks for these tools in each turn, all at once, then answers; now and then, if it is shaky, the connection breaks instead."""

    def __init__(self, *tools: str, turns: int = TURNS, shaky: bool = False) -> None:
        self._tools = tools
        self._turns = turns
        self._shaky = shaky

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise NotImplementedError("the runner streams")

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's name
        *rest: Any,
        **more: Any,
    ) -> AsyncIterator[Any]:
        first = input if isinstance(input, str) else str(input[0]["content"])
        workflow_id, task_id, path = place(first)
        asked = 0 if isinstance(input, str) else sum(item.get("type") == "function_call" for item in input)
        turn = asked // len(self._tools)
        call = Call(MODEL, workflow_id, task_id, path, str(turn))
        note(BEGUN, call)
        await asyncio.sleep(random.uniform(0.005, 0.05))
        if self._shaky and random.random() < 0.1:
            raise broken()
        output: list[Any] = [assistant_message(f"{task_id} is done")]
        if turn < self._turns:
            here = f"{path}." if path else ""
            output = [
                self._asks(name, f"{here}{name}-{turn}", f"[{workflow_id}/{task_id}]", path) for name in self._tools
            ]
        async for event in ScriptedModel([output]).stream_response(system_instructions, input, *rest, **more):
            if event.type == "response.completed":
                note(ENDED, call)
            yield event

    @staticmethod
    def _asks(name: str, call_id: str, label: str, path: str) -> Any:
        if name == "ask":
            return function_call("ask", {"input": f"{label} within {call_id}"}, call_id=call_id)
        return function_call(name, {"where": f"{label} within {path}" if path else label}, call_id=call_id)


def _call(context: ToolContext[Any], where: str) -> Call:
    return Call(TOOL, *place(where), context.tool_call_id)


@idempotent
@function_tool
async def look(context: ToolContext[Any], where: str) -> str:
    """Look at something."""
    call = _call(context, where)
    note(BEGUN, call)
    await asyncio.sleep(random.uniform(0.005, 0.05))
    note(ENDED, call)
    return f"seen in {call.name}"


@function_tool
async def pay(context: ToolContext[Any], where: str) -> str:
    """Pay for something, which must not happen twice."""
    call = _call(context, where)
    note(BEGUN, call)
    await asyncio.sleep(0.003)
    note(ENDED, call)
    return f"paid in {call.name}"


INNER = Agent(name="inner", instructions="Look.", tools=[look], model=WorkingModel("look", turns=1))
REGISTRY = {
    "worker": Agent(
        name="worker",
        instructions="Look, and ask.",
        tools=[look, INNER.as_tool("ask", "Ask the inner agent.")],
        model=WorkingModel("look", "ask"),
    ),
    "shaky": Agent(name="shaky", instructions="Look.", tools=[look], model=WorkingModel("look", shaky=True)),
    "payer": Agent(name="payer", instructions="Look, and pay.", tools=[look, pay], model=WorkingModel("look", "pay")),
}
