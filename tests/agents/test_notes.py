"""What people say to a running agent: where it stands in the conversation, that it stays there, and when an answer does not count."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import Agent
from agents.testing import ModelStep, assistant_message
from msgspec.structs import replace

from orcs_server.agents.people_tools import ask_user
from orcs_server.storage.journal import MessageRead
from orcs_server.storage.store import blob_of
from orcs_server.workflow.model import Usage
from orcs_server.workflow.people import InputKind, MessageMode, Need, PendingInput, Resolution
from tests.agents.journal_bench import Bench, call, nested
from tests.agents.test_needs import question

SHOWN = "# Message from a person\n\n"


def texts(model_call: Any) -> list[str]:
    """Return what the model was shown, in short: texts of users, and the kinds of all else."""
    return [
        str(one["content"]).removeprefix(SHOWN) if one.get("role") == "user" else str(one.get("type", one.get("role")))
        for one in model_call.input
    ]


class Script:
    """A model's answers, with what was shown before each of them and what happens while it is made."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.shown: list[list[str]] = []

    def step(
        self, *output: Any, says: str = "", mode: MessageMode = MessageMode.QUEUE, hangs: bool = False
    ) -> ModelStep:
        async def respond(model_call: Any) -> list[Any]:
            self.shown.append(texts(model_call))
            if says:
                await self.bench.say(says, mode)
            if hangs:
                await asyncio.Event().wait()
            return list(output)

        return ModelStep.respond(respond)


@pytest.fixture
def script(bench: Bench) -> Script:
    return Script(bench)


async def test_messages_stand_after_the_task_and_where_they_came_and_stay_there(bench: Bench, script: Script) -> None:
    agent = Agent(name="A", tools=[bench.tool("left")])
    await bench.say("early")
    steps = [script.step(call("left"), says="late"), script.step(call("left", 2))]
    first = await bench.done(agent, steps)
    assert first.failure is not None, "the model had no more answers"
    assert script.shown == [
        ["go", "early"],
        ["go", "early", "function_call", "function_call_output", "late"],
    ]
    rows = await bench.store.open_journal(bench.key, 1)
    assert rows.messages == [MessageRead("", 0, 1, "m1"), MessageRead("", 1, 4, "m2")]
    second = await bench.done(agent, [script.step(assistant_message("done"))])
    assert (second.text, bench.steering.read) == ("done", 2)
    assert script.shown[-1] == [*script.shown[1], "function_call", "function_call_output"]
    assert bench.mismatches == []
    assert bench.runs == ["left:1", "left:2"]


async def test_a_message_that_came_between_two_attempts_waits_for_the_first_call_that_is_made(
    bench: Bench, script: Script
) -> None:
    agent = Agent(name="A", tools=[bench.tool("left")])
    await bench.done(agent, [script.step(call("left"))])
    await bench.say("meanwhile")
    result = await bench.done(agent, [script.step(assistant_message("done"))])
    assert (result.text, bench.mismatches) == ("done", [])
    assert script.shown[-1] == ["go", "function_call", "function_call_output", "meanwhile"]


async def test_an_answer_that_does_not_know_of_a_message_is_not_the_last_word(bench: Bench, script: Script) -> None:
    agent = Agent(name="A")
    said: list[str] = []
    steps = [script.step(assistant_message("too early"), says="wait"), script.step(assistant_message("now"))]
    result = await bench.done(agent, steps, on_delta=said.append)
    assert (result.text, result.calls, bench.steering.read) == ("now", 2, 1)
    assert script.shown[-1] == ["go", "message", "wait"]
    rows = await bench.store.open_journal(bench.key, 1)
    assert [one.turn for one in rows.model_calls] == [0], "the answer that ended the run is stored with its end"


async def test_a_run_that_went_on_after_an_answer_is_replayed(bench: Bench, script: Script) -> None:
    agent = Agent(name="A", tools=[bench.tool("left")])
    steps = [
        script.step(assistant_message("too early"), says="wait"),
        script.step(call("left"), says="and this"),
    ]
    assert (await bench.done(agent, steps)).failure is not None
    result = await bench.done(agent, [script.step(assistant_message("now"))])
    assert (result.text, result.calls, bench.mismatches) == ("now", 1, [])
    assert script.shown[-1] == ["go", "message", "wait", "function_call", "function_call_output", "and this"]
    assert bench.runs == ["left:1"]


async def test_a_stop_after_an_answer_that_does_not_count_repeats_nothing(bench: Bench, script: Script) -> None:
    agent = Agent(name="A")

    async def respond(_: Any) -> list[Any]:
        await bench.say("wait")
        bench.steering.request_stop()
        return [assistant_message("too early")]

    first = await bench.done(agent, [ModelStep.respond(respond)])
    assert first.halted
    result = await bench.done(agent, [script.step(assistant_message("now"))])
    assert (result.text, result.calls) == ("now", 1)
    assert script.shown == [["go", "message", "wait"]]


