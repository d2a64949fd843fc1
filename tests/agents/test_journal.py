"""The call journal: real store, real Agents SDK, real tools; only the model is scripted. Tools count their runs in a file."""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, Tool
from agents import Usage as SdkUsage
from agents.mcp import MCPServerStdio, MCPServerStdioParams
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agents.testing.model import ModelScriptItem

from orcs_server import idempotent
from orcs_server.errors import Conflict
from orcs_server.storage.journal import JournalHead, Spent, ToolCall
from orcs_server.workflow.model import FailureKind, Usage
from tests.agents.journal_bench import KEY, SCHEMA, Bench, call, nested


async def test_finished_calls_are_not_made_again(bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("left"), bench.tool("right")])
    first = await bench.done(agent, [[call("left"), call("right")], [call("left", 2)]])
    assert first.failure is not None
    second = await bench.done(agent, [[assistant_message("all done")]])
    assert (second.failure, second.text) == (None, "all done")
    assert sorted(bench.runs) == ["left:1", "left:2", "right:1"]
    assert (second.calls, second.usage.requests) == (1, 1), "what was replayed is not counted again"
    assert bench.mismatches == []


@pytest.mark.parametrize("above", [True, False])
async def test_an_idempotent_tool_that_was_cut_off_runs_again_under_the_same_key(bench: Bench, above: bool) -> None:
    tool = bench.tool("keyed", blocks=True)
    if above:
        idempotent(tool)
    else:
        idempotent(tool.__wrapped__)
    agent = Agent(name="A", tools=[bench.tool("quick"), tool])
    await bench.attempt(agent, [[call("quick"), call("keyed")]], cut=True)
    result = await bench.done(agent, [[assistant_message("ok")]])
    assert result.text == "ok"
    assert bench.runs.count("quick:1") == 1
    keyed = [run for run in bench.runs if run.startswith("keyed")]
    assert len(keyed) == 2
    assert len(set(keyed)) == 1


async def test_nested_agents_go_on_where_they_were_cut_off(bench: Bench) -> None:
    tools: list[Tool] = [bench.tool("dig"), idempotent(bench.tool("block", blocks=True))]
    inner = Agent(name="Inner", tools=tools)
    outer = Agent(name="Outer", tools=[inner.as_tool("ask", "Ask.")])
    asked = nested("ask", "look", "ask_1")
    await bench.attempt(outer, [[asked], [call("dig", 1, "same_id")], [call("block", 1, "same_id")]], cut=True)
    result = await bench.done(outer, [[assistant_message("found")], [assistant_message("outer is done")]])
    assert result.text == "outer is done"
    assert bench.runs == ["dig:1", "block:1", "block:1"]
    rows = await bench.store.open_journal(KEY, 3)
    assert {(one.path, one.turn) for one in rows.model_calls} == {("", 0), ("ask_1", 0), ("ask_1", 1), ("ask_1", 2)}
    assert {(one.path, one.tool) for one in rows.tool_calls} == {("", "ask"), ("ask_1", "dig"), ("ask_1", "block")}


async def test_what_the_attempt_has_consumed_is_stored_with_each_call_failed_ones_included(bench: Bench) -> None:
    def step(output: Any, taken: int) -> ModelStep:
        return ModelStep(output=[output], usage=SdkUsage(requests=1, input_tokens=taken))

    inner = Agent(name="Inner", tools=[bench.tool("dig")])
    outer = Agent(name="Outer", tools=[inner.as_tool("ask", "Ask."), idempotent(bench.tool("block", blocks=True))])
    steps: list[ModelScriptItem] = [
        step(nested("ask", "look", "ask_1"), 1),
        step(call("dig"), 10),
        ConnectionResetError("the inner agent's second call fails, and the outer one is told so"),
        step(call("block"), 1_000),
    ]
    said: list[tuple[int, Usage]] = []
    await bench.attempt(outer, steps, cut=True, on_usage=lambda *report: said.append(report))
    assert said[-1] == (4, Usage(4, 1_011))
    assert await bench.store.journal_heads("default", "w1") == {"t1": JournalHead(1, Spent(*said[-1]), 1)}
    await bench.done(outer, [step(assistant_message("done"), 7)])
    assert await bench.store.journal_heads("default", "w1") == {"t1": JournalHead(2, Spent(), 2)}


