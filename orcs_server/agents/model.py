"""The wrapper around every model that a run asks: it streams, publishes deltas, counts usage (of failed calls too), keeps
tool-call ids unique, and turns whatever goes wrong into a `ModelCallError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, cast

from agents import (
    AgentOutputSchemaBase,
    Handoff,
    Model,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    Tool,
)
from agents import Usage as SdkUsage
from agents.items import TResponseInputItem, TResponseStreamEvent
from openai.types.responses import Response, ResponseOutputItem, ResponseUsage
from openai.types.responses.response_prompt_param import ResponsePromptParam

from orcs_server.agents.failures import ModelCallError, call_failure, ending_failure, truncated
from orcs_server.workflow.model import NO_USAGE, Usage

_REQUEST_ONLY = Usage(requests=1)
_FAILED_ENDINGS = frozenset({"response.failed", "response.incomplete", "error", "response.error"})
_UNFINISHED = frozenset({"incomplete", "failed", "cancelled"})
"""Some servers end with `response.completed` and tell only in the status that it is not."""
_PARAGRAPH = "\n\n"

current_calls: ContextVar[RunCalls | None] = ContextVar("current_calls", default=None)
"""The calls of the run that this asyncio task works for: agents nested in tools count towards the same run."""


class RunCalls:
    """What the model calls of one run have in common: the count, the usage, the callbacks and the tool-call ids."""

    __slots__ = ("_ids", "_on_delta", "_on_usage", "_published", "count", "usage")

    def __init__(
        self,
        on_delta: Callable[[str], None] | None = None,
        on_usage: Callable[[int, Usage], None] | None = None,
    ) -> None:
        self.count = 0
        self.usage = NO_USAGE
        self._on_delta = on_delta
        self._on_usage = on_usage
        self._published: int | None = None
        self._ids: set[str] = set()

    def publish(self, text: str) -> None:
        """Hand a piece of text to whoever follows the run. The texts of two calls are parted by an empty line."""
        if self._on_delta is None or not text:
            return
        if self._published != self.count:
            if self._published is not None:
                self._on_delta(_PARAGRAPH)
            self._published = self.count
        self._on_delta(text)

    def record(self, spent: Usage) -> None:
        """Count a call that ended, however it ended."""
        self.count += 1
        self.usage = self.usage + spent
        if self._on_usage is not None:
            self._on_usage(self.count, self.usage)

    def with_unique_ids(self, output: list[ResponseOutputItem]) -> list[ResponseOutputItem]:
        """Return the output with tool-call ids that this run has not seen: some servers repeat them or leave them empty."""
        changed: list[ResponseOutputItem] | None = None
        for index, item in enumerate(output):
            if item.type == "message" or not item.type.endswith("_call") or not hasattr(item, "call_id"):
                continue
            given = cast("str", item.call_id) or ""
            unique = given
            repeat = 1
            while not unique or unique in self._ids:
                repeat += 1
                unique = f"{given or 'call'}_{repeat}"
            self._ids.add(unique)
            if unique != given:
                changed = list(output) if changed is None else changed
                changed[index] = item.model_copy(update={"call_id": unique})
        return output if changed is None else changed


class RunModel(Model):
    """A model as one run sees it. The seam for whatever must lie between an agent and its model, per call."""

    def __init__(self, inner: Model, calls: RunCalls, *, publishes: bool = True, timeout_us: int | None = None) -> None:
        self._inner = inner
        self._calls = calls
        self._publishes = publishes
        self._timeout = None if timeout_us is None else timeout_us / 1_000_000

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> ModelResponse:
        """Ask the model by streaming, within the time limit, and return its whole response. Raises ModelCallError."""
        response: Response | None = None
        events = self.stream_response(
            system_instructions,
            input,
            model_settings,
            tools,
            output_schema,
            handoffs,
            tracing,
            previous_response_id=previous_response_id,
            conversation_id=conversation_id,
            prompt=prompt,
        )
        try:
            async with asyncio.timeout(self._timeout):
                async for event in events:
                    if event.type == "response.completed":
                        response = event.response
        except TimeoutError as error:
            raise ModelCallError(call_failure(error)) from error
        if response is None:
            raise ModelCallError(truncated())
        return ModelResponse(
            output=response.output,
            usage=_sdk_usage(response.usage),
            response_id=response.id,
            request_id=getattr(response, "_request_id", None),
        )

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Stream the model's events. A stream without a proper end raises ModelCallError, like any other trouble."""
        calls = self._calls
        publish = calls.publish if self._publishes else _discard
        spent = _REQUEST_ONLY
        completed = False
        items: list[ResponseOutputItem] = []
        stream = self._inner.stream_response(
            system_instructions,
            input,
            model_settings,
            tools,
            output_schema,
            handoffs,
            tracing,
            previous_response_id=previous_response_id,
            conversation_id=conversation_id,
            prompt=prompt,
        )
        try:
            async for event in stream:
                if event.type == "response.output_text.delta":
                    publish(event.delta)
                elif event.type == "response.output_item.done":
                    items.append(event.item)
                elif event.type == "response.completed":
                    completed = True
                    response = event.response
                    _require_finished(response)
                    spent = _usage(response.usage)
                    # Some servers leave the final list empty: the items that were streamed are the output then.
                    output = calls.with_unique_ids(response.output or items)
                    if output is not response.output:
                        response.output = output
                elif event.type in _FAILED_ENDINGS:
                    raise _ending_error(event.type, getattr(event, "response", None) or event)
                yield event
            if not completed:
                raise ModelCallError(truncated())
        except ModelCallError as error:
            spent = error.spent or spent
            raise
        except Exception as error:
            raise ModelCallError(call_failure(error)) from error
        finally:
            calls.record(spent)
            await _close(stream)

    async def close(self) -> None:
        await self._inner.close()


