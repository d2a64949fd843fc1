"""The service of `usage_service.proto`."""

from __future__ import annotations

from orcs_client.v1 import usage_service_pb2
from orcs_server.identity import Caller
from orcs_server.rpc.conversion.usage import usage_report
from orcs_server.service.usage import NamespaceUsage


class UsageServicer:
    """`orcs.v1.UsageService`."""

    def __init__(self, usage: NamespaceUsage) -> None:
        self._usage = usage

    async def get_usage(
        self, request: usage_service_pb2.GetUsageRequest, caller: Caller
    ) -> usage_service_pb2.GetUsageResponse:
        return usage_report(await self._usage.get(caller, request.days))
