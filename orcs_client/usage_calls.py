"""The call that says what a namespace has consumed."""

from __future__ import annotations

from orcs_client.calls import Calls
from orcs_client.v1 import usage_service_pb2
from orcs_client.v1.usage_service_pb2_grpc import UsageServiceStub


class UsageCalls(Calls):
    """Reads usage and quotas."""

    async def get_usage(self, *, days: int = 0) -> usage_service_pb2.GetUsageResponse:
        """Read what the caller's namespace has consumed in the latest `days` (today included; 0: 30), and its quotas."""
        request = usage_service_pb2.GetUsageRequest(days=days)
        return await self._connection.call(UsageServiceStub(self._connection.unary).GetUsage, request)
