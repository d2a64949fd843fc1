"""Agents against a real HTTP server that speaks OpenAI's protocol and misbehaves on demand."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from agents import (
    Agent,
    ModelRetrySettings,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    retry_policies,
)
from agents.testing import ScriptedModel, function_call
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply
from openai import AsyncOpenAI

from orcs_server.agents.builtin import PLANNER, RESEARCH
from orcs_server.agents.catalog import definition_of
from orcs_server.agents.planner import PlannerOutput, build_planner_input
from orcs_server.agents.providers import ConfiguredModels
from orcs_server.agents.runner import AgentRun, AgentRunner
from orcs_server.config.models import ModelChoice
from orcs_server.workflow.backoff import RETRY_AFTER_LIMIT_US
from orcs_server.workflow.model import FailureKind, Usage
from tests.agents.support import AGENT, KEY, Api, choice, http_runner

APIS: tuple[Api, ...] = ("chat_completions", "responses")
both_apis = pytest.mark.parametrize("api", APIS)
PLAN = '{"tasks": [{"title": "One", "description": "Do it.", "agent_id": "research_agent", "dependencies": []}]}'


@both_apis
async def test_an_answer_streams_and_its_usage_is_counted(llmock: LLMock, api: Api) -> None:
    llmock.reply("Berlin is a large city on the river Spree.")
    deltas: list[str] = []
    reports: list[tuple[int, Usage]] = []
    async with http_runner(llmock, api) as runner:
        result = await runner.run(
            AgentRun(AGENT, "Where?", on_delta=deltas.append, on_usage=lambda *it: reports.append(it))
        )
    assert result.failure is None
    assert result.text == "Berlin is a large city on the river Spree."
    assert len(deltas) > 3
    assert "".join(deltas) == result.text
    assert result.media_type == "text/markdown"
    assert result.calls == result.usage.requests == 1
    assert result.usage.input_tokens > 0
    assert result.usage.output_tokens > 0
    assert reports == [(1, result.usage)]
    llmock.assert_resilient(strict=True)


@both_apis
async def test_instructions_model_and_settings_reach_the_server(llmock: LLMock, api: Api) -> None:
    async with http_runner(llmock, api) as runner:
        await runner.run(AgentRun(AGENT, "Hello", model="another-model"))
    body = str(llmock.last_request.body)
    assert "You answer." in body
    assert "another-model" in body
    assert "'temperature': 0.5" in body


@both_apis
async def test_nothing_is_sent_twice_when_the_server_fails(llmock: LLMock, api: Api) -> None:
    llmock.fail(500)
    async with http_runner(llmock, api) as runner:
        result = await runner.run(AgentRun(AGENT, "Hello"))
    assert len(llmock.requests) == 1
    assert result.failure is not None
    assert result.failure.kind is FailureKind.SERVER_ERROR
    assert result.failure.retryable
    assert result.usage == Usage(requests=1)
    assert result.calls == 1


@both_apis
@pytest.mark.parametrize("nested", [False, True])
async def test_neither_an_agents_own_settings_nor_its_own_client_bring_other_retries(
    llmock: LLMock, api: Api, nested: bool
) -> None:
    llmock.fail(500, times=2)
    own = AsyncOpenAI(base_url=llmock.base_url(), api_key=KEY, max_retries=2)
    kind = OpenAIResponsesModel if api == "responses" else OpenAIChatCompletionsModel
    insists = ModelSettings(retry=ModelRetrySettings(max_retries=3, policy=retry_policies.http_status([500])))
    agent: Agent[Any] = Agent(name="own", model=kind("m", openai_client=own), model_settings=insists)
    if nested:
        tool = agent.as_tool("ask", "Ask.", failure_error_function=None)
        script = ScriptedModel([[function_call("ask", {"input": "x"}, call_id="a")]])
        agent = Agent(name="outer", model=script, tools=[tool])
    async with http_runner(llmock) as runner, own:
        result = await runner.run(AgentRun(definition_of("own", agent), "Hello"))
    assert result.failure is not None
    assert len(llmock.requests) == 1


@both_apis
async def test_a_rate_limit_says_how_long_to_wait_and_waiting_helps(llmock: LLMock, api: Api) -> None:
    llmock.rate_limit(retry_after=0.2)
    llmock.reply("Now.")
    async with http_runner(llmock, api) as runner:
        first = await runner.run(AgentRun(AGENT, "Hello"))
        assert first.failure is not None
        assert first.failure.kind is FailureKind.RATE_LIMITED
        assert first.failure.retryable
        assert first.failure.retry_after_us is not None
        assert 0 < first.failure.retry_after_us < RETRY_AFTER_LIMIT_US
        await asyncio.sleep(first.failure.retry_after_us / 1_000_000)
        second = await runner.run(AgentRun(AGENT, "Hello"))
    assert second.text == "Now."
    llmock.assert_resilient()


@both_apis
@pytest.mark.parametrize("after_chunks", [0, 1, 3])
async def test_a_stream_that_ends_early_is_never_taken_for_an_answer(
    llmock: LLMock, api: Api, after_chunks: int
) -> None:
    llmock.reply("One two three four five six seven eight nine ten.")
    llmock.truncate(after_chunks=after_chunks)
    async with http_runner(llmock, api) as runner:
        result = await runner.run(AgentRun(AGENT, "Count."))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.TRUNCATED
    assert result.failure.retryable
    assert result.usage.requests == 1


@both_apis
async def test_a_connection_that_breaks_in_the_middle_can_be_tried_again(llmock: LLMock, api: Api) -> None:
    llmock.disconnect(after_chunks=2)
    async with http_runner(llmock, api) as runner:
        result = await runner.run(AgentRun(AGENT, "Count."))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.CONNECTION
    assert result.failure.retryable


@both_apis
async def test_a_chunk_that_is_no_json_is_the_servers_fault(llmock: LLMock, api: Api) -> None:
    llmock.corrupt(after_chunks=2)
    async with http_runner(llmock, api) as runner:
        result = await runner.run(AgentRun(AGENT, "Count."))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.SERVER_ERROR
    assert result.failure.retryable


@both_apis
async def test_a_call_that_takes_too_long_is_given_up(llmock: LLMock, api: Api) -> None:
    llmock.stall(after_chunks=1, seconds=20)
    async with http_runner(llmock, api, call_timeout_us=200_000) as runner:
        result = await runner.run(AgentRun(AGENT, "Count."))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.TIMEOUT
    assert "timeout" in result.failure.message
    assert result.usage.requests == 1


@both_apis
async def test_a_stream_that_falls_silent_in_the_middle_is_given_up_long_before_the_call_is(
    llmock: LLMock, api: Api
) -> None:
    llmock.stall(after_chunks=5, seconds=20)
    async with http_runner(llmock, api, stall_timeout_us=200_000) as runner:
        result = await runner.run(AgentRun(AGENT, "Count."))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.TIMEOUT
    assert result.failure.retryable
    assert "fell silent in mid-answer for 0.2 s" in result.failure.message


@both_apis
async def test_a_model_may_think_longer_than_it_may_fall_silent(llmock: LLMock, api: Api) -> None:
    llmock.slow_first_token(0.5)
    llmock.reply("At last.")
    async with http_runner(llmock, api, stall_timeout_us=100_000) as runner:
        result = await runner.run(AgentRun(AGENT, "Think."))
    assert result.text == "At last."


async def test_a_silent_server_is_given_up_by_the_http_client_too(llmock: LLMock) -> None:
    llmock.delay(5)
    models = ConfiguredModels(choice(llmock.base_url(), timeout_us=150_000), environ={"TEST_KEY": KEY})
    result = await AgentRunner(models).run(AgentRun(AGENT, "Hello"))
    await models.aclose()
    assert result.failure is not None
    assert result.failure.kind is FailureKind.TIMEOUT


@both_apis
async def test_a_wrong_key_says_where_to_put_the_right_one(llmock: LLMock, api: Api) -> None:
    llmock.fail(401, message=f"Incorrect API key provided: {KEY}.", code="invalid_api_key")
    async with http_runner(llmock, api) as runner:
        result = await runner.run(AgentRun(AGENT, "Hello"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.AUTHENTICATION
    assert not result.failure.retryable
    assert "api_key_env" in result.failure.message
    assert KEY not in result.failure.message


async def test_a_refused_request_quotes_the_server_without_secrets(llmock: LLMock) -> None:
    llmock.fail(400, message=f"unknown field\n'top_q' (Bearer {KEY})\x1b[31m")
    async with http_runner(llmock) as runner:
        result = await runner.run(AgentRun(AGENT, "Hello"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.MODEL_REQUEST
    assert not result.failure.retryable
    assert "unknown field 'top_q'" in result.failure.message
    assert KEY not in result.failure.message
    assert "\x1b" not in result.failure.message


@pytest.mark.parametrize(
    ("status", "code", "kind", "retryable", "advice"),
    [
        (400, "context_length_exceeded", FailureKind.MODEL_REQUEST, False, "larger context"),
        (404, "model_not_found", FailureKind.MODEL_REQUEST, False, "model's name"),
        (404, None, FailureKind.MODEL_REQUEST, False, "base_url"),
        (403, None, FailureKind.AUTHENTICATION, False, "api_key_env"),
        (408, None, FailureKind.TIMEOUT, True, "timeout"),
        (409, None, FailureKind.SERVER_ERROR, True, "Try again"),
        (422, None, FailureKind.MODEL_REQUEST, False, "settings"),
        (429, "insufficient_quota", FailureKind.RATE_LIMITED, False, "Top it up"),
        (503, None, FailureKind.SERVER_ERROR, True, "Try again"),
    ],
)
async def test_each_refusal_has_its_kind_and_its_advice(
    llmock: LLMock, status: int, code: str | None, kind: FailureKind, retryable: bool, advice: str
) -> None:
    llmock.fail(status, code=code, message="no")
    async with http_runner(llmock) as runner:
        result = await runner.run(AgentRun(AGENT, "Hello"))
    assert result.failure is not None
    assert (result.failure.kind, result.failure.retryable) == (kind, retryable)
    assert advice in result.failure.message


async def test_an_overloaded_server_may_say_when_to_come_back(llmock: LLMock) -> None:
    llmock.fail(503, retry_after=3)
    async with http_runner(llmock) as runner:
        result = await runner.run(AgentRun(AGENT, "Hello"))
    assert result.failure is not None
    assert result.failure.retry_after_us == 3_000_000


async def test_a_server_that_is_down_says_what_to_check() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        models = ConfiguredModels(choice(base_url), environ={})
        result = await AgentRunner(models).run(AgentRun(AGENT, "Hello"))
        await models.aclose()
    assert result.failure is not None
    assert result.failure.kind is FailureKind.CONNECTION
    assert result.failure.retryable
    assert "base_url" in result.failure.message
    assert result.usage == Usage(requests=1)


@both_apis
async def test_the_planner_answers_with_a_typed_plan(llmock: LLMock, api: Api) -> None:
    llmock.reply(PLAN)
    async with http_runner(llmock, api) as runner:
        result = await runner.run(AgentRun(PLANNER, build_planner_input("Go", [RESEARCH]), output_type=PlannerOutput))
    assert result.failure is None
    assert isinstance(result.output, PlannerOutput)
    assert result.output.tasks[0].agent_id == "research_agent"
    assert result.media_type == "application/json"
    body = llmock.last_request.body
    assert body is not None
    assert not body.get("tools")
    assert "'strict': True" in str(body)


@both_apis
async def test_a_bad_plan_costs_no_usage_and_names_its_problems(llmock: LLMock, api: Api) -> None:
    llmock.reply('{"tasks": [{"title": "One", "dependencies": "none"}')
    llmock.reply('{"tasks": [{"title": "One", "dependencies": "none"}]}')
    async with http_runner(llmock, api) as runner:
        request = AgentRun(PLANNER, build_planner_input("Go", [RESEARCH]), output_type=PlannerOutput)
        broken = await runner.run(request)
        incomplete = await runner.run(request)
    for result in (broken, incomplete):
        assert result.failure is not None
        assert result.failure.kind is FailureKind.INVALID_OUTPUT
        assert result.failure.retryable
        assert result.usage.output_tokens > 0
    assert len(broken.problems) == 1
    assert [problem.partition(":")[0] for problem in incomplete.problems] == [
        "tasks.0.description",
        "tasks.0.agent_id",
        "tasks.0.dependencies",
    ]


async def test_a_plan_amid_prose_and_fences_is_found(llmock: LLMock) -> None:
    llmock.reply(f"Here is {{my}} plan:\n```json\n{PLAN}\n```\nGood luck!")
    async with http_runner(llmock) as runner:
        result = await runner.run(AgentRun(PLANNER, build_planner_input("Go", [RESEARCH]), output_type=PlannerOutput))
    assert result.failure is None
    assert isinstance(result.output, PlannerOutput)


async def test_an_answer_cut_by_its_output_limit_is_a_failure_with_its_usage(llmock: LLMock) -> None:
    llmock.add(Reply(text="Half an answ", finish_reason="length"))
    async with http_runner(llmock) as runner:
        result = await runner.run(AgentRun(AGENT, "Hello"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.TRUNCATED
    assert not result.failure.retryable
    assert "max_tokens" in result.failure.message
    assert result.usage.output_tokens > 0


async def test_an_answer_stopped_by_a_filter_is_a_refusal(llmock: LLMock) -> None:
    llmock.add(Reply(text="Well", finish_reason="content_filter"))
    async with http_runner(llmock) as runner:
        result = await runner.run(AgentRun(AGENT, "Hello"))
    assert result.failure is not None
    assert result.failure.kind is FailureKind.REFUSED


async def test_cancelling_a_run_ends_it_at_once_and_still_counts_the_call(llmock: LLMock) -> None:
    llmock.stall(after_chunks=2, seconds=30)
    started = asyncio.Event()
    reports: list[tuple[int, Usage]] = []
    async with http_runner(llmock) as runner:
        request = AgentRun(AGENT, "Hello", on_delta=lambda _: started.set(), on_usage=lambda *it: reports.append(it))
        task = asyncio.create_task(runner.run(request))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert reports == [(1, Usage(requests=1))]


async def test_the_name_offline_needs_no_server() -> None:
    models = ConfiguredModels(choice("http://127.0.0.1:9/v1"), environ={})
    result = await AgentRunner(models).run(AgentRun(AGENT, "Hello", model="offline"))
    await models.aclose()
    assert "without a language model" in result.text


def test_openai_without_a_key_does_not_start() -> None:
    with pytest.raises(Exception, match="TEST_KEY is not set"):
        ConfiguredModels(ModelChoice("openai", "m", None, "responses", "TEST_KEY", 1, {}), environ={})
