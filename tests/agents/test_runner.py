from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    ModelRetrySettings,
    ModelSettings,
    RunContextWrapper,
    Usage,
    function_tool,
    input_guardrail,
)
from agents.testing import ModelStep, assistant_message, function_call
from llmock.pytest_plugin import LLMock
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseErrorEvent,
    ResponseFailedEvent,
    ResponseIncompleteEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputRefusal,
)
from pydantic import BaseModel

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.agents.context import RunContext
from orcs_server.agents.definition import AgentDefinition
from orcs_server.agents.runner import AgentRun, AgentRunner
from orcs_server.errors import StartupError
from orcs_server.workflow.model import FailureKind
from orcs_server.workflow.model import Usage as SpentUsage
from tests.agents import example_registry
from tests.agents.support import AGENT, OneModel, http_runner, scripted

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
CATALOG = AgentCatalog.build(registry="tests.agents.example_registry:registry")
CITY = CATALOG.get("city_agent")


@pytest.fixture(autouse=True)
def _no_calls_yet() -> None:
    example_registry.CALLS.clear()


def registered(agent: Agent[Any]) -> AgentDefinition:
    return AgentDefinition("own", "", source="registry", template=agent, tools=tuple(one.name for one in agent.tools))


async def test_a_registrys_tool_runs_over_http_with_the_run_context(llmock: LLMock) -> None:
    llmock.call_tool("look_up", {"city": "Bern"})
    llmock.reply("Bern has 3 bridges.")
    context = RunContext(namespace="n", workflow_id="w1", task_id="t1")
    async with http_runner(llmock) as runner:
        result = await runner.run(AgentRun(CITY, "Bridges?", context))
    assert result.failure is None
    assert result.text == "Bern has 3 bridges."
    assert result.calls == result.usage.requests == 2
    [(city, workflow, key)] = example_registry.CALLS
    assert (city, workflow, len(key)) == ("Bern", "w1", 64)
    first = llmock.requests[0].body
    assert first is not None
    assert (first["model"], first["max_tokens"]) == ("city-model", 99)


async def test_a_tool_that_was_never_offered_is_told_to_the_model(llmock: LLMock) -> None:
    llmock.break_tool_call("unknown_tool")
    llmock.call_tool("look_up", {"city": "Bern"})
    llmock.reply("I cannot.")
    async with http_runner(llmock) as runner:
        result = await runner.run(AgentRun(CITY, "Bridges?"))
    assert result.failure is None
    assert result.calls == 2


async def test_repeated_and_empty_tool_call_ids_are_made_unique() -> None:
    def call(city: str, call_id: str) -> Any:
        return function_call("look_up", {"city": city}, call_id=call_id)

    same = call("Bern", "call_1")
    runner, model = scripted(
        [[same, call("Basel", "call_1")], [same], [call("Biel", "call_1_2")], [assistant_message("Done.")]]
    )
    result = await runner.run(AgentRun(CITY, "Bridges?"))
    assert result.text == "Done."
    assert [city for city, _, _ in example_registry.CALLS] == ["Bern", "Basel", "Bern", "Biel"]
    assert len({key for _, _, key in example_registry.CALLS}) == 4
    last = model.calls[-1].input
    calls = [item["call_id"] for item in last if item.get("type") == "function_call"]
    answers = [item["call_id"] for item in last if item.get("type") == "function_call_output"]
    assert calls == ["call_1", "call_1_2", "call_1_3", "call_1_2_2"]
    assert sorted(answers) == sorted(calls)


async def test_the_texts_of_two_turns_are_parted_in_the_deltas() -> None:
    deltas: list[str] = []
    runner, _ = scripted(
        [
            [assistant_message("Let me look."), function_call("look_up", {"city": "Bern"}, call_id="a")],
            [assistant_message("Three.")],
        ]
    )
    result = await runner.run(AgentRun(CITY, "Bridges?", on_delta=deltas.append))
    assert result.text == "Three."
    assert "".join(deltas) == "Let me look.\n\nThree."


async def test_usage_adds_up_over_turns_and_a_failed_call_counts_as_a_request() -> None:
    spent = Usage(requests=1, input_tokens=10, output_tokens=4, total_tokens=14)
    reports: list[tuple[int, SpentUsage]] = []
    runner, _ = scripted(
        [
            ModelStep(output=[function_call("look_up", {"city": "Bern"}, call_id="a")], usage=spent),
            ConnectionResetError("gone"),
        ]
    )
    result = await runner.run(AgentRun(CITY, "Bridges?", on_usage=lambda *it: reports.append(it)))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.CONNECTION
    assert result.usage == SpentUsage(requests=2, input_tokens=10, output_tokens=4)
    assert reports == [(1, SpentUsage(requests=1, input_tokens=10, output_tokens=4)), (2, result.usage)]