class ObservedModels(ModelProvider):
    """Resolves model names for agents nested in a run (tools, handoffs), so that their calls count towards the run too. Their
    text is not published: it is not the run's answer.
    """

    def __init__(self, models: ModelProvider) -> None:
        self._models = models

    def get_model(self, model_name: str | None) -> Model:
        inner = self._models.get_model(model_name)
        calls = current_calls.get()
        return inner if calls is None else RunModel(inner, calls, publishes=False)


def _discard(_: str) -> None:
    """Publish nothing."""


async def _close(stream: AsyncIterator[TResponseStreamEvent]) -> None:
    aclose = getattr(stream, "aclose", None)
    if aclose is not None:
        await aclose()


def _require_finished(response: Response) -> None:
    if response.status in _UNFINISHED:
        raise _ending_error(f"response.{response.status}", response)


def _ending_error(kind: str, ended: object) -> ModelCallError:
    """Return the error for a response, or an error event, with which a stream ended badly."""
    error = getattr(ended, "error", None) or ended
    details = getattr(ended, "incomplete_details", None)
    failure = ending_failure(
        kind,
        getattr(error, "code", None),
        getattr(error, "message", None),
        getattr(details, "reason", None),
    )
    return ModelCallError(failure, _usage(getattr(ended, "usage", None)))


def _usage(usage: ResponseUsage | None) -> Usage:
    """Return what a response says that it consumed. Servers leave out details, and some send null for numbers."""
    if usage is None:
        return _REQUEST_ONLY
    return Usage(
        requests=1,
        input_tokens=_count(usage.input_tokens),
        cached_input_tokens=_count(getattr(usage.input_tokens_details, "cached_tokens", 0)),
        output_tokens=_count(usage.output_tokens),
        reasoning_tokens=_count(getattr(usage.output_tokens_details, "reasoning_tokens", 0)),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _sdk_usage(usage: ResponseUsage | None) -> SdkUsage:
    if usage is None:
        return SdkUsage(requests=1)
    return SdkUsage(
        requests=1,
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        total_tokens=usage.total_tokens or 0,
        input_tokens_details=usage.input_tokens_details,
        output_tokens_details=usage.output_tokens_details,
    )
