"""Runs that stop in good order: every agent before its next model call, with all that was finished stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from agents import Agent, function_tool
from agents.testing import ModelStep, assistant_message

from orcs_server.agents.people_tools import ask_user
from orcs_server.workflow.model import FailureKind
from orcs_server.workflow.people import Resolution
from tests.agents.journal_bench import Bench, call, nested
from tests.agents.test_needs import question


def stopping(bench: Bench, *output: Any) -> ModelStep:
    """Return a step in whose course the run is told to stop."""

    def answer(_: Any) -> list[Any]:
        bench.steering.request_stop()
        return list(output)

    return ModelStep.respond(answer)


async def test_a_stop_lets_tools_end_and_repeats_nothing(bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("left"), bench.tool("right")])
    first = await bench.done(agent, [stopping(bench, call("left"), call("right"))])
    assert (first.halted, first.needs, first.failure, first.text) == (True, (), None, "")
    second = await bench.done(agent, [[assistant_message("all done")]])
    assert (second.halted, second.text, second.calls) == (False, "all done", 1)
    assert sorted(bench.runs) == ["left:1", "right:1"]
    assert bench.mismatches == []


async def test_an_answer_that_ends_the_run_counts_in_spite_of_a_stop(bench: Bench) -> None:
    result = await bench.done(Agent(name="A"), [stopping(bench, assistant_message("done"))])
    assert (result.halted, result.text) == (False, "done")


async def test_a_stop_that_is_taken_back_in_time_stops_nothing(bench: Bench) -> None:
    def answer(_: Any) -> list[Any]:
        bench.steering.request_stop()
        bench.steering.withdraw_stop()
        return [call("left")]

    agent = Agent(name="A", tools=[bench.tool("left")])
    result = await bench.done(agent, [ModelStep.respond(answer), [assistant_message("done")]])
    assert (result.halted, result.text) == (False, "done")


@pytest.mark.parametrize("told", [True, False], ids=["the SDK makes it a text", "the SDK raises it"])
async def test_a_stop_in_a_nested_agent_leaves_no_result_behind(bench: Bench, told: bool) -> None:
    inner = Agent(name="Inner", tools=[bench.tool("dig")])
    options: dict[str, Any] = {} if told else {"failure_error_function": None}
    ask = inner.as_tool("ask", "Ask.", **options)
    outer = Agent(name="Outer", tools=[ask, bench.tool("act")])

    def inner_turn(_: Any) -> list[Any]:
        bench.steering.request_stop()
        return [call("dig")]

    steps: list[Any] = [[nested("ask", "look", "ask_1"), call("act")], ModelStep.respond(inner_turn)]
    first = await bench.done(outer, steps)
    assert (first.halted, first.failure) == (True, None)
    rows = await bench.store.open_journal(bench.key, 1)
    assert {one.tool: one.result is not None for one in rows.tool_calls} == {"ask": False, "act": True, "dig": True}
    second = await bench.done(outer, [[assistant_message("found")], [assistant_message("all done")]])
    assert (second.text, second.calls) == ("all done", 2)
    assert sorted(bench.runs) == ["act:1", "dig:1"]
    assert bench.mismatches == []


async def test_once_a_path_has_stopped_all_do_even_if_the_stop_is_taken_back(bench: Bench) -> None:
    inner = Agent(name="Inner", tools=[bench.tool("dig")])

    async def wrapped(context: Any, arguments: str) -> Any:
        result = await invoke(context, arguments)
        bench.steering.withdraw_stop()
        return result

    ask = inner.as_tool("ask", "Ask.")
    invoke: Callable[..., Any] = ask.on_invoke_tool
    ask.on_invoke_tool = wrapped
    outer = Agent(name="Outer", tools=[ask])
    first = await bench.done(outer, [[nested("ask", "look", "ask_1")], stopping(bench, call("dig"))])
    assert first.halted
    assert not bench.steering.stop
    second = await bench.done(outer, [[assistant_message("found")], [assistant_message("done")]])
    assert second.text == "done"


async def test_a_tool_whose_result_would_end_the_run_does_not_end_it_with_nothing(bench: Bench) -> None:
    agent = Agent(name="A", tools=[ask_user], tool_use_behavior="stop_on_first_tool")
    first = await bench.done(agent, [[question("Which?")]])
    assert (first.halted, first.text, len(first.needs)) == (True, "", 1)
    await bench.resolve(first, Resolution.ANSWERED, answer="that one")
    second = await bench.done(agent, [])
    assert (second.text, second.calls) == ("that one", 0)


async def test_a_real_failure_beside_a_question_is_told_and_not_waited_with(bench: Bench) -> None:
    @function_tool(failure_error_function=None)
    async def broken(n: int) -> str:
        """Break."""
        raise ValueError(n)

    agent = Agent(name="A", tools=[ask_user, broken])
    result = await bench.done(agent, [[question("Which?"), call("broken")]])
    assert result.failure is not None
    assert (result.failure.kind, result.halted) == (FailureKind.TOOL_FAILED, False)


async def test_a_tool_that_ran_out_of_time_beside_a_question_is_settled(bench: Bench) -> None:
    agent = Agent(name="A", tools=[ask_user, bench.tool("slow", blocks=True, timeout=0.05)])
    first = await bench.done(agent, [[question("Which?"), call("slow")]])
    assert [need.prompt for need in first.needs] == ["Which?"]
    await bench.resolve(first, Resolution.ANSWERED, answer="that one")
    second = await bench.done(agent, [[assistant_message("went on")]])
    assert (second.text, second.needs) == ("went on", ())
    assert bench.runs == ["slow:1"]


async def test_what_was_spent_is_counted_before_the_model_is_asked(bench: Bench) -> None:
    spent: list[int] = []
    counted: list[int] = []

    async def settled() -> None:
        counted.append(len(spent))
        if len(spent) == 2:
            bench.steering.request_stop()

    bench.ways = {"settled": settled}
    agent = Agent(name="A", tools=[bench.tool("left")])
    steps = [[call("left")], [call("left", 2)]]
    result = await bench.done(agent, steps, on_usage=lambda calls, _: spent.append(calls))
    assert result.halted
    assert (spent, counted) == ([1, 2], [0, 1, 2])
    assert bench.runs == ["left:1", "left:2"]
