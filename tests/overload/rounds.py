"""Rounds of everything that can overload a server, from one namespace, while another one goes on with its work."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orcs_client.v1 import common_pb2, workflow_pb2, workflow_service_pb2
from tests.overload import hostile
from tests.overload.hostile import RawClient
from tests.rpc.wire import Wire, connected, explained, plan_of
from tests.server_process import ServerProcess

_w = workflow_service_pb2

MIB = 1024 * 1024
PATIENCE_S = 120.0
"""For a single answer to the neighbour, however slow the machine is."""
SETTLE_S = 60.0
CREATE = "orcs.v1.WorkflowService/CreateWorkflow"
GET = "orcs.v1.WorkflowService/GetWorkflow"
WATCH = "orcs.v1.WorkflowService/WatchWorkflow"


class Scale(NamedTuple):
    """How much of each."""

    connections: int
    creators: int
    """On each connection."""
    creates: int
    watchers: int
    slow_readers: int
    huge: int
    silent: int
    halves: int
    """Of requests."""
    resets: int
    """On each connection."""
    vanishing: int


class OverloadedServer(ServerProcess):
    """A server that waits for slow readers for a second, with a token for each of two namespaces."""

    program = "tests.overload.impatient"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, limits_max_watches_per_caller="1000", log_level="info")
        self.red = self.create_token("red", "red", "view", "operate")
        self.blue = self.create_token("blue", "blue", "view", "operate")

    @property
    def rss(self) -> int:
        """MiB of memory that the server has."""
        return int(psutil.Process(self.pid).memory_info().rss // MIB)


@dataclass
class Report:
    """What the rounds came to."""

    answered: int = 0
    """Answers to the neighbour while the floods were on."""
    completed: int = 0
    """Its workflows that completed meanwhile."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How the flood's calls ended."""
    idle: int = 0
    peak: int = 0
    after: list[int] = field(default_factory=list)
    """MiB of memory before, at most, and after each round."""


