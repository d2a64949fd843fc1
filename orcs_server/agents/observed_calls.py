"""What telemetry gets to know of a run's calls: the model's, the tools', and which agent makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from agents import FunctionTool, Handoff, Model
from agents.items import TResponseInputItem
from openai.types.responses import Response, ResponseOutputItem

from orcs_server.agents.offline import OfflineModel
from orcs_server.agents.providers import endpoint_of
from orcs_server.agents.run_calls import RunCalls, current_calls
from orcs_server.config.models import OFFLINE_MODEL
from orcs_server.telemetry import ModelCall, Spent
from orcs_server.workflow.model import Usage

Message = tuple[str, Sequence[Mapping[str, Any]]]


def begin_model_call(
    calls: RunCalls, model: Model, name: str, instructions: str | None, items: str | list[TResponseInputItem]
) -> ModelCall:
    """Tell telemetry that a model is asked."""
    endpoint = endpoint_of(model)
    if isinstance(model, OfflineModel):
        name = provider = OFFLINE_MODEL
    else:
        provider = "custom" if endpoint is None else "openai"
    call = calls.telemetry.model_call(provider, name, _address(endpoint))
    if call.captures:
        call.asked(instructions, lambda: [_asked(item) for item in ([items] if isinstance(items, str) else items)])
    return call


def note_answer(call: ModelCall, response: Response) -> None:
    """Tell telemetry who answered."""
    call.answered(response.model, response.id, lambda: [_said(item) for item in response.output])


def spent_of(usage: Usage) -> Spent:
    """Return a usage as telemetry counts it."""
    return Spent(
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.cost_micros / 1e6,
    )


def agent_of(tool: FunctionTool) -> str:
    """Return the name of the agent that a tool is; "" for any other tool."""
    if not getattr(tool, "_is_agent_tool", False):
        return ""
    return str(getattr(getattr(tool, "_agent_instance", None), "name", "") or tool.name)


def observe_handoffs(handoffs: Iterable[Handoff[Any, Any]]) -> None:
    """Have telemetry know of each handing over that these lead to. Doing it again changes nothing."""
    for handoff in handoffs:
        if not isinstance(handoff.on_invoke_handoff, _HandingOver):
            handoff.on_invoke_handoff = _HandingOver(handoff.on_invoke_handoff)


class _HandingOver:
    """What a handoff does when the model asks for it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        agent = await self._inner(*arguments, **keywords)
        calls = current_calls.get()
        if calls is not None:
            calls.telemetry.hand_over(str(getattr(agent, "name", "")))
        return agent


@lru_cache(maxsize=256)
def _address(endpoint: str | None) -> tuple[str, int]:
    if endpoint is None:
        return "", 0
    parts = urlsplit(endpoint)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.hostname or "", port or (443 if parts.scheme == "https" else 80)


def _asked(item: Any) -> Message:
    """Return an item of a request as the GenAI conventions write messages."""
    if not isinstance(item, Mapping):
        return "user", [{"type": "text", "content": item if isinstance(item, str) else str(item)}]
    if item.get("type") == "function_call_output":
        part = {"type": "tool_call_response", "id": item.get("call_id", ""), "response": _plain(item.get("output"))}
        return "tool", [part]
    if item.get("type") == "function_call":
        return "assistant", [_tool_call(item.get("call_id"), item.get("name"), item.get("arguments"))]
    return str(item.get("role") or "assistant"), [{"type": "text", "content": _plain(item.get("content"))}]


def _said(item: ResponseOutputItem) -> Message:
    if item.type == "function_call":
        return "assistant", [_tool_call(item.call_id, item.name, item.arguments)]
    content = getattr(item, "content", None) or ()
    texts = [str(getattr(part, "text", "") or getattr(part, "refusal", "")) for part in content]
    return "assistant", [{"type": "text", "content": "".join(texts)}] if texts else [{"type": item.type}]


def _tool_call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id or "", "name": name or "", "arguments": arguments or ""}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