async def test_parallel_nested_agents_keep_their_calls_apart(bench: Bench) -> None:
    inner = Agent(name="Inner", tools=[bench.tool("dig")])
    outer = Agent(name="Outer", tools=[inner.as_tool("ask", "Ask.")])

    def answer(model_call: Any) -> Any:
        """Answer by what is asked, since the nested agents come in any order."""
        text = str(model_call.input[0]["content"])
        n = {"go": 0, "one": 1, "two": 2}[text]
        if len(model_call.input) > 1:
            return [assistant_message(f"answer {n}")]
        return [nested("ask", "one", "a"), nested("ask", "two", "b")] if n == 0 else [call("dig", n)]

    step = ModelStep.respond(answer)
    cut = await bench.done(outer, [step] * 5)
    assert cut.failure is not None
    assert sorted(bench.runs) == ["dig:1", "dig:2"]
    result = await bench.done(outer, [step])
    assert (result.text, result.calls) == ("answer 0", 1)
    assert sorted(bench.runs) == ["dig:1", "dig:2"]


async def test_models_given_as_objects_to_nested_agents_are_journaled_too(bench: Bench) -> None:
    model = ScriptedModel([[call("dig")]])
    inner = Agent(name="Inner", model=model, tools=[bench.tool("dig"), idempotent(bench.tool("b", blocks=True))])
    outer = Agent(name="Outer", tools=[inner.as_tool("ask", "Ask.")])
    model.enqueue([call("b")])
    await bench.attempt(outer, [[nested("ask", "look", "ask_1")]], cut=True)
    model.enqueue([assistant_message("found")])
    result = await bench.done(outer, [[assistant_message("ok")]])
    assert result.text == "ok"
    assert len(model.calls) == 3
    assert bench.runs == ["dig:1", "b:1", "b:1"]


async def test_a_handoff_is_replayed_and_its_tools_are_not_run_again(bench: Bench) -> None:
    second = Agent(name="second", tools=[bench.tool("pay")])
    first = Agent(name="first", tools=[bench.tool("look")], handoffs=[second])
    steps = [[call("look")], [function_call("transfer_to_second", {}, call_id="h")], [call("pay")]]
    assert (await bench.done(first, steps)).failure is not None
    result = await bench.done(first, [[assistant_message("paid")]])
    assert (result.text, result.calls) == ("paid", 1)
    assert bench.runs == ["look:1", "pay:1"]
    assert bench.mismatches == []


async def test_an_unusable_answer_is_asked_for_again_and_nothing_before_it(bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("dig")])
    first = await bench.done(agent, [[call("dig")], [assistant_message("no JSON")]], output_schema=SCHEMA)
    assert first.failure is not None
    assert first.failure.kind is FailureKind.INVALID_OUTPUT
    second = await bench.done(agent, [[assistant_message('{"n": 7}')]], output_schema=SCHEMA)
    assert (second.output, second.calls) == ({"n": 7}, 1)
    assert bench.runs == ["dig:1"]


async def test_a_tool_that_ran_out_of_time_is_settled_with_what_the_model_was_told(bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("slow", blocks=True, timeout=0.05), bench.tool("dig")])
    assert (await bench.done(agent, [[call("slow")], [call("dig")]])).failure is not None
    result = await bench.done(agent, [[assistant_message("went on")]])
    assert result.text == "went on"
    assert bench.runs == ["slow:1", "dig:1"]


