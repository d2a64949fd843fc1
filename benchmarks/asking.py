"""Agents for what people do to workflows: one works for longer than any benchmark, one asks a person and says when it goes on."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from agents import Agent
from openai.types.responses import Response, ResponseFunctionToolCall

from benchmarks.instant import message_of, response_of
from benchmarks.tooled import TooledModel, look_up, tool_calls
from orcs_server import ask_user

TURN_S = 1.0
"""How long a call of the busy agent's model takes."""
MAX_TURNS = 1_000


class BusyModel(TooledModel):
    """Calls a tool in every turn; each takes its time."""

    async def answer(self, shown: Any) -> Response:
        """Return the response to a conversation, after a while."""
        await asyncio.sleep(TURN_S)
        turn = 1 if isinstance(shown, str) else len(shown)
        return response_of(tool_calls(f"turn {turn}", turn))


class AskingModel(TooledModel):
    """Asks a person in its first turn. Its final answer is the time at which it was asked for it."""

    async def answer(self, shown: Any) -> Response:
        """Return the question, or the final answer."""
        asked = time.time()
        if isinstance(shown, str) or len(shown) == 1:
            return response_of([_question(f"Which of the two is meant by this one, {asked}?")])
        return response_of([message_of(str(asked))])


def _question(text: str) -> ResponseFunctionToolCall:
    arguments = json.dumps({"question": text, "choices": ["the first", "the second"]})
    return ResponseFunctionToolCall(
        type="function_call",
        id="fc_1",
        call_id="call_1",
        name="ask_user",
        arguments=arguments,
        status="completed",
    )


registry = {
    "busy_agent": Agent(name="busy_agent", instructions="You look things up.", tools=[look_up], model=BusyModel()),
    "asking_agent": Agent(
        name="asking_agent", instructions="You ask, then answer.", tools=[ask_user], model=AskingModel()
    ),
}
