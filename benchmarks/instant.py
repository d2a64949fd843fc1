"""A model that takes no time, so that what is measured is everything but the model. The floor and the server use the same one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

from agents import Agent, Model, ModelResponse, Usage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)

ANSWER = (
    "The answer of a model that takes no time at all, long enough to look like a sentence or two of real text. " * 2
)
DELTAS = int(os.environ.get("ORCS_BENCH_DELTAS", "0"))


def response_of(output: list[ResponseOutputItem]) -> Response:
    """Return the response with this output, complete with all that a provider sends along."""
    return Response(
        id="resp_1",
        created_at=0,
        model="instant",
        object="response",
        output=output,
        parallel_tool_calls=False,
        tool_choice="auto",
        tools=[],
        usage={  # type: ignore[arg-type]  # pydantic takes the dict
            "input_tokens": 40,
            "output_tokens": 40,
            "total_tokens": 80,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    )


def message_of(text: str) -> ResponseOutputMessage:
    """Return the message with this text."""
    content = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(id="msg_1", type="message", role="assistant", status="completed", content=[content])


class InstantModel(Model):
    """Answers at once, in `DELTAS` deltas before the whole. No two answers are alike: equal texts would be stored only once."""

    def __init__(self) -> None:
        self._response = response_of([message_of(ANSWER)])
        self._numbers = count()
        size = max(len(ANSWER) // max(DELTAS, 1), 1)
        self._deltas = [
            ResponseTextDeltaEvent(
                type="response.output_text.delta",
                content_index=0,
                delta=ANSWER[index * size : (index + 1) * size],
                item_id="msg_1",
                logprobs=[],
                output_index=0,
                sequence_number=index,
            )
            for index in range(DELTAS)
        ]

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        """Return the whole answer; with deltas configured, after having gone through them as a streaming provider does."""
        response = self._next()
        if DELTAS:
            async for event in self.stream_response():
                if isinstance(event, ResponseCompletedEvent):
                    response = event.response
        usage = Usage(requests=1, input_tokens=40, output_tokens=40, total_tokens=80)
        return ModelResponse(output=list(response.output), usage=usage, response_id=response.id)

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Yield the deltas and the completed response."""
        for event in self._deltas:
            yield event
        yield ResponseCompletedEvent(type="response.completed", sequence_number=0, response=self._next())

    def _next(self) -> Response:
        (message,) = self._response.output
        text = ResponseOutputText(type="output_text", text=f"{ANSWER}{next(self._numbers)}", annotations=[])
        return self._response.model_copy(update={"output": [message.model_copy(update={"content": [text]})]})


INSTRUCTIONS = "You answer in one or two sentences."
registry = {"instant_agent": Agent(name="instant_agent", instructions=INSTRUCTIONS, model=InstantModel())}
