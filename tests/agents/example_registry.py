"""A registry as an operator would write it: agents with code of their own."""

from __future__ import annotations

from agents import Agent, ModelSettings, RunContextWrapper, function_tool

from orcs_server.agents.context import RunContext

CALLS: list[tuple[str, str, str]] = []
"""(city, workflow, idempotency key) of every call of the tool."""


@function_tool
async def look_up(context: RunContextWrapper[RunContext], city: str) -> str:
    """Look up a city."""
    key = context.context.idempotency_key(context.tool_call_id)  # type: ignore[attr-defined]  # a ToolContext
    CALLS.append((city, context.context.workflow_id, key))
    return f"{city} has 3 bridges."


@function_tool(failure_error_function=None)
async def break_down() -> str:
    """Break."""
    raise ValueError("secret detail")


def raising_tool() -> None:
    """Raise."""


CITY = Agent(
    name="City expert",
    instructions="Use the tool.",
    handoff_description="Knows cities.",
    tools=[look_up],
    model="city-model",
    model_settings=ModelSettings(max_tokens=99),
)
FRAGILE = Agent(name="Fragile", instructions="Break.", tools=[break_down])


def registry() -> dict[str, Agent[RunContext]]:
    return {"city_agent": CITY, "fragile_agent": FRAGILE}


AS_MAPPING = {"city_agent": CITY}
TOOLS = {"look_up": look_up}
UNDER_ANOTHER_NAME = {"search": look_up}
AGENTS_FOR_TOOLS = {"city_agent": CITY}
TAKEN_TOOL = {"ask_user": function_tool(name_override="ask_user")(raising_tool)}
LIKE_A_SERVERS = {"a__b": function_tool(name_override="a__b")(raising_tool)}
WRONG_ID = {"City Agent": CITY}
WITH_PLANNER = {"planner": CITY}
NO_AGENT = {"city_agent": "CITY"}
NO_MAPPING = [CITY]


def raising() -> None:
    raise RuntimeError("no licence")


async def asynchronous() -> dict[str, Agent[RunContext]]:
    return {}