async def test_another_input_is_a_mismatch_and_goes_on_live_where_nothing_has_acted(bench: Bench) -> None:
    agent = Agent(name="A", tools=[idempotent(bench.tool("look"))])
    assert (await bench.done(agent, [[call("look", 1, "id")]])).failure is not None
    result = await bench.done(agent, [[call("look", 2, "id")], [assistant_message("anew")]], text="something else")
    assert result.text == "anew"
    assert bench.mismatches == [("", 0)]
    rows = await bench.store.open_journal(KEY, 3)
    assert [(one.call_id, one.dropped) for one in rows.tool_calls] == [("id", True), ("id_2", False)]


async def test_a_mismatch_after_something_has_acted_fails_instead_of_acting_twice(bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("pay")])
    assert (await bench.done(agent, [[call("pay")]])).failure is not None
    result = await bench.done(agent, [], text="something else")
    assert result.failure is not None
    assert (result.failure.kind, result.failure.retryable) == (FailureKind.TOOL_FAILED, False)
    assert 'the tool "pay" has acted' in result.failure.message
    assert bench.mismatches == [("", 0)]
    assert bench.runs == ["pay:1"]


async def test_an_attempt_that_was_overtaken_can_store_nothing_more(bench: Bench) -> None:
    await bench.store.append_journal(KEY, 1, [ToolCall("", "a", "tool", repeatable=False)])
    await bench.store.open_journal(KEY, 2)
    with pytest.raises(Conflict, match="attempt 2 has taken over"):
        await bench.store.append_journal(KEY, 1, [ToolCall("", "b", "tool", repeatable=False)])


MCP_SERVER = """
import sys
from mcp.server.mcpserver import MCPServer

server = MCPServer("counting")

@server.tool()
def count(n: int) -> str:
    with open(sys.argv[1], "a") as file:
        file.write(f"count:{n}\\n")
    return f"counted {n}"

server.run()
"""


async def test_tools_of_mcp_servers_are_not_run_again(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "mcp_server.py"
    script.write_text(MCP_SERVER)
    parameters = MCPServerStdioParams(command=sys.executable, args=[str(script), str(bench.counted)])
    async with MCPServerStdio(params=parameters) as server:
        agent = Agent(name="A", mcp_servers=[server])
        assert (await bench.done(agent, [[call("count")], [call("count", 2)]])).failure is not None
        result = await bench.done(agent, [[assistant_message("ok")]])
    assert result.text == "ok"
    assert bench.runs == ["count:1", "count:2"]
    assert bench.mismatches == []


async def test_n_turns_cost_bytes_in_proportion(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent(name="A", tools=[bench.tool("dig")])
    sizes = []
    for turns in (10, 20, 40):
        bench.key, bench.attempts = bench.key._replace(run=turns), 0
        before = bytes_stored(bench.path)
        began = time.perf_counter()
        await bench.done(agent, [[call("dig", turns * 100 + n)] for n in range(turns)])
        first_ms = (time.perf_counter() - began) * 1e3
        sizes.append((bytes_stored(bench.path) - before) / turns)
        began = time.perf_counter()
        assert (await bench.done(agent, [[assistant_message("done")]])).text == "done"
        replay_ms = (time.perf_counter() - began) * 1e3
        with capsys.disabled():
            sys.stdout.write(
                f"\n{turns} turns: {sizes[-1]:.0f} bytes a turn, {first_ms:.0f} ms, replayed in {replay_ms:.0f} ms"
            )
    assert max(sizes) < 1.1 * min(sizes)


def bytes_stored(path: Path) -> int:
    """Return the bytes in the rows of the journal and in the blobs."""
    total = 0
    with closing(sqlite3.connect(path)) as connection:
        for table in ("journal_model_calls", "journal_tool_calls", "blobs", "blob_uses"):
            for row in connection.execute(f"SELECT * FROM {table}"):
                total += sum(len(value) if isinstance(value, bytes | str) else 8 for value in row)
    return total
