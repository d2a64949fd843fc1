"""Who may run next. A slot is leave to run one attempt; there are so many for the server and, where set, for an agent, and one for
all attempts that are suspected of ending the server.

Slots go to namespaces in proportion to their weights first, then to the workflow with the highest priority, then in turn
among workflows (stride scheduling: each grant moves the receiver's virtual time on, and the lowest one is next). So one
tenant's ten thousand workflows delay another tenant's one by a single attempt. A namespace gets no more than its quota, and none
while it is shut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from orcs_server.identity.quotas import NO_QUOTAS, Quotas

_SUSPECTS = ""
"""The name, which no agent has, of the limit for suspected attempts."""
ROOMS_KEPT = 1_000
"""Namespaces that are remembered although nobody of them waits; beyond, those that owe no more than one turn are forgotten."""


class Want(NamedTuple):
    """An attempt that waits for a slot. Planning has no task id."""

    task_id: str
    attempt: int
    agent_id: str
    suspected: bool = False
    """It may be what ends the server: of such attempts one runs at a time."""


class Ticket:
    """One workflow's place in the queue, with its wants in the order in which it wants them."""

    __slots__ = ("entry", "grant", "namespace", "priority", "vtime", "wants")

    def __init__(self, namespace: str, grant: Callable[[Want], None]) -> None:
        self.namespace = namespace
        self.priority = 0
        self.grant = grant
        self.wants: list[Want] = []
        self.vtime = 0.0
        self.entry = -1
        """Number of its entry in the queue; -1 when it does not wait. For `Slots` alone."""


class _Room:
    """A namespace's queue of tickets."""

    __slots__ = ("blocked", "heap", "stride", "ticket_vtimes", "vtime")

    def __init__(self, weight: float) -> None:
        self.stride = 1.0 / weight
        self.vtime = 0.0
        self.ticket_vtimes: dict[int, float] = {}
        """By priority, where new tickets begin: a busy high priority must not set those below it back."""
        self.heap: list[tuple[int, float, int, Ticket]] = []
        self.blocked: dict[Ticket, None] = {}
        """Tickets whose wants all wait for an agent that is busy or held back, or for a suspect, in order."""


