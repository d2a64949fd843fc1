"""OpenAI's client, with chat completions that report usage and whose streams must end properly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

from openai import AsyncOpenAI, AsyncStream
from openai.resources.chat import AsyncChat, AsyncCompletions
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from orcs_server.agents.failures import ModelCallError, output_limit_reached, refused, truncated
from orcs_server.workflow.model import Usage


class OpenAIClient(AsyncOpenAI):
    """A client of a server that speaks OpenAI's protocol."""

    @cached_property
    def chat(self) -> AsyncChat:
        return _Chat(self)


class _Chat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class _Completions(AsyncCompletions):
    async def create(self, **request: Any) -> Any:
        """Do what the base class does; only the SDK calls this, with keywords."""
        if not request.get("stream"):
            return await super().create(**request)
        if not isinstance(request.get("stream_options"), dict):
            request["stream_options"] = {"include_usage": True}
        return _CheckedStream(await super().create(**request))


class _CheckedStream:
    """A stream of chunks that raises at its end unless the server said that the model was done.

    The SDK checks this for OpenAI's own address only, and takes a cut answer of any other server for a whole one.
    """

    def __init__(self, stream: AsyncStream[ChatCompletionChunk]) -> None:
        self.response = stream.response
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        reason: str | None = None
        usage: CompletionUsage | None = None
        async for chunk in self._stream:
            usage = chunk.usage or usage
            for choice in chunk.choices or ():
                reason = choice.finish_reason or reason
            yield chunk
        if reason is None:
            raise ModelCallError(truncated(), _spent(usage))
        if reason == "length":
            raise ModelCallError(output_limit_reached(), _spent(usage))
        if reason == "content_filter":
            raise ModelCallError(refused("The model server's content filter"), _spent(usage))

    async def close(self) -> None:
        await self._stream.close()


def _spent(usage: CompletionUsage | None) -> Usage:
    if usage is None:
        return Usage(requests=1)
    cached = usage.prompt_tokens_details
    reasoning = usage.completion_tokens_details
    return Usage(
        1,
        max(usage.prompt_tokens or 0, 0),
        max((cached.cached_tokens if cached else 0) or 0, 0),
        max(usage.completion_tokens or 0, 0),
        max((reasoning.reasoning_tokens if reasoning else 0) or 0, 0),
    )
