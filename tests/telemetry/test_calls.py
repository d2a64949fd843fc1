"""What spans and measurements say of the calls of a run: the real Agents SDK over a real journal, with a scripted model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agents import Agent, function_tool
from agents.testing import assistant_message, function_call
from agents.testing.model import ModelStep
from agents.usage import Usage as SdkUsage

from orcs_server.telemetry import Whole
from orcs_server.telemetry.content import MESSAGES_LIMIT, TEXT_LIMIT, as_json, asked_for
from tests.agents.journal_bench import Bench, call, nested
from tests.telemetry.recorded import Recorded

WHOLE = Whole("default", "w1", 1)
SECRET = "the launch code is 0000"


async def attempt(recorded: Recorded, bench: Bench, agent: Agent[Any], steps: Any, **options: Any) -> Any:
    """Run an attempt as the executor does: within its span."""
    bench.telemetry = recorded.telemetry.calls
    with recorded.telemetry.attempt_span(WHOLE, "t1", 1, bench.attempts + 1, "tester"):
        return await bench.attempt(agent, steps, **options)


def named(recorded: Recorded, name: str) -> Any:
    (found,) = [span for span in recorded.spans() if span.name == name]
    return found


async def test_calls_hang_below_their_attempt_as_the_conventions_name_them(recorded: Recorded, bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("dig")])
    usage = SdkUsage(requests=1, input_tokens=11, output_tokens=7)
    steps = [ModelStep(output=[call("dig")], usage=usage), [assistant_message("done")]]
    await attempt(recorded, bench, agent, steps)
    assert recorded.tree() == {
        "(outside)": ["invoke_agent tester"],
        "invoke_agent tester": ["chat", "execute_tool dig", "chat"],
    }
    chat = next(span for span in recorded.spans() if span.name == "chat")
    assert chat.kind.name == "CLIENT"
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "custom",
        "gen_ai.agent.name": "tester",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7,
    }
    assert expected.items() <= dict(chat.attributes).items()
    assert dict(named(recorded, "execute_tool dig").attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "dig",
        "gen_ai.tool.call.id": "dig_1",
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": "tester",
    }
    tokens = {point.attributes["orcs.direction"]: point.value for point in recorded.points("orcs.tokens")}
    assert tokens == {"input": 11, "output": 7}
    operations = {
        point.attributes["gen_ai.operation.name"]: point.count
        for point in recorded.points("gen_ai.client.operation.duration")
    }
    assert operations == {"chat": 2, "execute_tool": 1}
    kinds = {point.attributes["gen_ai.token.type"] for point in recorded.points("gen_ai.client.token.usage")}
    assert kinds == {"input", "output"}


async def test_nested_agents_hang_below_the_tool_that_they_are(recorded: Recorded, bench: Bench) -> None:
    inner = Agent(name="Inner", tools=[bench.tool("dig")])
    outer = Agent(name="Outer", tools=[inner.as_tool("ask", "Ask.")])
    steps = [[nested("ask", "look", "a1")], [call("dig")], [assistant_message("found")], [assistant_message("done")]]
    await attempt(recorded, bench, outer, steps)
    assert recorded.tree() == {
        "(outside)": ["invoke_agent tester"],
        "invoke_agent tester": ["chat", "execute_tool ask", "chat"],
        "execute_tool ask": ["invoke_agent Inner"],
        "invoke_agent Inner": ["chat", "execute_tool dig", "chat"],
    }
    assert named(recorded, "execute_tool dig").attributes["gen_ai.agent.name"] == "Inner"


async def test_who_is_handed_over_to_has_a_span_of_its_own(recorded: Recorded, bench: Bench) -> None:
    second = Agent(name="second", tools=[bench.tool("pay")])
    first = Agent(name="first", handoffs=[second])
    steps = [[function_call("transfer_to_second", {}, call_id="h")], [call("pay")], [assistant_message("paid")]]
    await attempt(recorded, bench, first, steps)
    assert recorded.tree() == {
        "(outside)": ["invoke_agent tester"],
        "invoke_agent tester": ["chat", "invoke_agent second"],
        "invoke_agent second": ["chat", "execute_tool pay", "chat"],
    }


async def test_what_the_journal_gives_back_leaves_no_span_and_no_measurement(recorded: Recorded, bench: Bench) -> None:
    inner = Agent(name="Inner", tools=[bench.tool("dig")])
    outer = Agent(name="Outer", tools=[inner.as_tool("ask", "Ask.")])
    steps = [[nested("ask", "look", "a1")], [call("dig")], [assistant_message("found")]]
    first = Recorded()
    assert (await attempt(first, bench, outer, steps)).failure is not None
    assert len(first.spans()) == 8
    await attempt(recorded, bench, outer, [[assistant_message("done")]])
    assert recorded.tree() == {"(outside)": ["invoke_agent tester"], "invoke_agent tester": ["chat"]}
    (point,) = recorded.points("gen_ai.client.operation.duration")
    assert point.count == 1


async def test_a_tool_that_fails_is_an_error_of_its_kind_without_its_words(recorded: Recorded, bench: Bench) -> None:
    @function_tool(failure_error_function=None)
    async def explode() -> str:
        raise ValueError(SECRET)

    await attempt(recorded, bench, Agent(name="A", tools=[explode]), [[function_call("explode", {}, call_id="e1")]])
    tool = named(recorded, "execute_tool explode")
    assert (tool.status.is_ok, tool.attributes["error.type"]) == (False, "ValueError")
    assert all(SECRET not in span.to_json() for span in recorded.spans())


async def test_a_model_call_that_fails_is_an_error_of_its_kind_without_its_words(
    recorded: Recorded, bench: Bench
) -> None:
    await attempt(recorded, bench, Agent(name="B"), [ConnectionResetError(SECRET)])
    chat = named(recorded, "chat")
    assert (chat.status.is_ok, chat.attributes["error.type"]) == (False, "CONNECTION")
    (point,) = recorded.points("gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == "CONNECTION"
    assert all(SECRET not in span.to_json() for span in recorded.spans())


async def test_an_attempt_that_is_cut_off_ends_its_calls_too(recorded: Recorded, bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("block", blocks=True)])
    await attempt(recorded, bench, agent, [[call("block")]], cut=True)
    assert named(recorded, "execute_tool block").attributes["error.type"] == "CancelledError"


@pytest.mark.parametrize("captures", [False, True])
async def test_what_was_said_is_told_only_where_it_was_asked_for(bench: Bench, captures: bool) -> None:
    recorded = Recorded(captures=captures)
    agent = Agent(name="A", instructions="Obey.", tools=[bench.tool("dig")])
    steps = [[call("dig", 4711, "c1")], [assistant_message("the answer")]]
    await attempt(recorded, bench, agent, steps, text=SECRET)
    whole = "".join(span.to_json() for span in recorded.spans())
    told = {text: text in whole for text in (SECRET, "Obey.", "4711", "dig did 4711", "the answer")}
    assert set(told.values()) == {captures}, told
    if captures:
        chats = [span for span in recorded.spans() if span.name == "chat"]
        asked = json.loads(chats[1].attributes["gen_ai.input.messages"])
        assert [message["role"] for message in asked] == ["user", "assistant", "tool"]
        assert asked[1]["parts"][0]["name"] == "dig"
        answered = json.loads(chats[1].attributes["gen_ai.output.messages"])
        assert answered == [{"role": "assistant", "parts": [{"type": "text", "content": "the answer"}]}]


def test_content_is_bounded_whatever_it_holds() -> None:
    messages = [("user", [{"type": "text", "content": f"{index}\ud800" + "x" * 100_000}]) for index in range(1_000)]
    told = json.loads(as_json(messages))
    assert len(told) == MESSAGES_LIMIT
    assert told[-1]["parts"][0]["content"].startswith("999?x")
    assert all(len(message["parts"][0]["content"]) == TEXT_LIMIT for message in told)


@pytest.mark.parametrize(
    ("value", "asks"),
    [
        ("true", True),
        ("SPAN_ONLY", True),
        ("span_and_event", True),
        ("EVENT_ONLY", False),
        ("false", False),
        ("", False),
    ],
)
def test_the_standard_variable_asks_for_content(value: str, asks: bool) -> None:
    assert asked_for({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": value}) is asks