class Slots:
    """Hands out slots. Synchronous; `Ticket.grant` is called for each slot given, in order."""

    def __init__(
        self,
        total: int,
        *,
        per_agent: Mapping[str, int] | None = None,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        self._free = total
        self._limits = {**(per_agent or {}), _SUSPECTS: 1}
        """What is free by agent, where it has a limit, and for suspected attempts."""
        self._held_back: dict[str, int] = {}
        """Agents that get no more slots than this for now."""
        self._quotas = quotas
        self._running: Counter[str] = Counter()
        """Slots by namespace."""
        self._shut: set[str] = set()
        """Namespaces that get no slot for now."""
        self._rooms: dict[str, _Room] = {}
        self._waiting: dict[str, _Room] = {}
        """Those of the rooms that have something in their queue and may be given a slot."""
        self._entries = count()
        self._vtime = 0.0
        self._open = True

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return self._free

    @property
    def free_by_agent(self) -> Mapping[str, int]:
        """The same for the agents that have a limit of their own."""
        return {name: free for name, free in self._limits.items() if name != _SUSPECTS}

    @property
    def waiting(self) -> int:
        """Wants that have no slot yet."""
        tickets = [entry[3] for room in self._rooms.values() for entry in room.heap if entry[2] == entry[3].entry]
        tickets.extend(ticket for room in self._rooms.values() for ticket in room.blocked)
        return sum(len(ticket.wants) for ticket in tickets)

    def running(self, namespace: str) -> int:
        """Return how many slots the namespace has."""
        return self._running[namespace]

    def ask(self, ticket: Ticket, wants: Sequence[Want], priority: int = 0) -> None:
        """Put what the workflow wants now in place of what it wanted before, and hand out what is free."""
        room = self._rooms.get(ticket.namespace)
        if room is not None:
            room.blocked.pop(ticket, None)
        ticket.wants = list(wants)
        keeps_place = ticket.entry != -1 and bool(wants) and priority == ticket.priority
        if priority != ticket.priority:
            ticket.priority, ticket.vtime = priority, 0.0
        if not keeps_place:
            ticket.entry = -1
        if ticket.wants and self._open:
            if not keeps_place:
                self._enqueue(ticket)
            self._dispatch()

    def release(self, namespace: str, agent_id: str, *, suspected: bool = False) -> None:
        """Give a slot back."""
        self._free += 1
        self._running[namespace] -= 1
        if not self._running[namespace]:
            del self._running[namespace]
        self._line_up(namespace)
        freed = [name for name in _limits(agent_id, suspected=suspected) if name in self._limits]
        for name in freed:
            self._limits[name] += 1
        if freed:
            self._unblock()
        if self._waiting:
            self._dispatch()

    def hold_back(self, agent_id: str) -> None:
        """Give this agent no slot until `let_one` or `let_all`."""
        self._held_back[agent_id] = 0

    def let_one(self, agent_id: str) -> None:
        """Give an agent that is held back one slot."""
        self._held_back[agent_id] = 1
        self._unblock()
        self._dispatch()

    def let_all(self, agent_id: str) -> None:
        """Hold this agent back no longer."""
        self._held_back.pop(agent_id, None)
        self._unblock()
        self._dispatch()

    def shut(self, namespace: str) -> None:
        """Give this namespace no slot until `reopen`. What it has it keeps."""
        self._shut.add(namespace)
        self._waiting.pop(namespace, None)

    def reopen(self, namespace: str) -> None:
        """Give this namespace slots again."""
        self._shut.discard(namespace)
        self._line_up(namespace)
        self._dispatch()

    def close(self) -> None:
        """Hand out nothing from now on (shutdown)."""
        self._open = False
        self._waiting.clear()
        self._rooms.clear()

    def _unblock(self) -> None:
        for room in self._rooms.values():
            for ticket in [one for one in room.blocked if any(map(self._may_take, one.wants))]:
                del room.blocked[ticket]
                self._enqueue(ticket)

    def _enqueue(self, ticket: Ticket) -> None:
        room = self._rooms.get(ticket.namespace)
        if room is None:
            self._forget_rooms()
            room = self._rooms[ticket.namespace] = _Room(self._quotas.of(ticket.namespace).weight)
        ticket.vtime = max(ticket.vtime, room.ticket_vtimes.get(ticket.priority, 0.0))
        ticket.entry = next(self._entries)
        heappush(room.heap, (-ticket.priority, ticket.vtime, ticket.entry, ticket))
        self._line_up(ticket.namespace)

    def _line_up(self, namespace: str) -> None:
        """Let the namespace's queue be served, if there is one and it may have a slot."""
        room = self._rooms.get(namespace)
        if room is not None and room.heap and namespace not in self._waiting and self._may_have(namespace):
            # Whoever did not wait saved up nothing: it begins where the others are.
            room.vtime = max(room.vtime, self._vtime)
            self._waiting[namespace] = room

    def _may_have(self, namespace: str) -> bool:
        limit = self._quotas.of(namespace).max_running_tasks
        return namespace not in self._shut and (limit is None or self._running[namespace] < limit)

    def _dispatch(self) -> None:
        while self._free > 0 and self._waiting and self._open:
            namespace, room = min(self._waiting.items(), key=lambda item: item[1].vtime)
            ticket = self._next_ticket(room)
            want = None if ticket is None else self._take_want(ticket)
            if ticket is None:
                del self._waiting[namespace]
                continue
            if want is None:
                room.blocked[ticket] = None
                continue
            self._vtime = room.vtime
            room.vtime += room.stride
            room.ticket_vtimes[ticket.priority] = ticket.vtime
            ticket.vtime += 1.0
            self._free -= 1
            self._running[namespace] += 1
            if ticket.wants:
                self._enqueue(ticket)
            if not self._may_have(namespace):
                self._waiting.pop(namespace, None)
            ticket.grant(want)

    def _next_ticket(self, room: _Room) -> Ticket | None:
        while room.heap:
            _, _, entry, ticket = heappop(room.heap)
            if entry == ticket.entry:
                ticket.entry = -1
                return ticket
        return None

    def _take_want(self, ticket: Ticket) -> Want | None:
        for index, want in enumerate(ticket.wants):
            if self._may_take(want):
                for name in _limits(want.agent_id, suspected=want.suspected):
                    if name in self._limits:
                        self._limits[name] -= 1
                if want.agent_id in self._held_back:
                    self._held_back[want.agent_id] -= 1
                del ticket.wants[index]
                return want
        return None

    def _may_take(self, want: Want) -> bool:
        if self._held_back.get(want.agent_id, 1) <= 0:
            return False
        return all(self._limits.get(name, 1) > 0 for name in _limits(want.agent_id, suspected=want.suspected))

    def _forget_rooms(self) -> None:
        if len(self._rooms) < ROOMS_KEPT:
            return
        settled = [
            name
            for name, room in self._rooms.items()
            if name not in self._waiting
            and not room.heap
            and not room.blocked
            and room.vtime <= self._vtime + room.stride
        ]
        for name in settled:
            del self._rooms[name]


def _limits(agent_id: str, *, suspected: bool) -> tuple[str, ...]:
    """Return the names of the limits that hold for an attempt, if they are set."""
    return (agent_id, _SUSPECTS) if suspected else (agent_id,)
