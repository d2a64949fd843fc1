"""ORCS within a program of one's own, without a server: the plan's class names and keywords over the same service, engine and
file format that the server has.

    async with MemorySystem(isolation_provider=UserIsolationProvider("ada")) as memory:
        controller = WorkflowController(PlannerAgent(model="gpt-4.1"), memory)
        orchestrator = WorkflowOrchestrator(memory)
        workflow = await controller.get_workflow(await controller.create_workflow("Compare tea and coffee"))
        result = await orchestrator.execute(workflow)

What differs from the plan's sketch:

- Memory's methods are `async`, since what they store is durable when they return; values are text, bytes or JSON.
- `MemorySystem` owns the data file, workflows included; close it, or use `async with`.
- The isolation prefix is the namespace, a column of its own: no key is ever put together from it.
- Tasks that do not wait for each other run at the same time.
- `get_workflow` raises NotFound where the plan's returned None. `create_workflow` raises PlanningFailed.
- A `Workflow` is a picture of what is stored: changing its fields changes nothing. Times are microseconds UTC (`started_us`).
- Agents of one's own (`agent_registry`) join the built-in four, so orchestrators are made before workflows are planned.
- An execution that is cancelled, or whose callback raises, stops in good order; executing the workflow again goes on there.
"""

from __future__ import annotations

from orcs_server.agents.hooks import ORCSRunHooks
from orcs_server.embed.controller import PlanningFailed, WorkflowController
from orcs_server.embed.orchestrator import WorkflowOrchestrator
from orcs_server.embed.planner import PlannerAgent, create_planner_agent
from orcs_server.embed.workflows import Task, Workflow
from orcs_server.memory import MemorySystem
from orcs_server.workflow.states import TaskStatus, WorkflowStatus

__all__ = [
    "MemorySystem",
    "ORCSRunHooks",
    "PlannerAgent",
    "PlanningFailed",
    "Task",
    "TaskStatus",
    "Workflow",
    "WorkflowController",
    "WorkflowOrchestrator",
    "WorkflowStatus",
    "create_planner_agent",
]
