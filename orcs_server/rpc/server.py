"""The gRPC server: its ports, its options, its services, and how it comes to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc

from orcs_client.v1 import (
    agent_service_pb2,
    audit_service_pb2,
    control_service_pb2,
    memory_service_pb2,
    system_service_pb2,
    task_service_pb2,
    usage_service_pb2,
    workflow_service_pb2,
)
from orcs_server.config import Address
from orcs_server.errors import StartupError
from orcs_server.identity.tokens import TokenRegistry
from orcs_server.rpc.agent_servicer import AgentServicer
from orcs_server.rpc.audit_servicer import AuditServicer
from orcs_server.rpc.callers import Callers
from orcs_server.rpc.calls import SLOW_AFTER_S, Calls
from orcs_server.rpc.certificates import server_credentials
from orcs_server.rpc.control_servicer import ControlServicer
from orcs_server.rpc.health import SERVICE as HEALTH
from orcs_server.rpc.health import Health
from orcs_server.rpc.memory_servicer import MemoryServicer
from orcs_server.rpc.reflection import reflection_handlers
from orcs_server.rpc.servicers import SystemServicer, TaskServicer, WorkflowServicer
from orcs_server.rpc.usage_servicer import UsageServicer
from orcs_server.service.services import Services
from orcs_server.storage.store import Store
from orcs_server.telemetry import Telemetry

RECEIVE_BYTES: Final = 8 * 1024 * 1024

CONNECTIONS: Final = 900
"""Open at once; below the 1,024 files that a process may have open where nobody says otherwise."""
STREAMS: Final = 256
"""Calls of one connection at once, watches included; a client has more of them wait, or opens another connection."""

# No maximum_concurrent_rpcs: open watches would starve all other calls. See admission.py.
OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # Otherwise two servers share one port, and neither says so.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 300_000),
    # Whoever connects and says nothing.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_allowed_incoming_connections", CONNECTIONS),
    ("grpc.max_concurrent_streams", STREAMS),
    ("grpc.max_receive_message_length", RECEIVE_BYTES),
)


class RpcServer:
    """Serves the services over gRPC. Used from one event loop, once: `bind`, `start`, `drain`, `stop`."""

    def __init__(
        self,
        services: Services,
        store: Store,
        telemetry: Telemetry,
        registry: TokenRegistry | None,
        *,
        slow_after_s: float = SLOW_AFTER_S,
    ) -> None:
        """Without a registry of tokens everybody may call, and do everything."""
        callers = Callers(registry)
        calls = Calls(callers, telemetry, services.auditing, slow_after_s=slow_after_s)
        self.admission = calls.admission
        servicers = {
            workflow_service_pb2: WorkflowServicer(services),
            task_service_pb2: TaskServicer(services),
            control_service_pb2: ControlServicer(services),
            memory_service_pb2: MemoryServicer(services.memory),
            agent_service_pb2: AgentServicer(services),
            system_service_pb2: SystemServicer(services.system, services.problems),
            audit_service_pb2: AuditServicer(services.audit),
            usage_service_pb2: UsageServicer(services.usage),
        }
        declared = [
            (service, servicer)
            for file, servicer in servicers.items()
            for service in file.DESCRIPTOR.services_by_name.values()
        ]
        names = tuple(service.full_name for service, _ in declared)
        self._open_watches = services.open_watches
        self._health = Health(store, names)
        self._server = grpc.aio.server(options=OPTIONS)
        # Registered methods have a queue each for calls that the event loop has not come to yet: a flood of one does not keep
        # health and control waiting. Generic ones share a single queue.
        for service, servicer in declared:
            self._server.add_registered_method_handlers(service.full_name, calls.handlers(service, servicer))
        self._server.add_registered_method_handlers(HEALTH.full_name, self._health.handlers())
        self._server.add_generic_rpc_handlers(
            reflection_handlers((*names, HEALTH.full_name), callers, services.authorisation.enter, services.auditing)
        )

    def bind(self, address: Address, certificate: Path | None = None, key: Path | None = None) -> Address:
        """Take the address, with TLS if there is a certificate; return it with its real port. Raises StartupError."""
        try:
            if certificate is None or key is None:
                port = self._server.add_insecure_port(str(address))
            else:
                port = self._server.add_secure_port(str(address), server_credentials(certificate, key))
        except RuntimeError:
            # gRPC says no more than that it did not work.
            port = 0
        if port == 0:
            raise StartupError(
                f"cannot listen on {address}: the port may be in use, or the address not this machine's; choose another one "
                "with --listen, or end what uses it"
            )
        return Address(address.host, port)

    async def start(self) -> None:
        """Take calls, and say by health that there is a server that receives work."""
        await self._server.start()
        await self._health.begin()

    async def drain(self) -> None:
        """Say that no more work is received, and end all watches with the cursor to go on from."""
        await self._health.end()
        self._open_watches.drain()

    async def stop(self, grace_s: float) -> None:
        """End the server once its calls have ended, or after `grace_s` seconds."""
        await self._server.stop(grace_s)
