"""Which model is in use: decided once, from the settings and the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from orcs_server.config.tables import Model, to_us
from orcs_server.errors import StartupError

DEFAULT_MODEL = "gpt-4.1"
"""With OpenAI itself. Any other server has names of its own, so there it must be given."""
OFFLINE_MODEL = "offline"
_USABLE_URL = re.compile(r"https?://([^\s/?#@]+@)?[^\s/?#@]+(/[^\s?#@]*)?(\?[^\s#@]*)?")


class ModelChoice(Struct, frozen=True):
    """The model that the settings amount to. It holds the name of the key's variable, never the key."""

    provider: Literal["openai", "offline"]
    name: str
    base_url: str | None
    api: Literal["responses", "chat_completions"]
    api_key_env: str
    timeout_us: int
    settings: dict[str, Any]
    stall_timeout_us: int = 120_000_000
    patience_us: int = 3_600_000_000

    @property
    def server(self) -> str:
        """Where the models are, for people: the base URL without what may be secret, or `openai`, or `offline`."""
        return self.shown_base_url or self.provider

    @property
    def shown_base_url(self) -> str:
        """The base URL without user, password, query and fragment; "" if there is none."""
        return "" if self.base_url is None else without_secrets(self.base_url)


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment, which may hold secrets."""
    place = url.partition("#")[0].partition("?")[0]
    scheme, slashes, rest = place.rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"


def choose_model(model: Model, environ: Mapping[str, str]) -> ModelChoice:
    """Decide on the model: offline only where neither a key nor a base URL is configured, or where it was asked for.

    Raises `StartupError` where `openai` was asked for without either, or a base URL without the model's name.
    """
    base_url = model.base_url or environ.get("OPENAI_BASE_URL") or None
    has_key = bool(environ.get(model.api_key_env, "").strip())
    provider = model.provider or ("openai" if has_key or base_url else "offline")
    if provider == "offline":
        return _choice(model, provider, OFFLINE_MODEL, None)
    if not has_key and not base_url:
        raise StartupError(
            f"the model's provider is openai, but neither a key nor a base URL is configured: put the key into the environment "
            f"variable {model.api_key_env}, or set ORCS_MODEL_BASE_URL"
        )
    if base_url and not _USABLE_URL.fullmatch(base_url):
        raise StartupError(
            "OPENAI_BASE_URL is wrong: write the address of the model server, as in http://127.0.0.1:11434/v1"
        )
    if base_url and not model.name:
        raise StartupError(
            f"the model server at {without_secrets(base_url)} has names of its own for its models: set ORCS_MODEL_NAME, or "
            "model.name in the configuration file"
        )
    return _choice(model, provider, model.name or DEFAULT_MODEL, base_url)


def _choice(model: Model, provider: Literal["openai", "offline"], name: str, base_url: str | None) -> ModelChoice:
    api = model.api or ("chat_completions" if base_url else "responses")
    return ModelChoice(
        provider,
        name,
        base_url,
        api,
        model.api_key_env,
        to_us(model.timeout),
        dict(model.settings),
        to_us(model.stall_timeout),
        to_us(model.patience),
    )
