from __future__ import annotations

from typing import Any

from agents import Agent, RunConfig, Runner
from agents.testing import ScriptedModel, assistant_message, function_call

from orcs_server.agents.context import RunContext
from orcs_server.agents.hooks import ORCSRunHooks, RunEvent
from orcs_server.agents.runner import AgentRun
from tests.agents.example_registry import CITY
from tests.agents.support import AGENT, scripted

CONFIG = RunConfig(tracing_disabled=True)


class Memory:
    """Keeps what is stored, as the memory system would."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Any] = {}

    async def store(self, key: str, value: object, scope: str = "global") -> None:
        self.records[scope, key] = value

    async def retrieve(self, key: str, scope: str = "global") -> object | None:
        return self.records.get((scope, key))


class BrokenMemory(Memory):
    async def store(self, key: str, value: object, scope: str = "global") -> None:
        raise OSError("disk full")


async def test_a_run_of_ones_own_leaves_its_start_and_result_in_memory() -> None:
    memory = Memory()
    agent: Agent[Any] = Agent(name="own", model=ScriptedModel([[assistant_message("Hi.")]]))
    await Runner.run(agent, "Hello", hooks=ORCSRunHooks(memory, "w1", run_id="r1"), run_config=CONFIG)
    start = await memory.retrieve("agent_run:r1:start", "workflow:w1")
    result = await memory.retrieve("agent_run:r1:result", "workflow:w1")
    assert isinstance(start, dict)
    assert isinstance(result, dict)
    assert start["agent_name"] == result["agent_name"] == "own"
    assert result["output"] == "Hi."
    assert result["time_us"] >= start["time_us"]


async def test_runs_without_an_id_do_not_overwrite_each_other() -> None:
    memory = Memory()
    hooks = ORCSRunHooks(memory, "w1")
    model = ScriptedModel([[assistant_message("One.")], [assistant_message("Two.")]])
    for _ in range(2):
        await Runner.run(Agent(name="own", model=model), "Hello", hooks=hooks, run_config=CONFIG)
    assert sorted(record["output"] for (_, key), record in memory.records.items() if key.endswith(":result")) == [
        "One.",
        "Two.",
    ]


async def test_in_orcs_the_run_context_names_the_run_and_brings_the_memory() -> None:
    memory = Memory()
    runner, _ = scripted([[assistant_message("Hi.")]])
    context = RunContext("n", "w7", "t1", run=2, memory=memory)
    await runner.run(AgentRun(AGENT, "Hello", context, hooks=ORCSRunHooks()))
    assert ("workflow:w7", "agent_run:t1:2:result") in memory.records


async def test_an_observer_hears_of_all_that_happens_in_a_run() -> None:
    events: list[RunEvent] = []
    other: Agent[Any] = Agent(name="Other", model=ScriptedModel([[assistant_message("Bye.")]]))
    first: Agent[Any] = Agent(
        name="First",
        tools=list(CITY.tools),
        handoffs=[other],
        model=ScriptedModel(
            [
                [function_call("look_up", {"city": "Bern"}, call_id="a")],
                [function_call("transfer_to_other", {}, call_id="b")],
            ]
        ),
    )
    hooks = ORCSRunHooks(workflow_id="w", run_id="r", on_event=events.append)
    await Runner.run(first, "Hello", context=RunContext(), hooks=hooks, run_config=CONFIG)
    assert [(one.name, one.agent, one.detail) for one in events] == [
        ("agent_start", "First", ""),
        ("llm_start", "First", ""),
        ("llm_end", "First", ""),
        ("tool_start", "First", "look_up"),
        ("tool_end", "First", "look_up"),
        ("llm_start", "First", ""),
        ("llm_end", "First", ""),
        ("handoff", "First", "Other"),
        ("agent_start", "Other", ""),
        ("llm_start", "Other", ""),
        ("llm_end", "Other", ""),
        ("agent_end", "Other", ""),
    ]
    assert {one.run_id for one in events} == {"r"}


async def test_a_memory_or_observer_that_raises_does_not_harm_the_run(caplog: Any) -> None:
    async def observer(event: RunEvent) -> None:
        raise RuntimeError(event.name)

    runner, _ = scripted([[assistant_message("Hi.")]])
    result = await runner.run(AgentRun(AGENT, "Hello", hooks=ORCSRunHooks(BrokenMemory(), "w", on_event=observer)))
    assert result.text == "Hi."
    assert "disk full" in caplog.text
