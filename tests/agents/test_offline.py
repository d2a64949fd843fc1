from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from agents import Agent, RunConfig, Runner
from hypothesis import given, settings
from hypothesis import strategies as st

from orcs_server.agents.builtin import CODING, DATA, PLANNER, RESEARCH, WRITING
from orcs_server.agents.offline import NOTICE, OfflineModel
from orcs_server.agents.offline.model import _answer
from orcs_server.agents.offline.plan import MAX_BRANCHES, plan_by_rule
from orcs_server.agents.offline.samples import least_value
from orcs_server.agents.offline.shapes import read_shape
from orcs_server.agents.planner import (
    PlannedBefore,
    PlannerInput,
    PlannerOutput,
    Replanning,
    build_planner_input,
    read_planner_input,
)
from orcs_server.agents.runner import AgentRun, AgentRunner
from orcs_server.agents.structured import raw_json_for
from orcs_server.agents.task_input import Predecessor, build_task_input, message_note
from orcs_server.workflow.model import PlanningStrategy
from tests.agents.support import OneModel

AGENTS = (RESEARCH, WRITING, CODING, DATA)
IDS = tuple(one.id for one in AGENTS)
RUNNER = AgentRunner(OneModel(OfflineModel()))


def asked(
    query: str, strategy: PlanningStrategy = PlanningStrategy.BREADTH_FIRST, max_tasks: int = 100
) -> PlannerInput:
    return PlannerInput(query, strategy, IDS, max_tasks)


@pytest.mark.parametrize(
    ("query", "items", "scope"),
    [
        (
            "Compare PostgreSQL, MySQL and SQLite for a small web shop",
            ("PostgreSQL", "MySQL", "SQLite"),
            "for a small web shop",
        ),
        ("Redis vs Kafka vs NATS", ("Redis", "Kafka", "NATS"), ""),
        ("Should we use Rust or Go for our tools?", ("Rust", "Go"), "for our tools"),
        ("Look into REST and gRPC for latency, tooling and price.", ("REST", "gRPC"), "for latency, tooling and price"),
        ("Research the costs of wind and gas, then write a report", ("costs of wind", "costs of gas"), ""),
        ("Find out about:\n- apples\n- pears\n", ("apples", "pears"), ""),
        ("Cover these:\n1. Alpha\n2) Beta", ("Alpha", "Beta"), ""),
        ("What is love? Why is the sky blue?", ("What is love?", "Why is the sky blue?"), ""),
        ("tea, coffee, cocoa", ("tea", "coffee", "cocoa"), ""),
        ("Write a poem", (), ""),
        ("", (), ""),
    ],
)
def test_the_things_to_look_into_are_found_in_a_request(query: str, items: tuple[str, ...], scope: str) -> None:
    shape = read_shape(query)
    assert (shape.items, shape.scope) == (items, scope)


async def test_a_comparison_becomes_branches_that_join() -> None:
    text = build_planner_input("Compare PostgreSQL, MySQL and SQLite for a web shop", AGENTS)
    result = await RUNNER.run(AgentRun(PLANNER, text, output_type=PlannerOutput))
    plan = result.output
    assert isinstance(plan, PlannerOutput)
    assert [task.agent_id for task in plan.tasks] == ["research_agent"] * 3 + ["writing_agent"]
    assert [task.dependencies for task in plan.tasks] == [[], [], [], [0, 1, 2]]


def test_figures_and_code_come_between_where_words_ask_for_them() -> None:
    plan = plan_by_rule(asked("Compare the prices of tea and coffee and write a script that plots them"))
    assert [task.agent_id for task in plan.tasks] == [
        "research_agent",
        "research_agent",
        "data_agent",
        "coding_agent",
        "writing_agent",
    ]
    assert [task.dependencies for task in plan.tasks] == [[], [], [0, 1], [0, 1], [0, 1, 2, 3]]


def test_a_sequential_plan_is_a_chain() -> None:
    plan = plan_by_rule(asked("Compare tea, coffee and cocoa", PlanningStrategy.SEQUENTIAL))
    assert [task.dependencies for task in plan.tasks] == [[], [0], [1], [0, 1, 2]]


@pytest.mark.parametrize(("query", "tasks"), [("Compare tea and coffee", 2), ("Write a poem", 1), ("", 1)])
def test_a_minimal_plan_has_one_or_two_tasks(query: str, tasks: int) -> None:
    assert len(plan_by_rule(asked(query, PlanningStrategy.MINIMAL)).tasks) == tasks


