"""Answers and results at the moment at which an attempt ends are not lost, whoever looks at them and whatever cuts them off."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    OutputGuardrail,
    RunContextWrapper,
    RunHooks,
)
from agents.testing import assistant_message

from orcs_server.agents.context import RunContext
from orcs_server.agents.journal import RunJournal
from orcs_server.workflow.model import FailureKind
from tests.agents.journal_bench import KEY, SCHEMA, Bench
from tests.torture.failing import broken


class Moderation:
    """An output guardrail that looks at the final answer, and breaks down the first time."""

    def __init__(self) -> None:
        self.looked_at: list[str] = []

    async def __call__(self, context: RunContextWrapper[RunContext], agent: Agent[Any], output: Any) -> Any:
        self.looked_at.append(output)
        if len(self.looked_at) == 1:
            raise broken()
        return GuardrailFunctionOutput(None, tripwire_triggered=False)


async def test_a_final_answer_that_a_guardrail_looks_at_first_is_not_asked_for_again(bench: Bench) -> None:
    moderation = Moderation()
    agent = Agent(name="A", output_guardrails=[OutputGuardrail(moderation, name="moderation")])
    first = await bench.done(agent, [[assistant_message("done")]])
    assert first.failure is not None
    second = await bench.done(agent, [])
    assert (second.text, second.calls, second.failure) == ("done", 0, None)
    assert moderation.looked_at == ["done", "done"]


async def test_an_unusable_answer_that_a_guardrail_would_look_at_is_asked_for_again(bench: Bench) -> None:
    moderation = Moderation()
    moderation.looked_at.append("an earlier one")
    agent = Agent(name="A", output_guardrails=[OutputGuardrail(moderation, name="moderation")])
    first = await bench.done(agent, [[assistant_message("no JSON")]], output_schema=SCHEMA)
    assert first.failure is not None
    assert first.failure.kind is FailureKind.INVALID_OUTPUT
    second = await bench.done(agent, [[assistant_message('{"n": 7}')]], output_schema=SCHEMA)
    assert (second.output, second.calls) == ({"n": 7}, 1)


class Stuck(RunHooks[Any]):
    """Hooks that never come back from the end of an agent."""

    def __init__(self, reached: asyncio.Event) -> None:
        self.reached = reached

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        self.reached.set()
        await asyncio.Event().wait()


async def test_a_final_answer_survives_that_its_attempt_is_cancelled_before_its_end(bench: Bench) -> None:
    agent = Agent(name="A")
    await bench.attempt(agent, [[assistant_message("done")]], cut=True, hooks=Stuck(bench.blocked))
    again = await bench.done(agent, [])
    assert (again.text, again.calls) == ("done", 0)


async def test_a_result_is_stored_even_if_its_attempt_is_cancelled_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = RunJournal(bench.store, KEY, 1)
    await journal.start_tool("c1", "pay", repeatable=False)
    append, reached = bench.store.append_journal, asyncio.Event()

    async def slow(*arguments: Any) -> None:
        reached.set()
        await asyncio.sleep(0.05)
        await append(*arguments)

    monkeypatch.setattr(bench.store, "append_journal", slow)
    finishing = asyncio.create_task(journal.finish_tool("c1", "pay", b"paid", repeatable=False))
    await reached.wait()
    finishing.cancel()
    with suppress(asyncio.CancelledError):
        await finishing
    (call,) = (await bench.store.open_journal(KEY, 2)).tool_calls
    assert call.result is not None


async def test_what_an_attempt_held_goes_with_it_and_does_not_wait_for_the_garbage_collector(bench: Bench) -> None:
    journal = RunJournal(bench.store, KEY, 1)
    turn = await journal.live(await journal.begin("hello"))
    assert turn.shown
    gone = weakref.ref(journal)
    gc.disable()
    try:
        del journal
        assert gone() is None
    finally:
        gc.enable()
