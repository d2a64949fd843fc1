"""Who is let in, and when: so many calls are served at once, so many wait for it, and no namespace crowds the others out.

A call is let in before its request is read: what waits, or is refused, holds no message, only the few KiB that HTTP/2 lets a
client send ahead. Watches leave as soon as their stream stands: they have a limit of their own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import grpc

from orcs_server.errors import InvalidArgument, ResourceExhausted
from orcs_server.identity.fairness import Shares, Turns
from orcs_server.rpc.patience import Patience

AT_ONCE: Final = 16
"""Calls that are served at the same time. Few: gRPC hands one call of a method over in each pass of the event loop, and a pass
takes as long as what is being served makes it.
"""
WAITING: Final = 2_000
"""Calls that wait for that."""
DISK_CALLS: Final = frozenset({"PutMemory", "DeleteMemory", "ShareMemory"})
"""Calls that are little work and then wait for the disk, while the event loop is free. They are counted apart, so that as many of
them share one wait for the disk as come together: with the places of the others a commit had eight, and the next eight stood outside.
"""
DISK_AT_ONCE: Final = 64
LONG_CALLS: Final = frozenset({"PreviewPlan", "RestoreSnapshot", "RevertMemory", "PurgeMemory", "VerifyAudit"})
"""Calls that wait for a model, or go over many entries. They are counted apart, so that nobody waits for them but their own kind."""
LONG_AT_ONCE: Final = 16
LONG_WAITING: Final = 100
REQUEST_BYTES: Final = 64 * 1024 * 1024
"""Of all requests that are being served. What they become in memory is several times as much."""
ARRIVES_WITHIN_S: Final = 30.0
"""A request must have arrived after so long: whoever sends half of one keeps a place from others."""
RETRY_AFTER_US: Final = 1_000_000


class _Place(NamedTuple):
    """What a call waits for."""

    namespace: str
    given: asyncio.Future[None]


class Gate:
    """So many at once, so many waiting, in turn among the namespaces."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._places = Shares(at_once)
        self._room = Shares(waiting)
        self._waiting: Turns[_Place] = Turns()
        self._at_once, self._most_waiting = at_once, waiting
        self.admitted = 0
        """Calls that were let in, all in all."""
        self.refused = 0
        """Calls that were turned away."""

    @property
    def served(self) -> int:
        """Calls that are inside."""
        return self._at_once - self._places.free

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return self._most_waiting - self._room.free

    async def enter(self, namespace: str) -> None:
        """Return once there is a place; `leave` gives it back. Raises ResourceExhausted where too many wait already."""
        if not self._waiting.waits(namespace) and self._places.take(namespace):
            self.admitted += 1
            return
        if not self._room.take(namespace):
            self.refused += 1
            raise ResourceExhausted(
                "QUOTA_EXCEEDED",
                f"{self._room.held(namespace)} calls of this namespace wait to be served already: make fewer at once.",
                RETRY_AFTER_US,
            )
        mine = _Place(namespace, asyncio.get_running_loop().create_future())
        self._waiting.put(namespace, mine)
        try:
            await mine.given
            self.admitted += 1
        except asyncio.CancelledError:
            self._waiting.drop(namespace, mine)
            if mine.given.done() and not mine.given.cancelled():
                self.leave(namespace)  # It was given a place in the same moment.
            raise
        finally:
            self._room.give(namespace)

    def leave(self, namespace: str) -> None:
        """Give a place back, to who is next."""
        self._places.give(namespace)
        while (following := self._waiting.take(self._places.take)) is not None:
            if following.given.done():
                self._places.give(following.namespace)  # Its call was cancelled, and has not come to say so yet.
            else:
                following.given.set_result(None)


class Entry:
    """A call that was let in."""

    def __init__(self, gate: Gate, namespace: str, requests: Shares, arrival: Patience) -> None:
        self._gate = gate
        self._arrival = arrival
        self._namespace = namespace
        self._requests = requests
        self._size = 0
        self._inside = True

    async def receive(self, context: Any) -> bytes:
        """Read the request. Raises ResourceExhausted where it takes too long, or is too much with those being served."""
        message = await received(context, self._arrival)
        if not self._requests.take(self._namespace, len(message)):
            raise ResourceExhausted(
                "QUOTA_EXCEEDED",
                f"The requests of this namespace that are being served have {self._requests.held(self._namespace)} bytes "
                "already: send large ones one after the other.",
                RETRY_AFTER_US,
            )
        self._size = len(message)
        return message

    def leave(self) -> None:
        """Make room for others. Once is enough."""
        if self._inside:
            self._inside = False
            if self._size:
                self._requests.give(self._namespace, self._size)
            self._gate.leave(self._namespace)


class Admission:
    """Lets calls in."""

    def __init__(self) -> None:
        self._gate = Gate(AT_ONCE, WAITING)
        disk, long = Gate(DISK_AT_ONCE, WAITING), Gate(LONG_AT_ONCE, LONG_WAITING)
        self.gates = {"short": self._gate, "disk": disk, "long": long}
        self._apart = {method: gate for methods, gate in ((DISK_CALLS, disk), (LONG_CALLS, long)) for method in methods}
        self._requests = Shares(REQUEST_BYTES)
        self._arrival = Patience(ARRIVES_WITHIN_S)

    async def enter(self, namespace: str, method: str) -> Entry:
        """Let a call in; `Entry.leave` lets it out. Raises ResourceExhausted (QUOTA_EXCEEDED)."""
        gate = self._apart.get(method, self._gate)
        await gate.enter(namespace)
        return Entry(gate, namespace, self._requests, self._arrival)


async def received(context: Any, arrival: Patience) -> bytes:
    """Read a call's one message. Raises ResourceExhausted where it does not arrive in time, InvalidArgument for none."""
    try:
        message = await arrival.wait(context.read())
    except TimeoutError:
        raise ResourceExhausted(
            "QUOTA_EXCEEDED", f"The request did not arrive within {arrival.seconds:g} s: send it again.", RETRY_AFTER_US
        ) from None
    if message is grpc.aio.EOF:
        raise InvalidArgument("FIELD_INVALID", "The call ended without a request.")
    return bytes(message)
