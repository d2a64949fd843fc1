"""ORCS within a program of one's own: several users in one process, without a server, who see nothing of each other.

    python examples/multi_user.py [FOLDER]

The providers carry the names that docs/embedding.md explains; `UserDatabase`, `PermissionService`, `QuotaService` and `EventLog` stand for
what a real program has. Without a key or a model server configured, the offline model answers: no network is needed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orcs_server import MemorySystem, PlannerAgent, Task, Workflow, WorkflowController, WorkflowOrchestrator


@dataclass
class User:
    """What the program knows of somebody."""

    preferences: dict[str, str]
    permission_levels: list[str]
    previous_queries: list[str] = field(default_factory=list)


class UserDatabase:
    """The program's users."""

    def __init__(self) -> None:
        self.users = {
            "ada": User({"language": "English", "style": "brief"}, ["standard"]),
            "bob": User({"language": "English", "style": "chatty"}, ["standard"]),
            "eve": User({"language": "English", "style": "brief"}, ["guest"]),
        }

    async def get_user(self, user_id: str) -> User:
        return self.users[user_id]


ALLOWED = {"standard": ("workflows.", "agents.", "tools.", "memory."), "guest": ("workflows.get",)}
"""What the operations begin with that each level may do."""
SETTINGS = {"ada": {"limits.max_tasks": 6}, "bob": {"limits.max_tasks": 4}}


class PermissionService:
    """Who may do what. Operations are `workflows.create`, `agents.run`, `memory.read`, …: docs/hooks.md lists them."""

    def has_permission(self, user_id: str, operation: str, resource_id: str) -> bool:  # noqa: ARG002 - a real one looks at it
        levels = user_db.users[user_id].permission_levels
        return any(operation.startswith(allowed) for level in levels for allowed in ALLOWED[level])


class QuotaService:
    """Lets each user run one workflow at a time. Asking twice for the same one is the same as asking once."""

    def __init__(self) -> None:
        self.running: dict[str, set[str]] = defaultdict(set)

    async def allocate_resources(self, user_id: str, workflow_id: str, requirements: dict[str, Any]) -> bool:  # noqa: ARG002
        if self.running[user_id] - {workflow_id}:
            return False
        self.running[user_id].add(workflow_id)
        return True

    async def release_resources(self, user_id: str, workflow_id: str) -> None:
        self.running[user_id].discard(workflow_id)


class EventLog:
    """A file of JSON lines for each user."""

    def __init__(self) -> None:
        self.folder = Path()

    def write(self, user_id: str, line: dict[str, Any]) -> None:
        with (self.folder / f"{user_id}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


user_db = UserDatabase()
permission_service = PermissionService()
quota_service = QuotaService()
event_log = EventLog()


class UserContextProvider:
    """Provides user-specific context for workflows."""

    def __init__(self, user_id: str, user_db: UserDatabase) -> None:
        self.user_id = user_id
        self.user_db = user_db

    async def get_context(self) -> dict[str, Any]:
        user = await self.user_db.get_user(self.user_id)
        return {
            "preferences": user.preferences,
            "history": user.previous_queries,
            "permissions": user.permission_levels,
        }


class UserIsolationProvider:
    """Provides isolation for user data."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def get_isolation_prefix(self) -> str:
        return f"user:{self.user_id}"


class UserPermissionChecker:
    """Checks user permissions for operations."""

    def __init__(self, user_id: str, permission_service: PermissionService) -> None:
        self.user_id = user_id
        self.permission_service = permission_service

    def check_permission(self, operation: str, resource_id: str) -> bool:
        return self.permission_service.has_permission(self.user_id, operation, resource_id)


class UserResourceManager:
    """Manages resources for users."""

    def __init__(self, user_id: str, quota_service: QuotaService) -> None:
        self.user_id = user_id
        self.quota_service = quota_service

    async def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:
        return await self.quota_service.allocate_resources(self.user_id, workflow_id, requirements)

    async def release_resources(self, workflow_id: str) -> None:
        await self.quota_service.release_resources(self.user_id, workflow_id)


class UserTelemetryCollector:
    """Writes down what happens to the user's workflows."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
        event_log.write(self.user_id, {"event": event_type, "workflow": resource_id, "time_us": metadata["time_us"]})


class UserConfigProvider:
    """Changes settings for the user, by their names in the configuration file."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def get_config(self, key: str, default: Any) -> Any:
        return SETTINGS.get(self.user_id, {}).get(key, default)


async def handle_user_workflow(user_id: str, query: str) -> dict[str, Any]:
    """Plan and execute a query for a user."""

    def show(workflow: Workflow, task: Task) -> None:
        done = sum(one.result is not None for one in workflow.tasks)
        print(f"{user_id}: {task.status:<10} {task.title}  ({done} of {len(workflow.tasks)} done)")

    context_provider = UserContextProvider(user_id, user_db)
    isolation_provider = UserIsolationProvider(user_id)
    permission_checker = UserPermissionChecker(user_id, permission_service)
    resource_manager = UserResourceManager(user_id, quota_service)
    telemetry_collector = UserTelemetryCollector(user_id)
    config_provider = UserConfigProvider(user_id)

    async with MemorySystem(isolation_provider=isolation_provider) as memory_system:
        controller = WorkflowController(
            planner_agent=PlannerAgent(model="gpt-4", config_provider=config_provider),
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
        result = await orchestrator.execute(workflow, status_callback=show)
        user_db.users[user_id].previous_queries.append(query)
        await memory_system.store("last_workflow", workflow_id)
        return result


async def main(folder: Path) -> list[dict[str, Any]]:
    """Serve two users at once, and refuse a third."""
    # Where the data lies is a setting like any other; all users share the file.
    os.environ.setdefault("ORCS_DATA", str(folder / "orcs.db"))
    event_log.folder = folder
    queries = {"ada": "Compare tea, coffee and cocoa", "bob": "Compare trains and planes", "eve": "Compare anything"}
    results = await asyncio.gather(*(handle_user_workflow(*each) for each in queries.items()), return_exceptions=True)
    served = []
    for user_id, result in zip(queries, results, strict=True):
        if isinstance(result, BaseException):
            print(f"\n=== {user_id}: {type(result).__name__}: {result}")
            continue
        served.append(result)
        print(f"\n=== {user_id}: {result['title']} ({result['status']})\n\n{result['output']}")
    return served


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            asyncio.run(main(Path(temporary)))