def terminal(kind: str, **fields: Any) -> Any:
    """Build the last event of a stream of the Responses API."""
    given = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [], "tools": []}
    response = Response.model_validate({**given, "parallel_tool_calls": False, "tool_choice": "none", **fields})
    kinds = {"response.failed": ResponseFailedEvent, "response.incomplete": ResponseIncompleteEvent}
    return kinds.get(kind, ResponseCompletedEvent)(type=kind, response=response, sequence_number=9)


SPENT = {
    "input_tokens": 8,
    "output_tokens": 5,
    "total_tokens": 13,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 2},
}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            terminal("response.failed", usage=SPENT, error={"code": "server_error", "message": "x"}),
            FailureKind.SERVER_ERROR,
        ),
        (
            terminal("response.incomplete", usage=SPENT, incomplete_details={"reason": "max_output_tokens"}),
            FailureKind.TRUNCATED,
        ),
        (
            terminal("response.incomplete", usage=SPENT, incomplete_details={"reason": "content_filter"}),
            FailureKind.REFUSED,
        ),
        (terminal("response.incomplete", usage=SPENT), FailureKind.TRUNCATED),
        (terminal("response.completed", usage=SPENT, status="incomplete"), FailureKind.TRUNCATED),
    ],
)
async def test_a_response_that_ends_badly_is_a_failure_with_all_its_usage(event: Any, kind: FailureKind) -> None:
    runner, _ = scripted([ModelStep.stream([event])])
    result = await runner.run(AgentRun(AGENT, "Go"))
    assert result.failure is not None
    assert result.failure.kind is kind
    assert result.usage == SpentUsage(1, 8, 4, 5, 2)