class Neighbour:
    """Whoever is not to notice: it asks for the server's health, creates workflows, and reads them to their end."""

    def __init__(self, wire: Wire, report: Report) -> None:
        self._wire = wire
        self._report = report
        self._health = health_pb2_grpc.HealthStub(wire.channel)

    async def live_once(self) -> None:
        wire = self._wire
        reply = await self._answer(self._health.Check(health_pb2.HealthCheckRequest()))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        created = await self._answer(wire.create(plan=plan_of(a=(), b=("a",)), auto_start=False))
        name = created.workflow.id
        await self._answer(wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=name)))
        ended = await self._answer(wire.finished(name))
        assert ended.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
        await self._answer(wire.call("DeleteWorkflow", _w.DeleteWorkflowRequest(workflow_id=name)))
        self._report.completed += 1

    async def _answer(self, call: Awaitable[Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            answer = await call
        self._report.answered += 1
        return answer


class Flood:
    """Everything that the red namespace does to the server."""

    def __init__(self, server: OverloadedServer, scale: Scale, report: Report) -> None:
        self._server = server
        self._scale = scale
        self._outcomes = report.outcomes
        self._address, self._token = server.address, server.red

    async def all(self) -> None:
        """One round of it."""
        await self.creates()
        await self.watchers(await self._ended(1))
        # Its log is longer than what a connection takes unread.
        target = await self._ended(400)
        await asyncio.to_thread(self.slow_readers, target)
        await self.huge_texts()
        await asyncio.to_thread(self.half_open)
        await asyncio.to_thread(self.resets)
        await asyncio.to_thread(self.connections)
        await asyncio.to_thread(self.vanishing, target)

    async def creates(self) -> None:
        """Create workflows over several connections, hundreds at once, without waiting for any of them."""
        left = iter(range(self._scale.creates))

        async def creator(wire: Wire) -> None:
            for _ in left:
                await self._note("create", wire.create(plan=plan_of(a=())))

        async with self._wires(self._scale.connections) as wires:
            await asyncio.gather(*(creator(wire) for wire in wires for _ in range(self._scale.creators)))

    async def watchers(self, target: str) -> None:
        """Watch a workflow so many times at once; all get all of it."""

        async def watch(wire: Wire) -> None:
            await self._note("watch", wire.watched(workflow_id=target))

        async with self._wires(self._scale.connections) as wires:
            await asyncio.gather(*(watch(wires[n % len(wires)]) for n in range(self._scale.watchers)))

    def slow_readers(self, target: str) -> None:
        """Watch, take nothing until the server has given up on it, and then see what it had to say."""
        request = _w.WatchWorkflowRequest(workflow_id=target)
        given_up = self._given_up()
        with RawClient(self._address, self._token) as client:
            streams = {client.call(WATCH, request) for _ in range(self._scale.slow_readers)}
            hostile.wait_until(lambda: self._given_up() - given_up >= len(streams), "slow readers to be given up")
            for trailers in client.drain(streams).values():
                self._outcomes[f"slow reader: {trailers['grpc-status']} {trailers.get('grpc-message', '')[:16]}"] += 1

    async def huge_texts(self) -> None:
        """Send texts at the limit, over it, and over that of a message, all at once."""
        async with self._wires(4) as wires:
            sizes = (256 * 1024, 256 * 1024 + 1, 7 * MIB, 9 * MIB)
            await asyncio.gather(
                *(
                    self._note(f"text of {size}", wires[n % 4].create(query="x" * size, auto_start=False))
                    for n in range(self._scale.huge)
                    for size in sizes
                )
            )

    def half_open(self) -> None:
        """Connect and say nothing; greet and say nothing; send half a frame; send half a request."""
        request = _w.CreateWorkflowRequest(query="x" * 6_000)
        connections = []
        for said in (b"", hostile.PREFACE, hostile.PREFACE + hostile.EMPTY_SETTINGS + hostile.HALF_OF_HEADERS):
            for _ in range(self._scale.silent):
                connection = hostile.connect(self._address)
                connection.sendall(said)
                connections.append(connection)
        with RawClient(self._address, self._token) as client:
            streams = {client.call(CREATE, request, sent=0.5) for _ in range(self._scale.halves)}
            for trailers in client.drain(streams).values():
                self._outcomes[f"half a request: {trailers['grpc-status']}"] += 1
        for connection in connections:
            connection.close()

    def resets(self) -> None:
        """Begin calls and take them back at once."""
        request = _w.CreateWorkflowRequest(plan=plan_of(a=()), auto_start=False)
        for _ in range(self._scale.connections):
            done = hostile.reset_rapidly(self._address, self._token, CREATE, request, self._scale.resets)
            self._outcomes["reset" if done == self._scale.resets else "resets cut off"] += done

    def connections(self) -> None:
        """Open more connections than the server takes."""
        opened = []
        for _ in range(10 * self._scale.silent):
            connection = hostile.connect(self._address)
            connection.sendall(hostile.PREFACE + hostile.EMPTY_SETTINGS)
            opened.append(connection)
        for connection in opened:
            connection.close()

    def vanishing(self, target: str) -> None:
        """Vanish in the middle of watches and of calls."""
        for _ in range(self._scale.vanishing):
            client = RawClient(self._address, self._token)
            for _ in range(5):
                client.call(WATCH, _w.WatchWorkflowRequest(workflow_id=target))
                client.call(GET, _w.GetWorkflowRequest(workflow_id=target, view=common_pb2.VIEW_FULL))
                client.call(CREATE, _w.CreateWorkflowRequest(plan=plan_of(a=()), auto_start=False))
            hostile.vanish(client.socket)
            self._outcomes["vanished"] += 1

    async def _ended(self, tasks: int) -> str:
        """Return a workflow of so many tasks that has ended."""
        async with self._wires(1) as (wire,):
            plan = plan_of(**{f"t{number}": () for number in range(tasks)})
            created = await wire.create(plan=plan)
            await wire.finished(created.workflow.id)
        return str(created.workflow.id)

    async def _note(self, what: str, call: Awaitable[Any]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await call
        except grpc.aio.AioRpcError as error:
            refused = explained(error)
            self._outcomes[f"{what}: {refused.code.name} {refused.reason}".rstrip()] += 1
            if refused.reason == "QUOTA_EXCEEDED":
                assert {"google.rpc.RetryInfo", "google.rpc.QuotaFailure"} <= set(refused.details)
        else:
            self._outcomes[f"{what}: OK"] += 1

    def _given_up(self) -> int:
        return self._server.errors.read_text().count("took not even the status")

    @asynccontextmanager
    async def _wires(self, count: int) -> AsyncIterator[list[Wire]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(connected(self._address, self._token)) for _ in range(count)]


async def run_rounds(server: OverloadedServer, scale: Scale, rounds: int = 3) -> Report:
    """Flood the server round by round, and let a neighbour work beside it the whole time."""
    report = Report()
    async with connected(server.address, server.blue) as wire:
        neighbour = Neighbour(wire, report)
        await neighbour.live_once()
        report.idle = server.rss
        for _ in range(rounds):
            await _beside(Flood(server, scale, report).all, neighbour.live_once, lambda: _note_peak(server, report))
            report.after.append(await _settled(server))
        await neighbour.live_once()
    return report


async def _beside(flood: Callable[[], Awaitable[None]], live: Callable[[], Awaitable[None]], note: Any) -> None:
    under_way = asyncio.ensure_future(flood())
    try:
        while True:
            await live()
            note()
            if under_way.done():
                break
    finally:
        under_way.cancel()
        await asyncio.wait((under_way,))
    await under_way


def _note_peak(server: OverloadedServer, report: Report) -> None:
    report.peak = max(report.peak, server.rss)


async def _settled(server: OverloadedServer) -> int:
    """Return the server's memory once it no longer falls, with no CPU used for a while."""
    process = psutil.Process(server.pid)
    lowest = server.rss
    async with asyncio.timeout(SETTLE_S):
        while True:
            before = process.cpu_times()
            await asyncio.sleep(1)
            after = process.cpu_times()
            rss = server.rss
            if after.user - before.user < 0.1 and rss >= lowest:
                return rss
            lowest = min(lowest, rss)
