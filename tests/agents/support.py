"""What the tests of agents share: runners over llmock's real HTTP server, and over a scripted model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal

from agents import Model, ModelProvider
from agents.testing import ScriptedModel
from agents.testing.model import ModelScriptItem
from llmock.pytest_plugin import LLMock

from orcs_server.agents.definition import AgentDefinition
from orcs_server.agents.providers import ConfiguredModels
from orcs_server.agents.runner import AgentRunner
from orcs_server.config.models import ModelChoice

Api = Literal["responses", "chat_completions"]
KEY = "sk-test-0123456789abcdef0123456789abcdef"
AGENT = AgentDefinition("tester", "You answer.", settings={"temperature": 0.5})


def choice(base_url: str | None, api: Api = "chat_completions", timeout_us: int = 30_000_000) -> ModelChoice:
    return ModelChoice("openai", "test-model", base_url, api, "TEST_KEY", timeout_us, {})


@asynccontextmanager
async def http_runner(
    llmock: LLMock, api: Api = "chat_completions", *, call_timeout_us: int = 30_000_000, **options: Any
) -> AsyncIterator[AgentRunner]:
    models = ConfiguredModels(choice(llmock.base_url(), api), environ={"TEST_KEY": KEY})
    try:
        yield AgentRunner(models, call_timeout_us=call_timeout_us, **options)
    finally:
        await models.aclose()


class OneModel(ModelProvider):
    """The same model for every name; remembers the names."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.names: list[str | None] = []

    def get_model(self, model_name: str | None) -> Model:
        self.names.append(model_name)
        return self.model


def scripted(steps: Iterable[ModelScriptItem], **options: Any) -> tuple[AgentRunner, ScriptedModel]:
    model = ScriptedModel(steps)
    return AgentRunner(OneModel(model), **options), model