async def test_an_interruption_gives_up_the_call_that_streams_and_asks_again(bench: Bench, script: Script) -> None:
    agent = Agent(name="A")
    steps = [
        script.step(says="stop that", mode=MessageMode.INTERRUPT, hangs=True),
        script.step(assistant_message("as you wish")),
    ]
    async with asyncio.timeout(10):
        result = await bench.done(agent, steps)
    assert (result.text, bench.steering.read) == ("as you wish", 1)
    assert script.shown == [["go"], ["go", "stop that"]]
    assert (result.calls, result.usage) == (2, Usage(requests=2))


async def test_a_nested_agents_call_is_not_given_up_and_reads_no_messages(bench: Bench, script: Script) -> None:
    inner = Agent(name="Inner")
    outer = Agent(name="Outer", tools=[inner.as_tool("ask", "Ask.")])
    steps = [
        script.step(nested("ask", "look", "ask_1")),
        script.step(assistant_message("found"), says="hurry", mode=MessageMode.INTERRUPT),
        script.step(assistant_message("done")),
    ]
    result = await bench.done(outer, steps)
    assert (result.text, result.calls) == ("done", 3)
    assert script.shown[1:] == [["look"], ["go", "function_call", "function_call_output", "hurry"]]


async def test_where_the_course_is_left_messages_are_read_anew_and_stay_there(bench: Bench, script: Script) -> None:
    agent = Agent(name="A", tools=[ask_user, bench.tool("left")])
    await bench.say("early")
    await bench.done(agent, [script.step(question("Which?"), says="late")])
    anew = "something else"
    assert (await bench.done(agent, [script.step(call("left"))], text=anew)).failure is not None
    result = await bench.done(agent, [script.step(assistant_message("done"))], text=anew)
    assert (result.text, bench.mismatches, bench.steering.read) == ("done", [("", 0)], 2)
    assert script.shown[1:] == [
        [anew, "early", "late"],
        [anew, "early", "late", "function_call", "function_call_output"],
    ]


async def test_an_unusable_answer_takes_the_messages_that_it_was_shown_with_it(bench: Bench, script: Script) -> None:
    agent = Agent(name="A")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    await bench.say("early")
    assert (await bench.done(agent, [script.step(assistant_message("no"))], output_schema=schema)).failure is not None
    result = await bench.done(agent, [script.step(assistant_message('{"n": 1}'))], output_schema=schema)
    assert result.output == {"n": 1}
    assert script.shown == [["go", "early"]] * 2


async def test_answers_for_the_whole_workflow_are_shown_once_and_own_ones_by_the_tool(
    bench: Bench, script: Script
) -> None:
    agent = Agent(name="A", tools=[ask_user])
    first = await bench.done(agent, [[question("Mine?")]])
    await bench.resolve(first, Resolution.ANSWERED, answer="mine")
    shared = PendingInput(
        "i9",
        9,
        Need(InputKind.QUESTION, "Theirs?", place="ask_1"),
        0,
        "t2",
        1,
        1,
        resolution=Resolution.ANSWERED,
        answer=blob_of("theirs").digest,
        shared=True,
    )
    private = replace(shared, id="i10", ordinal=10, shared=False)
    await bench.store.put_blobs("default", [blob_of("theirs")])
    bench.inputs += [shared, private]
    steps = [script.step(question("More?", "ask_2"))]
    second = await bench.done(agent, steps)
    note = "# Answer given so far\n\nQuestion: Theirs?\nAnswer: theirs"
    assert script.shown == [["go", "function_call", "function_call_output", note]]
    await bench.resolve(second, Resolution.ANSWERED, answer="more")
    third = await bench.done(agent, [script.step(assistant_message("done"))])
    assert (third.text, bench.mismatches) == ("done", [])
    assert script.shown[1] == [*script.shown[0], "function_call", "function_call_output"]


async def test_own_answers_of_an_earlier_conversation_are_not_asked_again(bench: Bench, script: Script) -> None:
    agent = Agent(name="A", tools=[ask_user])
    first = await bench.done(agent, [[question("Mine?")]])
    await bench.resolve(first, Resolution.ANSWERED, answer="mine")
    bench.key = bench.key._replace(run=2)
    result = await bench.done(agent, [script.step(assistant_message("done"))])
    assert result.text == "done"
    assert script.shown == [["go", "# Answer given so far\n\nQuestion: Mine?\nAnswer: mine"]]
