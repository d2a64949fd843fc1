"""Two agents that share what they know, get in each other's way and merge it; and a run that wrote rubbish, taken back as a whole.

    python examples/shared_memory.py [DATA_FILE]

The offline model calls no tools: set OPENAI_API_KEY, or ORCS_MODEL_BASE_URL and ORCS_MODEL_NAME, before.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from agents import Agent

from orcs_server import MemorySystem, PlannerAgent, WorkflowController, WorkflowOrchestrator, memory_get, memory_put
from orcs_server.agents.context import RunContext
from orcs_server.config import Settings
from orcs_server.memory import Actor, Permission, Rule, shared_scope
from orcs_server.storage.memory_rows import RunFilter

CHART = shared_scope("chart")
"""Where the agents keep what they know, beyond any one workflow."""
KEEPER = Actor("harbour-master", operator=True)
INSTRUCTIONS = (
    f'Keep what you find out about a harbour under its name in the scope "{CHART}", with memory_put. Say which version you '
    "replace (0 if there is none), and where another has written meanwhile, merge: nothing that is known may be lost."
)

SCOUT = Agent[RunContext](
    name="Scout",
    instructions=f"You measure harbours. {INSTRUCTIONS}",
    handoff_description="Measures how deep a harbour is.",
    tools=[memory_get, memory_put],
)
PILOT = Agent[RunContext](
    name="Pilot",
    instructions=f"You know the dangers of harbours. {INSTRUCTIONS}",
    handoff_description="Knows the dangers of a harbour.",
    tools=[memory_get, memory_put],
)


def registry() -> dict[str, Agent[RunContext]]:
    """Return the agents by the ids under which plans name them."""
    return {"scout_agent": SCOUT, "pilot_agent": PILOT}


async def run(memory: MemorySystem, query: str) -> str:
    """Carry out a query; return the id of its workflow."""
    orchestrator = WorkflowOrchestrator(memory, registry())
    controller = WorkflowController(PlannerAgent(), memory)
    workflow = await controller.get_workflow(await controller.create_workflow(query))
    result = await orchestrator.execute(workflow)
    print(f"{query}: {result['status']}")
    return workflow.id


async def main(data: Path) -> None:
    """Let the agents chart a harbour, then a second run spoil it, and take that run back."""
    if Settings.load().model_choice().provider == "offline":
        sys.exit("The offline model calls no tools: set OPENAI_API_KEY, or ORCS_MODEL_BASE_URL and ORCS_MODEL_NAME.")
    async with MemorySystem(data) as system:
        memory, namespace = await system.place()
        # By default an agent writes to its task and its workflow only.
        grant = Rule("agent:*", CHART, (Permission.READ, Permission.WRITE))
        await memory.access.set_rules(namespace, KEEPER, [grant], time_us=0)

        await run(system, "Chart the harbour of Kinsale")
        print(f"the chart says: {await system.retrieve('kinsale', CHART)}")

        spoilt = await run(system, "Chart the harbour of Kinsale once more")
        print(f"the chart says: {await system.retrieve('kinsale', CHART)}")

        taken_back = await memory.history.quarantine(namespace, KEEPER, RunFilter(spoilt))
        print(f"taken back: {', '.join(place.key for place in taken_back.reverted)}")
        print(f"the chart says: {await system.retrieve('kinsale', CHART)}")
        for version in await memory.history.versions(namespace, KEEPER, "kinsale", CHART):
            print(f"version {version.version} by {version.writer.agent or version.writer.principal}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(main(Path(folder) / "embedded.db"))
