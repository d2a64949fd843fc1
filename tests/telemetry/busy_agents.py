"""A registry and hooks for the tests of metrics: an agent that fails the first time and uses a tool, and a telemetry hook that raises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.testing.model import ModelStep
from agents.usage import Usage

from orcs_server import idempotent
from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller


@idempotent
@function_tool
def dig(n: int) -> str:
    """Dig."""
    return f"dug {n}"


class Flaky(Model):
    """Fails once, then asks for the tool, then answers. Its calls cost 100 tokens in and 10 out."""

    model = "flaky-1"

    def __init__(self) -> None:
        self.calls = 0

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise NotImplementedError("the runner streams")

    async def stream_response(self, *question: Any, **more: Any) -> AsyncIterator[Any]:
        self.calls += 1
        if self.calls == 1:
            raise ConnectionResetError("the first call fails")
        called = any(item.get("type") == "function_call_output" for item in question[1] if isinstance(item, dict))
        output = [assistant_message("done")] if called else [function_call("dig", {"n": 1}, call_id="d1")]
        step = ModelStep(output=output, usage=Usage(requests=1, input_tokens=100, output_tokens=10))
        async for event in ScriptedModel([step]).stream_response(*question, **more):
            yield event


REGISTRY = {"digger": Agent(name="digger", instructions="Dig.", tools=[dig], model=Flaky())}


class Deaf:
    """A telemetry hook that fails."""

    async def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
        raise ValueError("no")


def hooks(caller: Caller, origin: Origin) -> HookSet:
    return HookSet(telemetry=Deaf())
