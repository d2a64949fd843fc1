"""Where models are: OpenAI, any server that speaks its API, or the offline model. Nothing retries here, because ORCS itself does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from agents import Model, ModelProvider, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel
from openai import AsyncOpenAI, Timeout
from pydantic import ValidationError

from orcs_server.agents.offline import OfflineModel
from orcs_server.config.models import OFFLINE_MODEL, ModelChoice, without_secrets
from orcs_server.errors import StartupError

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


def endpoint_of(model: Model) -> str | None:
    """Return the base URL, fit to be shown, of the server that a model asks; None where there is none, or it cannot be told."""
    if isinstance(model, OpenAIResponsesModel | OpenAIChatCompletionsModel):
        url = getattr(model._client, "base_url", OPENAI_URL)  # noqa: SLF001 - the SDK shows it nowhere else
        return without_secrets(str(url)).rstrip("/")
    return None


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
    # Imported where it is used: with the offline model alone these megabytes stay out.
    from orcs_server.agents.openai_client import OpenAIClient

    seconds = choice.timeout_us / 1_000_000
    # A server of one's own may do without a key, but the client library insists on one.
    return OpenAIClient(
        api_key=key or "none",
        base_url=choice.base_url or OPENAI_URL,
        timeout=Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
        max_retries=0,
    )
