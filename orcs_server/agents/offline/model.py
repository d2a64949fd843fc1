"""The offline model itself: the Agents SDK's `Model` interface over plans, texts and samples made by rule."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from agents import AgentOutputSchemaBase, Handoff, Model, ModelResponse, ModelSettings, ModelTracing, Tool
from agents import Usage as SdkUsage
from agents.items import TResponseInputItem, TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseUsage,
)
from openai.types.responses.response_prompt_param import ResponsePromptParam

from orcs_server.agents.offline.plan import plan_by_rule
from orcs_server.agents.offline.samples import least_value
from orcs_server.agents.offline.writing import NOTICE, answer_by_rule
from orcs_server.agents.planner import PlannerOutput, read_planner_input
from orcs_server.agents.task_input import is_from_memory, is_note, read_note

MOST_DELTAS = 48
_LEAST_WORDS = 3
_MESSAGE_ID = "offline"
_SAMPLE_TEXT = "Made offline, by rule, without a language model."

__all__ = ["NOTICE", "OfflineModel"]


class OfflineModel(Model):
    """Answers by rule: the same input gets the same output, which says of itself that no language model made it.

    `pace_us` is how long a call takes, spread over at most 48 deltas of some words each. Tokens in its usage are words, split at
    white space. It calls no tools.
    """

    def __init__(self, pace_us: int = 0) -> None:
        self._pace = max(pace_us, 0) / 1_000_000

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,  # noqa: ARG002 - nothing to set
        tools: list[Tool],  # noqa: ARG002 - none is called
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],  # noqa: ARG002
        tracing: ModelTracing,  # noqa: ARG002
        *,
        previous_response_id: str | None,  # noqa: ARG002
        conversation_id: str | None,  # noqa: ARG002
        prompt: ResponsePromptParam | None,  # noqa: ARG002
    ) -> ModelResponse:
        text = _answer(system_instructions or "", input, output_schema)
        await asyncio.sleep(self._pace)
        response = _response(text, system_instructions or "", input)
        usage = response.usage
        if usage is None:  # pragma: no cover - _response always counts
            return ModelResponse(output=response.output, usage=SdkUsage(requests=1), response_id=response.id)
        spent = SdkUsage(
            requests=1,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            total_tokens=usage.total_tokens,
        )
        return ModelResponse(output=response.output, usage=spent, response_id=response.id)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,  # noqa: ARG002 - nothing to set
        tools: list[Tool],  # noqa: ARG002 - none is called
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],  # noqa: ARG002
        tracing: ModelTracing,  # noqa: ARG002
        *,
        previous_response_id: str | None,  # noqa: ARG002
        conversation_id: str | None,  # noqa: ARG002
        prompt: ResponsePromptParam | None,  # noqa: ARG002
    ) -> AsyncIterator[TResponseStreamEvent]:
        text = _answer(system_instructions or "", input, output_schema)
        pieces = _pieces(text)
        for number, piece in enumerate(pieces):
            if self._pace:
                await asyncio.sleep(self._pace / len(pieces))
            yield ResponseTextDeltaEvent(
                type="response.output_text.delta",
                delta=piece,
                content_index=0,
                item_id=_MESSAGE_ID,
                logprobs=[],
                output_index=0,
                sequence_number=number,
            )
        response = _response(text, system_instructions or "", input)
        yield ResponseCompletedEvent(type="response.completed", response=response, sequence_number=len(pieces))


def _answer(
    instructions: str, given: str | list[TResponseInputItem], output_schema: AgentOutputSchemaBase | None
) -> str:
    text, notes = _task_and_notes(given)
    if output_schema is None or output_schema.is_plain_text():
        return answer_by_rule(text, instructions, notes)
    if output_schema.name() == PlannerOutput.__name__:
        asked = read_planner_input(text)
        added = "\n".join([*([asked.instructions] if asked.instructions else []), *notes])
        return plan_by_rule(replace(asked, instructions=added)).model_dump_json()
    return json.dumps(least_value(output_schema.json_schema(), _SAMPLE_TEXT), ensure_ascii=False)


def _pieces(text: str) -> list[str]:
    """Cut the text into pieces of as many words each, that together are the text."""
    words = text.split(" ")
    size = max(_LEAST_WORDS, -(-len(words) // MOST_DELTAS))
    groups = [" ".join(words[start : start + size]) for start in range(0, len(words), size)]
    return [group if index == 0 else f" {group}" for index, group in enumerate(groups)]


def _task_and_notes(given: str | list[TResponseInputItem]) -> tuple[str, list[str]]:
    """Return the text of the task, and what people have said since."""
    texts = (
        [given]
        if isinstance(given, str)
        else [_text_of(one.get("content")) for one in given if one.get("role") == "user"]
    )
    tasks = [text for text in texts if not is_note(text)]
    return tasks[-1] if tasks else "", [read_note(text) for text in texts if is_note(text) and not is_from_memory(text)]


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def _response(text: str, instructions: str, given: str | list[TResponseInputItem]) -> Response:
    text_read, notes = _task_and_notes(given)
    read = sum(len(one.split()) for one in (instructions, text_read, *notes))
    written = len(text.split())
    message = ResponseOutputMessage(
        id=_MESSAGE_ID,
        type="message",
        role="assistant",
        status="completed",
        content=[ResponseOutputText(type="output_text", text=text, annotations=[])],
    )
    usage = ResponseUsage.model_validate(
        {
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
    )
    return Response(
        id=_MESSAGE_ID,
        created_at=0,
        model="offline",
        object="response",
        output=[message],
        parallel_tool_calls=False,
        tool_choice="none",
        tools=[],
        status="completed",
        usage=usage,
    )