async def test_an_error_event_without_a_response_is_a_failure() -> None:
    event = ResponseErrorEvent(type="error", code="rate_limit_exceeded", message="x", sequence_number=1)
    runner, _ = scripted([ModelStep.stream([event])])
    result = await runner.run(AgentRun(AGENT, "Go"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.RATE_LIMITED


async def test_output_that_came_only_as_items_is_not_lost() -> None:
    item = ResponseOutputItemDoneEvent(
        type="response.output_item.done", item=assistant_message("Hi."), output_index=0, sequence_number=1
    )
    runner, _ = scripted([ModelStep.stream([item, terminal("response.completed")])])
    result = await runner.run(AgentRun(AGENT, "Go"))
    assert (result.text, result.usage) == ("Hi.", SpentUsage(requests=1))


async def test_a_raising_tool_fails_the_run_without_telling_its_details(caplog: pytest.LogCaptureFixture) -> None:
    runner, _ = scripted([[function_call("break_down", {}, call_id="a")]])
    with caplog.at_level(logging.ERROR):
        result = await runner.run(AgentRun(CATALOG.get("fragile_agent"), "Go"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.TOOL_FAILED
    assert "ValueError" in result.failure.message
    assert "secret detail" not in result.failure.message
    error_id = result.failure.message.rstrip(".").rpartition(" ")[2]
    assert error_id in caplog.text


async def test_an_agent_that_never_comes_to_an_end_runs_out_of_turns() -> None:
    definition = AgentDefinition("own", "", max_turns=2, source="registry", template=example_registry.CITY)
    runner, _ = scripted([[function_call("look_up", {"city": str(turn)}, call_id=f"c{turn}")] for turn in range(3)])
    result = await runner.run(AgentRun(definition, "Go"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.MAX_TURNS
    assert "max_turns" in result.failure.message
    assert result.calls == 2


async def test_a_refusal_is_a_failure() -> None:
    refusal = ResponseOutputMessage(
        id="m",
        type="message",
        role="assistant",
        status="completed",
        content=[ResponseOutputRefusal(type="refusal", refusal="No, because of something private.")],
    )
    runner, _ = scripted([[refusal]])
    result = await runner.run(AgentRun(AGENT, "Go"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.REFUSED
    assert "private" not in result.failure.message


async def test_an_empty_answer_is_a_failure() -> None:
    runner, _ = scripted([[assistant_message("  ")]])
    result = await runner.run(AgentRun(AGENT, "Go"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.INVALID_OUTPUT


async def test_a_guardrail_that_stops_the_agent_is_named() -> None:
    @input_guardrail(run_in_parallel=False)
    async def no_poems(context: RunContextWrapper[Any], agent: Agent[Any], given: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    runner, model = scripted([])
    agent: Agent[Any] = Agent(name="Guarded", input_guardrails=[no_poems])
    result = await runner.run(AgentRun(registered(agent), "A poem"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.GUARDRAIL
    assert "no_poems" in result.failure.message
    assert model.calls == ()


async def test_output_that_meets_its_schema_comes_back_parsed() -> None:
    runner, model = scripted([[assistant_message('Sure: {"n": 3}')]])
    result = await runner.run(AgentRun(AGENT, "Go", output_schema=SCHEMA))
    assert (result.output, result.text, result.media_type) == ({"n": 3}, '{"n":3}', "application/json")
    [call] = model.calls
    assert call.output_schema is not None
    assert call.output_schema.json_schema() == SCHEMA


async def test_output_that_misses_its_schema_names_the_problems() -> None:
    runner, _ = scripted([[assistant_message('{"n": "three", "m": 1}')]])
    result = await runner.run(AgentRun(AGENT, "Go", output_schema=SCHEMA))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.INVALID_OUTPUT
    assert len(result.problems) == 2
    assert result.problems[0] in result.failure.message


async def test_a_schema_that_cannot_be_used_asks_no_model() -> None:
    runner, model = scripted([])
    result = await runner.run(AgentRun(AGENT, "Go", output_schema={"type": "array"}))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.MODEL_REQUEST
    assert not result.failure.retryable
    assert model.calls == ()


async def test_a_typed_agent_of_a_registry_gives_json() -> None:
    class Bridge(BaseModel):
        name: str
        length: int

    agent: Agent[Any] = Agent(name="Typed", output_type=Bridge)
    runner, _ = scripted([[assistant_message('{"name": "Old", "length": 7}')]])
    result = await runner.run(AgentRun(registered(agent), "Go"))
    assert json.loads(result.text) == result.output == {"name": "Old", "length": 7}
    assert result.media_type == "application/json"


async def test_an_agent_nested_in_a_tool_counts_towards_the_run_and_stays_silent() -> None:
    nested: Agent[Any] = Agent(name="Nested", instructions="Help.", model="nested-model")
    outer: Agent[Any] = Agent(name="Outer", tools=[nested.as_tool("ask_nested", "Ask.")])
    deltas: list[str] = []
    runner, model = scripted(
        [
            [function_call("ask_nested", {"input": "What?"}, call_id="a")],
            [assistant_message("Inner words.")],
            [assistant_message("Outer words.")],
        ]
    )
    result = await runner.run(AgentRun(registered(outer), "Go", on_delta=deltas.append))
    assert result.text == "Outer words."
    assert result.calls == 3
    assert deltas == ["Outer words."]
    assert "nested-model" in model_names(runner)
    assert len(model.calls) == 3


def model_names(runner: AgentRunner) -> list[str | None]:
    models = runner._models
    assert isinstance(models, OneModel)
    return models.names


async def test_the_model_named_in_the_request_goes_before_the_agents_own() -> None:
    runner, _ = scripted([[assistant_message("A")], [assistant_message("B")]])
    await runner.run(AgentRun(CITY, "Go"))
    await runner.run(AgentRun(CITY, "Go", model="other"))
    assert model_names(runner) == ["city-model", "other"]


async def test_the_servers_settings_hold_unless_the_agent_sets_the_same() -> None:
    definition = AgentDefinition("own", "", settings={"temperature": 0.1})
    bare: Agent[Any] = Agent(name="Bare")
    runner, model = scripted(
        [[assistant_message("A")], [assistant_message("B")]], settings={"temperature": 0.9, "max_tokens": 5}
    )
    await runner.run(AgentRun(definition, "Go"))
    await runner.run(AgentRun(registered(bare), "Go"))
    sent = [asdict(call.model_settings) for call in model.calls]
    no_retries = ModelRetrySettings(max_retries=0)
    wanted = [ModelSettings(temperature=warmth, max_tokens=5, retry=no_retries) for warmth in (0.1, 0.9)]
    assert sent == [asdict(settings) for settings in wanted]


def test_settings_that_there_are_not_stop_the_start() -> None:
    with pytest.raises(StartupError, match=r"\[model.settings\] Unknown model settings: colour"):
        scripted([], settings={"colour": "red"})


async def test_runs_of_one_agent_at_the_same_time_do_not_mix() -> None:
    async def echo(call: Any) -> list[Any]:
        await asyncio.sleep(0)
        return [assistant_message(str(call.input[0]["content"]))]

    runner, _ = scripted([ModelStep.respond(echo) for _ in range(50)])
    heard: dict[str, list[str]] = {str(number): [] for number in range(50)}
    results = await asyncio.gather(
        *(runner.run(AgentRun(AGENT, name, on_delta=deltas.append)) for name, deltas in heard.items())
    )
    assert [one.text for one in results] == list(heard)
    assert all("".join(deltas) == name for name, deltas in heard.items())
    assert {one.usage.requests for one in results} == {1}


async def test_cancelling_reaches_a_tool() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    @function_tool
    async def wait_long() -> str:
        """Wait."""
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return "done"

    agent: Agent[Any] = Agent(name="Waiter", tools=[wait_long])
    runner, _ = scripted([[function_call("wait_long", {}, call_id="a")]])
    task = asyncio.create_task(runner.run(AgentRun(registered(agent), "Go")))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()


def test_the_idempotency_key_belongs_to_a_run_and_not_to_an_attempt() -> None:
    first = RunContext("n", "w", "t1", attempt=1, run=1)
    again = RunContext("n", "w", "t1", attempt=2, run=1)
    later = RunContext("n", "w", "t1", attempt=3, run=2)
    assert first.idempotency_key("call_1") == again.idempotency_key("call_1")
    assert first.idempotency_key("call_1") != later.idempotency_key("call_1")
    assert first.idempotency_key("call_1") != first.idempotency_key("call_2")
