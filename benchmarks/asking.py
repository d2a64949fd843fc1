"""Agents for what people do to workflows: one works for longer than any benchmark, one asks a person and says when it goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent
from openai.types.responses import (
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
)

from benchmarks.instant import response_of
from benchmarks.tooled import TooledModel, look_up, tool_calls
from orcs_server import ask_user

TURN_S = 1.0
"""How long a call of the busy agent's model takes."""
MAX_TURNS = 1_000


class BusyModel(TooledModel):
    """Calls a tool in every turn; each takes its time."""

    async def stream_response(
        self,
        system_instructions: str | None,  # noqa: ARG002 - the SDK's name
        input: Any,  # noqa: A002 - the SDK's name
        *_: Any,
        **__: Any,
    ) -> AsyncIterator[Any]:
        """Yield the completed response."""
        await asyncio.sleep(TURN_S)
        turn = 1 if isinstance(input, str) else len(input)
        yield _completed(tool_calls(f"turn {turn}", turn))


class AskingModel(TooledModel):
    """Asks a person in its first turn. Its final answer is the time at which it was asked for it."""

    async def stream_response(
        self,
        system_instructions: str | None,  # noqa: ARG002 - the SDK's name
        input: Any,  # noqa: A002 - the SDK's name
        *_: Any,
        **__: Any,
    ) -> AsyncIterator[Any]:
        """Yield the completed response."""
        asked = time.time()
        if isinstance(input, str) or len(input) == 1:
            yield _completed([_question(f"Which of the two is meant by this one, {asked}?")])
        else:
            text = ResponseOutputText(type="output_text", text=str(asked), annotations=[])
            yield _completed(
                [
                    ResponseOutputMessage(
                        id="msg_1", type="message", role="assistant", status="completed", content=[text]
                    )
                ]
            )


def _completed(output: list[ResponseOutputItem]) -> ResponseCompletedEvent:
    return ResponseCompletedEvent(type="response.completed", sequence_number=0, response=response_of(output))


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
