"""Agents of one's own, with tools: a registry that a server loads at its start.

    PYTHONPATH=examples orcs serve --agents own_agents:registry
    orcs agents
    orcs run --plan examples/own_agents_plan.json

The planner knows the agents from their descriptions and may use them for queries, too. The offline model calls no tools: set
OPENAI_API_KEY, or model.base_url, to see it work.
"""

from __future__ import annotations

import unicodedata

from agents import Agent, RunContextWrapper, function_tool

from orcs_server.agents.context import RunContext


@function_tool
def count_words(context: RunContextWrapper[RunContext], text: str) -> str:
    """Count the words of a text, and its characters as a reader counts them."""
    letters = sum(not unicodedata.combining(letter) for letter in text)
    return f"{len(text.split())} words, {letters} characters (counted for task {context.context.task_id})"


EDITOR = Agent[RunContext](
    name="Editor",
    instructions="You shorten texts. Count with count_words before and after, and give both counts with the result.",
    handoff_description="Shortens texts to a given length and says how long they are.",
    tools=[count_words],
)


def registry() -> dict[str, Agent[RunContext]]:
    """Return the agents by the ids under which plans name them."""
    return {"editor_agent": EDITOR}