def test_only_agents_that_there_are_get_tasks() -> None:
    plan = plan_by_rule(PlannerInput("Compare tea and coffee", PlanningStrategy.BREADTH_FIRST, ("poet",), 100))
    assert {task.agent_id for task in plan.tasks} == {"poet"}


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=300) | st.text("ab, -?.\n;vs and", max_size=400),
    st.sampled_from(PlanningStrategy),
    st.integers(1, 20),
)
def test_any_request_becomes_a_sound_plan_within_its_limit(query: str, strategy: PlanningStrategy, most: int) -> None:
    plan = plan_by_rule(asked(query, strategy, most))
    assert 1 <= len(plan.tasks) <= min(most, MAX_BRANCHES + 3)
    for position, task in enumerate(plan.tasks):
        assert task.title.strip()
        assert len(task.title) <= 80
        assert task.description.strip()
        assert task.agent_id in IDS
        assert all(0 <= dependency < position for dependency in task.dependencies)
    joined = set(plan.tasks[-1].dependencies)
    assert joined == set(range(len(plan.tasks) - 1))


def test_a_very_long_request_makes_a_plan_of_bounded_size() -> None:
    query = "Compare " + ", ".join(f"thing{number}" for number in range(50_000))
    plan = plan_by_rule(asked(query))
    assert len(plan.tasks) == MAX_BRANCHES + 1
    assert len(plan.model_dump_json()) < 100_000


@pytest.mark.parametrize("agent", AGENTS, ids=IDS)
async def test_answers_say_that_no_language_model_made_them_and_are_always_the_same(agent: Any) -> None:
    earlier = (
        Predecessor("t1", "Look into tea", "# Tea\n\nTea has 3 kinds and costs 4 €."),
        Predecessor("t2", "Look | into", ""),
    )
    text = build_task_input("Write up tea", "Join the results.", earlier)
    first = await RUNNER.run(AgentRun(agent, text))
    second = await RUNNER.run(AgentRun(agent, text))
    assert first.text == second.text
    assert NOTICE in first.text
    assert first.text.startswith("# Write up tea\n")


@pytest.mark.parametrize("topic", ["tea", "Go", "C++", "AI"])
async def test_a_short_topic_is_what_the_answer_is_about(topic: str) -> None:
    plan = plan_by_rule(asked(f"Compare {topic} and coffee, then recommend one"))
    task = next(task for task in plan.tasks if task.title == f"Look into {topic}")
    answer = await RUNNER.run(AgentRun(AGENTS[0], build_task_input(task.title, task.description, ())))
    assert f"the task is about {topic}. " in answer.text


async def test_a_joining_task_shows_what_each_predecessor_brought() -> None:
    earlier = [
        Predecessor(f"t{number}", f"Look into {name}", f"# {name}\n\n{name} is brown.")
        for number, name in enumerate("AB")
    ]
    result = await RUNNER.run(AgentRun(WRITING, build_task_input("Join", "Join them.", earlier)))
    for name in "AB":
        assert f"### Look into {name}" in result.text
        assert f"> {name} is brown." in result.text


async def test_the_data_agent_tabulates_the_figures_that_it_was_given() -> None:
    earlier = [Predecessor("t1", "Look into tea", "Tea costs 4.50 € and takes 3 minutes.")]
    result = await RUNNER.run(AgentRun(DATA, build_task_input("Figures", "Tabulate.", earlier)))
    assert "| Look into tea | 8 | 0 | 4.50 €, 3 |" in result.text


async def test_the_coding_agents_program_compiles() -> None:
    earlier = [Predecessor("t1", "Look into 'tea' \"\\", "Tea leaves and water.")]
    result = await RUNNER.run(AgentRun(CODING, build_task_input("Code", "Write it.", earlier)))
    program = result.text.partition("```python\n")[2].partition("```")[0]
    compile(program, "offline", "exec")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=400), st.text(max_size=400))
def test_any_task_gets_an_answer(title: str, result: str) -> None:
    from orcs_server.agents.offline.writing import answer_by_rule

    for text in (title, build_task_input(title, result, [Predecessor("t1", title, result)])):
        assert NOTICE in answer_by_rule(text, "You are a data agent.")


