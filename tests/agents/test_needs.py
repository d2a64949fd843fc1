"""What waits for people within a run: questions, approvals of tools, tools that were cut off. The attempt ends, the next one goes on."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from agents import Agent, RunContextWrapper, Runner
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agents.tool_context import ToolContext
from msgspec.structs import replace

from orcs_server import ask_user, idempotent, propose_tasks, sensitive
from orcs_server.agents.clearance import Clearance, clear
from orcs_server.agents.journal import RunJournal
from orcs_server.agents.needs import InputRequired
from orcs_server.agents.steering import Steering
from orcs_server.storage.journal import JournalKey
from orcs_server.workflow.model import FailureKind
from orcs_server.workflow.people import IfUnanswered, InputKind, PendingInput, Resolution
from tests.agents.journal_bench import Bench, call, nested

EVERY = {
    "choices": None,
    "answer_schema": None,
    "default": None,
    "deadline_seconds": None,
    "if_unanswered": None,
}


def question(text: str, call_id: str = "ask_1", **parameters: Any) -> Any:
    return function_call("ask_user", {"question": text, **EVERY, **parameters}, call_id=call_id)


def outputs_of(model_call: Any) -> dict[str, str]:
    """Return what the model was shown of its tool calls, by their ids."""
    shown = [one for one in model_call.input if one.get("type") == "function_call_output"]
    return {one["call_id"]: one["output"] for one in shown}


def reading(seen: dict[str, str], answer: str = "done") -> ModelStep:
    """Return a last step that notes the results that it was shown."""

    def respond(model_call: Any) -> list[Any]:
        seen.update(outputs_of(model_call))
        return [assistant_message(answer)]

    return ModelStep.respond(respond)


@pytest.mark.parametrize("key", [JournalKey("default", "w1", "t1", 3), JournalKey("default", "w1", "", 2)])
async def test_a_question_ends_the_attempt_and_its_answer_goes_to_the_agent(bench: Bench, key: JournalKey) -> None:
    bench.key = key
    agent = Agent(name="A", tools=[ask_user, bench.tool("look")])
    first = await bench.done(agent, [[question("Which colour?"), call("look")]])
    (need,) = first.needs
    assert (first.halted, need.kind, need.prompt, need.answer_schema) == (
        True,
        InputKind.QUESTION,
        "Which colour?",
        None,
    )
    await bench.resolve(first, Resolution.ANSWERED, answer="blue")
    seen: dict[str, str] = {}
    second = await bench.done(agent, [reading(seen)])
    assert (second.text, seen) == ("done", {"ask_1": "blue", "look_1": "look did 1"})
    assert bench.runs == ["look:1"]
    third = await bench.done(agent, [])
    assert third.failure is not None, "the answer was not the run's last act"


async def test_questions_of_one_turn_are_asked_together_and_those_of_nested_agents_once_they_are_reached(
    bench: Bench,
) -> None:
    inner = Agent(name="Inner", tools=[ask_user])
    outer = Agent(name="Outer", tools=[ask_user, inner.as_tool("delegate", "Delegate.")])
    asked = [question("First?", "q1"), nested("delegate", "look", "d1"), question("Second?", "q2")]
    first = await bench.done(outer, [asked])
    assert {need.prompt: need.place for need in first.needs} == {"First?": "q1", "Second?": "q2"}
    await bench.resolve(first, *[Resolution.ANSWERED] * 2, answer="yes")
    second = await bench.done(outer, [[question("Inner?", "q1")]])
    assert [(need.prompt, need.place) for need in second.needs] == [("Inner?", "d1/q1_2")]
    await bench.resolve(second, Resolution.ANSWERED, answer="no")
    seen: dict[str, str] = {}
    third = await bench.done(outer, [reading(seen, "inner says no"), reading(seen)])
    assert (third.text, bench.mismatches) == ("done", [])
    assert seen == {"q1": "yes", "q2": "yes", "q1_2": "no", "d1": "inner says no"}


async def test_choices_and_schemas_bind_the_answer_and_json_texts_come_unquoted(bench: Bench) -> None:
    agent = Agent(name="A", tools=[ask_user])
    schema = {"type": "integer", "minimum": 1}
    asked = [
        question("Which?", "q1", choices=["red", "blue"], default="blue", deadline_seconds=60, if_unanswered="fail"),
        question("How many?", "q2", answer_schema=json.dumps(schema)),
    ]
    first = await bench.done(agent, [asked])
    texts = {blob.digest: blob.data for blob in first.blobs}
    which, many = first.needs
    assert which.answer_schema is not None
    assert many.answer_schema is not None
    assert which.default is not None
    assert json.loads(texts[which.answer_schema]) == {"type": "string", "enum": ["red", "blue"]}
    assert json.loads(texts[many.answer_schema]) == schema
    assert (texts[which.default], which.expires_after_us) == (b'"blue"', 60_000_000)
    assert (which.if_unanswered, many.if_unanswered) == (IfUnanswered.FAIL, IfUnanswered.GO_ON)
    await bench.resolve(first, Resolution.DEFAULTED, Resolution.ANSWERED, answer="3")
    seen: dict[str, str] = {}
    await bench.done(agent, [reading(seen)])
    assert seen == {"q1": "Nobody answered in time. The default counts: blue", "q2": "3"}


async def test_a_question_that_nobody_answered_is_told_as_such(bench: Bench) -> None:
    agent = Agent(name="A", tools=[ask_user])
    first = await bench.done(agent, [[question("Which?", deadline_seconds=1)]])
    await bench.resolve(first, Resolution.EXPIRED)
    seen: dict[str, str] = {}
    await bench.done(agent, [reading(seen)])
    assert "Nobody answered in time" in seen["ask_1"]


async def test_what_was_withdrawn_is_asked_anew(bench: Bench) -> None:
    agent = Agent(name="A", tools=[ask_user])
    first = await bench.done(agent, [[question("Which?")]])
    await bench.resolve(first, Resolution.WITHDRAWN)
    second = await bench.done(agent, [])
    assert second.needs == first.needs


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"question": " "}, "it is empty"),
        ({"question": "x" * 3_000}, "2048 bytes"),
        ({"choices": ["a"], "answer_schema": "{}"}, "not both"),
        ({"choices": ["a"] * 51}, "at most 50"),
        ({"choices": ["a"], "default": "b"}, "default: "),
        ({"default": "x" * 2_000}, "at most 1000"),
        ({"answer_schema": "{"}, "no JSON"),
        ({"answer_schema": "[" * 100_000}, "no JSON"),
        ({"answer_schema": '{"$ref": "https://example.org/a.json"}'}, '"$ref" must point into the schema'),
        ({"answer_schema": '{"pattern": "(a+)+$"}'}, "hostile pattern"),
        ({"answer_schema": '{"type": "integer"}', "default": "many"}, "default: this is no JSON"),
        ({"deadline_seconds": 0}, "1 second to 30 days"),
        ({"deadline_seconds": 1e300}, "1 second to 30 days"),
    ],
)
async def test_a_question_that_cannot_be_asked_is_handed_back_to_the_model(
    bench: Bench, parameters: dict[str, Any], problem: str
) -> None:
    asked = function_call("ask_user", {"question": "Which?", **EVERY, **parameters}, call_id="ask_1")
    seen: dict[str, str] = {}
    result = await bench.done(Agent(name="A", tools=[ask_user]), [[asked], reading(seen)])
    assert (result.text, result.needs) == ("done", ())
    assert problem in seen["ask_1"]


# Approval of tools


@pytest.mark.parametrize(
    ("resolution", "answer", "told", "ran"),
    [
        (Resolution.APPROVED, "", "pay did 1", ["pay:1"]),
        (Resolution.EDITED, '{"n": 7}', "pay did 7", ["pay:7"]),
        (Resolution.REJECTED, "", "The call was not made: a person refused it. too dear", []),
        (Resolution.EXPIRED, "", "The call was not made: nobody decided about it in time.", []),
    ],
)
async def test_a_tool_that_needs_approval_is_called_as_it_was_decided(
    bench: Bench, resolution: Resolution, answer: str, told: str, ran: list[str]
) -> None:
    agent = Agent(name="A", tools=[bench.tool("pay", needs_approval=True), bench.tool("look")])
    first = await bench.done(agent, [[call("pay"), call("look")]])
    (need,) = first.needs
    assert need.kind is InputKind.TOOL_APPROVAL
    shown = {blob.digest: blob.data for blob in first.blobs}
    assert need.shown is not None
    assert json.loads(shown[need.shown]) == {"tool": "pay", "arguments": {"n": 1}}
    assert need.answer_schema is not None
    fits = json.loads(shown[need.answer_schema])
    assert (list(fits["properties"]), "required" in fits) == (["n"], False), (
        "what is changed fits the tool, and need not be all"
    )
    assert bench.runs == ["look:1"], "what needs no approval has run"
    await bench.resolve(first, resolution, answer=answer, reason="too dear")
    seen: dict[str, str] = {}
    second = await bench.done(agent, [reading(seen)])
    assert (second.text, seen["pay_1"], bench.runs) == ("done", told, ["look:1", *ran])


async def test_leave_for_some_arguments_is_none_for_others(bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("pay", needs_approval=True)])
    first = await bench.done(agent, [[call("pay", 1, "same")]])
    await bench.resolve(first, Resolution.APPROVED)
    bench.key = bench.key._replace(run=2)
    bench.inputs = [replace(one, run=2) for one in bench.inputs]
    second = await bench.done(agent, [[call("pay", 2, "same")]])
    (need,) = second.needs
    assert need.shown != first.needs[0].shown
    assert bench.runs == []


async def test_a_tool_may_say_for_which_arguments_it_needs_approval(bench: Bench) -> None:
    async def dear(context: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
        return bool(arguments["n"] > 1)

    agent = Agent(name="A", tools=[bench.tool("pay", needs_approval=dear)])
    first = await bench.done(agent, [[call("pay", 1), call("pay", 2)]])
    assert [need.place for need in first.needs] == ["pay_2"]
    assert bench.runs == ["pay:1"]


async def test_arguments_that_cannot_be_read_are_not_put_before_a_person(bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("pay", needs_approval=True)])
    result = await bench.done(agent, [[function_call("pay", "{broken", call_id="c")]])
    assert result.failure is not None
    assert (result.failure.kind, result.failure.retryable, result.needs) == (FailureKind.INVALID_OUTPUT, True, ())
    again = await bench.done(agent, [[call("pay")]])
    assert len(again.needs) == 1


# Tools that were cut off


@pytest.mark.parametrize(
    ("resolution", "answer", "told", "ran"),
    [
        (Resolution.APPROVED, "", "charge did 1", ["charge:1"] * 2),
        (Resolution.EDITED, "it had charged 1", "it had charged 1", ["charge:1"]),
        (Resolution.REJECTED, "", "it was not made again: a person refused it. no", ["charge:1"]),
        (Resolution.EXPIRED, "", "it was not made again: nobody decided", ["charge:1"]),
    ],
)
async def test_a_tool_that_was_cut_off_waits_for_a_persons_word(
    bench: Bench, resolution: Resolution, answer: str, told: str, ran: list[str]
) -> None:
    agent = Agent(
        name="A", tools=[bench.tool("quick"), bench.tool("charge", blocks=True), idempotent(bench.tool("note"))]
    )
    await bench.attempt(agent, [[call("quick"), call("charge"), call("note")]], cut=True)
    asked = await bench.done(agent, [])
    (need,) = asked.needs
    assert (asked.failure, need.kind, need.place) == (None, InputKind.UNSAFE_RERUN, "charge_1")
    assert "charge" in need.prompt
    await bench.resolve(asked, resolution, answer=answer, reason="no")
    seen: dict[str, str] = {}
    last = await bench.done(agent, [reading(seen)])
    assert last.text == "done"
    assert told in seen["charge_1"]
    assert [run for run in bench.runs if run == "charge:1"] == ran
    assert bench.runs.count("quick:1") == 1


async def test_leave_to_run_again_counts_once(bench: Bench) -> None:
    agent = Agent(name="A", tools=[bench.tool("charge", blocks=True)])
    await bench.attempt(agent, [[call("charge")]], cut=True)
    asked = await bench.done(agent, [])
    await bench.resolve(asked, Resolution.APPROVED)
    bench.blocked.clear()
    await bench.attempt(agent, [], cut=True)
    assert bench.runs == ["charge:1"] * 2
    again = await bench.done(agent, [])
    assert [need.kind for need in again.needs] == [InputKind.UNSAFE_RERUN]
    assert bench.runs == ["charge:1"] * 2


async def test_a_tool_that_was_cut_off_and_is_gone_fails_the_task(bench: Bench) -> None:
    await bench.attempt(Agent(name="A", tools=[bench.tool("charge", blocks=True)]), [[call("charge")]], cut=True)
    result = await bench.done(Agent(name="A"), [])
    assert result.failure is not None
    assert (result.failure.kind, result.failure.retryable) == (FailureKind.TOOL_FAILED, False)
    assert '"charge" was cut off' in result.failure.message


async def test_outside_of_a_run_a_tool_keeps_the_sdks_own_approval(bench: Bench) -> None:
    tool = bench.tool("pay", needs_approval=True)
    agent = Agent(name="A", tools=[tool])
    assert (await bench.done(agent, [[call("pay")]])).halted
    own = await Runner.run(Agent(name="A", tools=[tool], model=ScriptedModel([[call("pay")]])), "go")
    assert len(own.interruptions) == 1
    assert bench.runs == []


async def test_a_proposal_that_was_cut_off_proposes_the_same_again(bench: Bench) -> None:
    proposals: list[Any] = []

    async def propose(tasks: Any, blobs: Any) -> None:
        proposals.append((tasks, blobs))
        if len(proposals) == 1:
            bench.blocked.set()
            await asyncio.Event().wait()

    bench.ways = {"propose": propose}
    task = {"title": "T", "description": "D", "agent_id": "a", "depends_on": [], "depends_on_positions": []}
    agent = Agent(name="A", tools=[propose_tasks])
    asked = function_call("propose_tasks", {"tasks": [task]}, call_id="p1")
    await bench.attempt(agent, [[asked]], cut=True)
    await bench.done(
        agent, [[function_call("propose_tasks", {"tasks": [task]}, call_id="p2")], [assistant_message("ok")]]
    )
    first, again, other = proposals
    assert first == again
    assert first[0][0].id != other[0][0].id


@pytest.mark.parametrize("resolution", [None, Resolution.REJECTED, Resolution.APPROVED, Resolution.WITHDRAWN])
async def test_what_was_asked_because_of_what_was_read_stays_asked(bench: Bench, resolution: Resolution | None) -> None:
    """The next attempt may come to the call before it has gone through what was read beside it."""
    tool = sensitive(bench.tool("wire"))
    context = cast("ToolContext[Any]", SimpleNamespace(tool_call_id="c1"))

    async def ask(journal: RunJournal) -> Clearance:
        return await clear(journal, tool, context, '{"n": 1}', repeatable=False, sensitive=True)

    first = RunJournal(bench.store, bench.key, 1)
    assert (await ask(first)).instead is None, "nothing has been read"
    first.reading.reads.external("page")
    with pytest.raises(InputRequired) as asked:
        await ask(first)
    need = replace(asked.value.need, place="c1")
    known = PendingInput("i1", 1, need, 0, bench.key.task_id, 1, bench.key.run, resolution=resolution)
    second = RunJournal(bench.store, bench.key, 2, steering=Steering(inputs=[known]))
    assert not second.reading.reads.untrusted
    match resolution:
        case Resolution.APPROVED:
            assert (await ask(second)).instead is None
        case Resolution.REJECTED:
            assert "a person refused it" in str((await ask(second)).instead)
        case _:
            with pytest.raises(InputRequired):
                await ask(second)
