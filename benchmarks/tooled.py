"""Agents that use tools, with a model that takes no time: each run takes `TURNS` turns, and all but the last call `TOOLS` tools.

No two answers or results are alike, as in life: what is stored by content would otherwise cost less than it does for a user.
"""

from __future__ import annotations

import json
import os
import random
import zlib
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, function_tool
from openai.types.responses import Response, ResponseCompletedEvent, ResponseFunctionToolCall, ResponseOutputItem

from benchmarks.instant import message_of, response_of

TURNS = int(os.environ.get("ORCS_BENCH_TURNS", "4"))
TOOLS = int(os.environ.get("ORCS_BENCH_TOOLS", "1"))
ANSWER_BYTES = 800
RESULT_BYTES = 1200

_SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "han",
    "jel",
    "kim",
    "lor",
    "mun",
    "nas",
    "pre",
    "qui",
    "rost",
    "stu",
    "tra",
)


def _prose(size: int) -> str:
    """Return text that compresses about as well as English does, to some 45 %."""
    drawn = random.Random(7)  # noqa: S311 - the same in every run
    words = ["".join(drawn.choices(_SYLLABLES, k=drawn.choice((1, 1, 2, 2, 3)))) for _ in range(3000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return " ".join(drawn.choices(words, weights, k=size // 4))[:size]


_PROSE = _prose(1 << 18)


def text_about(subject: str, size: int) -> str:
    """Return so many bytes of prose that belong to this subject alone."""
    begin = zlib.crc32(subject.encode()) % (len(_PROSE) - size)
    return f"{subject}: {_PROSE[begin : begin + size]}"[:size]


class TooledModel(Model):
    """Asks for tools in every turn but the last one. What it says depends on the task and on the turn."""

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        """Not needed: ORCS streams."""
        raise NotImplementedError

    async def stream_response(
        self,
        system_instructions: str | None,  # noqa: ARG002 - the SDK's name
        input: Any,  # noqa: A002 - the SDK's name
        *_: Any,
        **__: Any,
    ) -> AsyncIterator[Any]:
        """Yield the completed response."""
        yield ResponseCompletedEvent(type="response.completed", sequence_number=0, response=await self.answer(input))

    async def answer(self, shown: Any) -> Response:
        """Return the response to a conversation."""
        items = [{"content": shown}] if isinstance(shown, str) else shown
        turn = sum(item.get("type") == "function_call_output" for item in items) // TOOLS + 1
        subject = f"{zlib.crc32(str(items[0]['content']).encode()):08x} turn {turn}"
        if turn >= TURNS:
            return response_of([message_of(text_about(subject, ANSWER_BYTES))])
        return response_of(tool_calls(subject, turn))


def tool_calls(subject: str, turn: int) -> list[ResponseOutputItem]:
    """Return calls of the tool."""
    return [
        ResponseFunctionToolCall(
            type="function_call",
            id=f"fc_{turn}_{index}",
            call_id=f"call_{turn}_{index}",
            name="look_up",
            arguments=json.dumps({"what": f"{subject}, {index}"}),
            status="completed",
        )
        for index in range(TOOLS)
    ]


@function_tool
async def look_up(what: str) -> str:
    """Look something up."""
    return text_about(what, RESULT_BYTES)


registry = {
    "tooled_agent": Agent(
        name="tooled_agent", instructions="You look things up, then answer.", tools=[look_up], model=TooledModel()
    )
}
