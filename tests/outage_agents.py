"""A registry for the tests of outages: an agent with a tool that counts its runs, and one within another."""

from __future__ import annotations

from collections.abc import Callable

from agents import Agent, function_tool

from orcs_server import idempotent

RUNS: list[str] = []
THEN: dict[str, Callable[[], object]] = {}
"""What happens once a city was looked up."""


@idempotent
@function_tool
def look_up(city: str) -> str:
    """Look up a city."""
    RUNS.append(city)
    if city in THEN:
        THEN.pop(city)()
    return f"{city} has 3 bridges."


LOOKER = Agent(name="looker", instructions="You look things up.", tools=[look_up])
INNER = Agent(name="inner", instructions="You are the inner agent.")
OUTER = Agent(name="outer", instructions="You ask.", tools=[INNER.as_tool("ask", "Ask the inner agent.")])
REGISTRY = {"looker": LOOKER, "outer": OUTER}
