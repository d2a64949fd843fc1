"""Where models are: OpenAI, any server that speaks its API, or the offline model. Nothing retries here, because ORCS itself does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Any

from agents import Model, ModelProvider, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel
from openai import AsyncOpenAI, AsyncStream, Timeout
from openai.resources.chat import AsyncChat, AsyncCompletions
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from pydantic import ValidationError

from orcs_server.agents.failures import ModelCallError, output_limit_reached, refused, truncated
from orcs_server.agents.offline import OfflineModel
from orcs_server.config.models import OFFLINE_MODEL, ModelChoice
from orcs_server.errors import StartupError
from orcs_server.workflow.model import Usage

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0
"""A server that does not even take the connection is given up sooner."""


class ConfiguredModels(ModelProvider):
    """The models that the settings amount to: every name at the configured server, except `offline`, the offline model.

    `offline_pace_us` is how long the offline model takes for a call. Close it when no run uses it any more.
    """

    def __init__(self, choice: ModelChoice, offline_pace_us: int = 0, environ: Mapping[str, str] | None = None) -> None:
        self._choice = choice
        self._offline = OfflineModel(pace_us=offline_pace_us)
        self._client = _client(choice, os.environ if environ is None else environ)

    def get_model(self, model_name: str | None) -> Model:
        name = model_name or self._choice.name
        if self._client is None or name == OFFLINE_MODEL:
            return self._offline
        if self._choice.api == "responses":
            return OpenAIResponsesModel(model=name, openai_client=self._client)
        return OpenAIChatCompletionsModel(model=name, openai_client=self._client)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()


def model_settings(values: Mapping[str, Any], where: str) -> ModelSettings:
    """Return model settings by their Agents SDK names; `where` names the table in errors. Raises StartupError."""
    if "retry" in values:
        raise StartupError(f"[{where}] retry is not a setting here: ORCS retries itself, as the table [retry] says")
    try:
        return ModelSettings().resolve(dict(values))
    except TypeError as error:
        raise StartupError(f"[{where}] {error}: use the names of the Agents SDK's ModelSettings") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise StartupError(f"[{where}] {name}: {first['msg']}") from None


def _client(choice: ModelChoice, environ: Mapping[str, str]) -> AsyncOpenAI | None:
    if choice.provider == "offline":
        return None
    key = environ.get(choice.api_key_env, "").strip()
    if not key and choice.base_url is None:
        raise StartupError(
            f"{choice.api_key_env} is not set: put your OpenAI key into it, or set model.base_url for a server of your own"
        )
    seconds = choice.timeout_us / 1_000_000
    # A server of one's own may do without a key, but the client library insists on one.
    return _Client(
        api_key=key or "none",
        base_url=choice.base_url or OPENAI_URL,
        timeout=Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
        max_retries=0,
    )


class _Client(AsyncOpenAI):
    """OpenAI's client, with chat completions that report usage and whose streams must end properly."""

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
