"""Agents that need people: one has a tool that needs approval, one may ask. A registry that a server loads at its start.

    PYTHONPATH=examples orcs serve --agents people_agents:registry
    python examples/approval.py
    python examples/clarification.py

The offline model calls no tools: set OPENAI_API_KEY, or model.base_url, before the server starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents import Agent, RunContextWrapper, function_tool

from orcs_server import ask_user
from orcs_server.agents.context import RunContext

LEDGER = Path("refunds.txt")
"""Where the refunds are written down, in the folder in which the server was started."""
FREE = 20
"""Up to this amount nobody needs to be asked."""


async def is_large(_: RunContextWrapper[Any], arguments: dict[str, Any], __: str) -> bool:
    """Say whether a refund needs a person's approval."""
    return float(arguments["amount"]) > FREE


@function_tool(needs_approval=is_large)
def refund(context: RunContextWrapper[RunContext], order: str, amount: float) -> str:
    """Pay a customer back, in euros."""
    with LEDGER.open("a") as ledger:
        ledger.write(f"{order}: {amount:.2f} (for task {context.context.task_id})\n")
    return f"{amount:.2f} euros of order {order} have been paid back."


CLERK = Agent[RunContext](
    name="Clerk",
    instructions="You settle complaints. Pay back with refund what is owed, once, and say what was paid back or why nothing was.",
    handoff_description="Settles complaints of customers and pays them back.",
    tools=[refund],
)
HOST = Agent[RunContext](
    name="Host",
    instructions="You plan dinners. Find out with ask_user what you cannot know: what the guests do not eat, and the budget.",
    handoff_description="Plans dinners, and asks about the guests.",
    tools=[ask_user],
)


def registry() -> dict[str, Agent[RunContext]]:
    """Return the agents by the ids under which plans name them."""
    return {"clerk_agent": CLERK, "host_agent": HOST}