async def test_text_streams_in_bounded_pieces_and_words_count_as_tokens() -> None:
    deltas: list[str] = []
    result = await RUNNER.run(AgentRun(RESEARCH, "Look into tea. " * 400, on_delta=deltas.append))
    assert "".join(deltas) == result.text
    assert 1 < len(deltas) <= 48
    assert result.usage.output_tokens == len(result.text.split())
    assert result.usage.input_tokens == len(RESEARCH.instructions.split()) + 1_200


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 60}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "multipleOf": 4}}, "required": ["a"]},
        {
            "type": "object",
            "properties": {"a": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}},
            "required": ["a"],
        },
        {"type": "object", "properties": {"a": {"type": "number", "maximum": -2}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"enum": ["x", "y"]}, "b": {"const": 7}}, "required": ["a", "b"]},
        {"type": "object", "properties": {"a": {"type": ["null", "boolean"]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string", "format": "date-time"}}, "required": ["a"]},
        {
            "type": "object",
            "properties": {"a": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/item"}}},
            "required": ["a"],
            "$defs": {
                "item": {"anyOf": [{"type": "object", "properties": {"b": {}}, "required": ["b"]}, {"type": "null"}]}
            },
        },
        {
            "allOf": [
                {"type": "object", "required": ["a"]},
                {"properties": {"a": {"type": "boolean"}}, "required": ["a"]},
            ]
        },
        PlannerOutput.model_json_schema(),
    ],
)
def test_a_sample_meets_its_schema(schema: dict[str, Any]) -> None:
    value = least_value(schema, "Made offline.")
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#"}, {"type": "array", "minItems": 2, "items": {"$ref": "#"}}, {"type": "nonsense"}, {"anyOf": 3}, []],
)
def test_a_hostile_schema_still_ends(schema: Any) -> None:
    least_value(schema, "Made offline.")


async def test_a_schema_is_met_through_a_run() -> None:
    schema = {
        "type": "object",
        "properties": {"summary": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["summary", "n"],
    }
    result = await RUNNER.run(AgentRun(RESEARCH, "Go", output_schema=schema))
    assert result.output == {"summary": "Made offline, by rule, without a language model.", "n": 0}


async def test_it_works_in_a_run_of_ones_own_streamed_or_not() -> None:
    agent: Agent[Any] = Agent(name="own", instructions="Answer.", model=OfflineModel())
    config = RunConfig(tracing_disabled=True)
    plain = await Runner.run(agent, "Look into tea.", run_config=config)
    streamed = Runner.run_streamed(agent, "Look into tea.", run_config=config)
    async for _ in streamed.stream_events():
        pass
    assert NOTICE in plain.final_output
    assert streamed.final_output == plain.final_output
    assert plain.context_wrapper.usage.output_tokens == len(plain.final_output.split())


async def test_what_people_say_is_planned_for_and_stands_in_the_answers() -> None:
    conversation: Any = [
        {"role": "user", "content": build_planner_input("Compare tea and coffee", AGENTS)},
        {"role": "user", "content": message_note("Look into milk and sugar as well")},
    ]
    plan = PlannerOutput.model_validate_json(_answer("", conversation, raw_json_for(PlannerOutput)))
    assert [task.title for task in plan.tasks[:2]] == ["Look into milk", "Look into sugar"]
    conversation[0]["content"] = build_task_input("Tea", "Look into tea.")
    text = _answer("", conversation, None)
    assert text.startswith("# Tea\n")
    assert "## What people said\n\n> Look into milk and sugar as well" in text


async def test_planning_anew_adds_what_was_asked_for_and_builds_on_what_is_there() -> None:
    before = Replanning(
        (
            PlannedBefore("t1", "Look into tea", "COMPLETED", stays=True),
            PlannedBefore("t2", "Look into coffee", "FAILED", stays=True, usable=False),
        ),
        "Cover the costs of growing and of shipping, too.",
    )
    text = build_planner_input("Compare tea and coffee", AGENTS, replanning=before)
    plan = (await RUNNER.run(AgentRun(PLANNER, text, output_type=PlannerOutput))).output
    assert isinstance(plan, PlannerOutput)
    *added, joining = plan.tasks
    assert added
    assert (joining.builds_on, joining.dependencies) == (["t1"], list(range(len(added))))
    assert "Cover the costs" in joining.description
    bare = plan_by_rule(read_planner_input(build_planner_input("Go", AGENTS, replanning=Replanning(before.tasks))))
    assert [task.builds_on for task in bare.tasks] == [["t1"]]
