"""The example providers of the plan, word for word in what matters, and the services that they lean on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class UserContextProvider:
    def __init__(self, user_id: str, user_db: Any) -> None:
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
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def get_isolation_prefix(self) -> str:
        return f"user:{self.user_id}"


class UserPermissionChecker:
    def __init__(self, user_id: str, permission_service: Any) -> None:
        self.user_id = user_id
        self.permission_service = permission_service

    def check_permission(self, operation: str, resource_id: str) -> bool:
        allowed: bool = self.permission_service.has_permission(self.user_id, operation, resource_id)
        return allowed


class UserResourceManager:
    def __init__(self, user_id: str, quota_service: Any) -> None:
        self.user_id = user_id
        self.quota_service = quota_service

    async def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:
        granted: bool = await self.quota_service.allocate_resources(self.user_id, workflow_id, requirements)
        return granted

    async def release_resources(self, workflow_id: str) -> None:
        await self.quota_service.release_resources(self.user_id, workflow_id)


class UserTelemetryCollector:
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    async def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
        self.events.append((event_type, resource_id, metadata))


class UserConfigProvider:
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def get_config(self, key: str, default: Any) -> Any:
        return {"limits.slots": 3}.get(key, default)


class Services:
    """Users, permissions and quotas, in memory."""

    def __init__(self) -> None:
        self.held: set[tuple[str, str]] = set()

    async def get_user(self, user_id: str) -> Any:
        return SimpleNamespace(preferences={"tone": "dry"}, previous_queries=[user_id], permission_levels=["basic"])

    def has_permission(self, user_id: str, operation: str, resource_id: str) -> bool:
        return operation == "view" and resource_id.startswith(user_id)

    async def allocate_resources(self, user_id: str, workflow_id: str, requirements: dict[str, Any]) -> bool:
        if requirements.get("gpus", 0) > 1:
            return False
        self.held.add((user_id, workflow_id))
        return True

    async def release_resources(self, user_id: str, workflow_id: str) -> None:
        self.held.discard((user_id, workflow_id))
