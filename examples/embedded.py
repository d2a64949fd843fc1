"""ORCS within a program of one's own: two users at once, each with providers of their own, who see nothing of each other.

    python examples/embedded.py [DATA_FILE]

Without a key or a model server configured, the offline model answers: no network is needed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orcs_server import MemorySystem, PlannerAgent, Task, Workflow, WorkflowController, WorkflowOrchestrator


@dataclass
class Users:
    """What stands for the databases and services of a real program."""

    preferences: dict[str, dict[str, Any]]
    permissions: dict[str, set[str]]
    running: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    events: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


class UserContextProvider:
    """Gives the planner and the agents what the program knows of the user."""

    def __init__(self, user_id: str, users: Users) -> None:
        self.user_id = user_id
        self.users = users

    async def get_context(self) -> dict[str, Any]:
        return {"preferences": self.users.preferences[self.user_id]}


class UserIsolationProvider:
    """Keeps the user's data apart from everybody else's."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def get_isolation_prefix(self) -> str:
        return f"user:{self.user_id}"


class UserPermissionChecker:
    """Says what the user may do: whole topics, such as everything that begins with `workflows.`."""

    def __init__(self, user_id: str, users: Users) -> None:
        self.user_id = user_id
        self.users = users

    def check_permission(self, operation: str, resource_id: str) -> bool:  # noqa: ARG002 - the hook's signature
        return operation.partition(".")[0] in self.users.permissions[self.user_id]


class UserResourceManager:
    """Lets each user run one workflow at a time."""

    def __init__(self, user_id: str, users: Users) -> None:
        self.user_id = user_id
        self.users = users

    async def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:  # noqa: ARG002
        running = self.users.running[self.user_id]
        if running - {workflow_id}:
            return False
        running.add(workflow_id)
        return True

    async def release_resources(self, workflow_id: str) -> None:
        self.users.running[self.user_id].discard(workflow_id)


class UserTelemetryCollector:
    """Keeps the names of what happened."""

    def __init__(self, user_id: str, users: Users) -> None:
        self.user_id = user_id
        self.users = users

    async def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:  # noqa: ARG002
        self.users.events[self.user_id].append(event_type)


class UserConfigProvider:
    """Changes settings for the user, by their names in the configuration file."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def get_config(self, key: str, default: Any) -> Any:
        return 6 if key == "limits.max_tasks" else default


def show(user_id: str, workflow: Workflow, task: Task) -> None:
    """Print where a task stands."""
    done = sum(one.result is not None for one in workflow.tasks)
    print(f"{user_id}: {task.status:<10} {task.title}  ({done} of {len(workflow.tasks)} done)")


async def handle_user_workflow(user_id: str, query: str, users: Users, data: Path) -> dict[str, Any]:
    """Plan and execute a query for a user."""
    context_provider = UserContextProvider(user_id, users)
    isolation_provider = UserIsolationProvider(user_id)
    permission_checker = UserPermissionChecker(user_id, users)
    resource_manager = UserResourceManager(user_id, users)
    telemetry_collector = UserTelemetryCollector(user_id, users)
    config_provider = UserConfigProvider(user_id)

    async with MemorySystem(data, isolation_provider=isolation_provider) as memory_system:
        controller = WorkflowController(
            planner_agent=PlannerAgent(model="gpt-4.1", config_provider=config_provider),
            memory_system=memory_system,
            permission_checker=permission_checker,
        )
        orchestrator = WorkflowOrchestrator(
            memory_system=memory_system,
            resource_manager=resource_manager,
            telemetry_collector=telemetry_collector,
        )
        workflow_id = await controller.create_workflow(query=query, context_provider=context_provider)
        workflow = await controller.get_workflow(workflow_id)
        result = await orchestrator.execute(workflow, lambda workflow, task: show(user_id, workflow, task))
        await memory_system.store("last_workflow", workflow_id)
        return result


async def main(data: Path) -> list[dict[str, Any]]:
    """Serve two users at once."""
    users = Users(
        preferences={"ada": {"language": "English"}, "bob": {"language": "English"}},
        permissions={"ada": {"workflows", "agents"}, "bob": {"workflows", "agents"}},
    )
    queries = {"ada": "Compare tea, coffee and cocoa", "bob": "Compare trains and planes"}
    results = await asyncio.gather(
        *(handle_user_workflow(user_id, query, users, data) for user_id, query in queries.items())
    )
    for user_id, result in zip(queries, results, strict=True):
        print(f"\n=== {user_id}: {result['title']} ({result['status']})\n\n{result['output']}")
    return results


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(main(Path(folder) / "embedded.db"))
