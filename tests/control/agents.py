"""A registry of agents that do what their task's description says, for servers that are killed. Their model is a rule; every call of
a model or a tool is noted outside the server, and may wait at a gate until the test opens it.

A description is a JSON object (anything else is a script without turns): `turns`, a list of lists of tool calls as `script.py` makes
them; `answer`, the final text (else all that the model has read); `gates`, the gate before each turn that has one; `broken_until`, a
gate until which the connection breaks. The planner is the same rule: it plans the latest list of tasks that it was told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from agents import Agent, Model, ModelResponse, Usage, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from orcs_server import idempotent
from orcs_server.agents.offline import OfflineModel
from orcs_server.agents.paths import current_path
from orcs_server.agents.people_tools import ask_user, propose_tasks
from orcs_server.agents.run_calls import current_calls
from orcs_server.agents.task_input import is_note, read_note, read_task_input
from tests.control.calls import Call, folder, note
from tests.control.usage import INPUT_TOKENS, MODEL_NAME, OUTPUT_TOKENS, TOKENS
from tests.torture.calls import BEGUN, ENDED, MODEL, TOOL
from tests.torture.failing import broken


def here(kind: str, path: str, name: str) -> Call:
    """Return which call is made: by the run that makes it."""
    calls = current_calls.get()
    assert calls is not None
    assert calls.journal is not None
    key = calls.journal._key
    return Call(kind, key.workflow_id, key.task_id, key.run, path, name)


def is_open(gate: str) -> bool:
    return (folder() / "gates" / gate).exists()


async def pass_gate(gate: str | None) -> None:
    """Wait until the test opens the gate; it stays open over restarts."""
    while gate and not is_open(gate):  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.005)


class ByRule(Model):
    """Follows the script in its input."""

    model = MODEL_NAME

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise NotImplementedError("the runner streams")

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's name
        *rest: Any,
        **more: Any,
    ) -> AsyncIterator[Any]:
        items = [{"role": "user", "content": input}] if isinstance(input, str) else input
        script = _script(str(items[0]["content"]))
        asked = sum(item.get("type") == "function_call" for item in items)
        place = _place(script["turns"], asked)
        answers = sum(item.get("role") == "assistant" for item in items)
        call = here(MODEL, current_path(), str(place + answers))
        note(BEGUN, call)
        await pass_gate(script["gates"].get(str(place + answers)))
        if script["broken_until"] and not is_open(script["broken_until"]):
            raise broken()
        if place < len(script["turns"]):
            output = [function_call(one["tool"], one["arguments"], call_id=one["id"]) for one in script["turns"][place]]
        else:
            output = [assistant_message(script["answer"] or json.dumps(_read(items)))]
        usage = Usage(
            requests=1,
            input_tokens=INPUT_TOKENS,
            output_tokens=OUTPUT_TOKENS,
            total_tokens=TOKENS,
        )
        model = ScriptedModel([output], default_usage=usage)
        async for event in model.stream_response(system_instructions, input, *rest, **more):
            if event.type == "response.completed":
                note(ENDED, call)
            yield event


def _script(text: str) -> dict[str, Any]:
    script: dict[str, Any] = {"turns": [], "answer": "", "gates": {}, "broken_until": ""}
    with suppress(ValueError):
        script |= json.loads(_request(text))
    return script


def _request(text: str) -> str:
    """Return what an agent is asked: a task's description, a nested agent's input, or the plan that the planner was told last."""
    if "\n# Request\n" not in text:
        return read_task_input(text)[1]
    head, _, query = text.partition("\n# Request\n")
    told = [line[2:] for line in head.splitlines() if line.startswith("> {")]
    return told[-1] if told else query


def _place(turns: list[list[Any]], asked: int) -> int:
    """Return the turn that comes after so many tool calls."""
    for place, turn in enumerate(turns):
        if asked <= 0:
            return place
        asked -= len(turn)
    return len(turns)


def _read(items: list[dict[str, Any]]) -> list[str]:
    """Return all that tools and people have told the model."""
    read = [str(item["output"]) for item in items if item.get("type") == "function_call_output"]
    said = [str(item["content"]) for item in items[1:] if item.get("role") == "user"]
    first = [one.text for one in read_task_input(str(items[0]["content"]))[2]]
    return [*first, *read, *(read_note(text) for text in said if is_note(text))]


async def _act(what: str, gate: str | None) -> str:
    path, _, name = current_path().rpartition("/")
    call = here(TOOL, path, name)
    note(BEGUN, call)
    await pass_gate(gate)
    note(ENDED, call)
    return f"{name}: {what}"


@idempotent
@function_tool
async def look(what: str, gate: str | None = None) -> str:
    """Look at something."""
    return await _act(what, gate)


@function_tool
async def pay(what: str, gate: str | None = None) -> str:
    """Pay for something, which must not happen twice."""
    return await _act(what, gate)


@function_tool(needs_approval=True)
async def wire_money(what: str, gate: str | None = None) -> str:
    """Wire money, if a person approves."""
    return await _act(what, gate)


INNER = Agent(name="inner", instructions="Work.", tools=[look, ask_user], model=ByRule())
REGISTRY = {
    "worker": Agent(
        name="worker",
        instructions="Work.",
        tools=[look, pay, wire_money, ask_user, propose_tasks, INNER.as_tool("delegate", "Have another agent do it.")],
        model=ByRule(),
    )
}

setattr(OfflineModel, "stream_response", ByRule.stream_response)  # noqa: B010 - the planner's model
