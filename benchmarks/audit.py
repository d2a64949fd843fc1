"""What the audit log costs: changes over gRPC, durable, with their records and without them, in turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from statistics import median

import orcs_client
from benchmarks.load import one_task
from benchmarks.memory import CONCURRENCY, Round, one_round, text_of
from benchmarks.server import ServerProcess, serving
from benchmarks.table import say

CALLS = 600
ROUNDS = 8
KEYS = 1000

Rounds = dict[str, list[Round]]


async def rounds_of(servers: dict[str, ServerProcess]) -> dict[str, Rounds]:
    """Have both servers do the same in turns, each going first every other round; return the rounds by kind and server."""
    marks = count()
    found: dict[str, Rounds] = {kind: {name: [] for name in servers} for kind in ("create", "pause", "PutMemory")}
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(server.client()) for name, server in servers.items()}
        for number in range(-1, ROUNDS):
            order = list(servers) if number % 2 else list(servers)[::-1]
            for kind in found:
                for name in order:
                    calls = CALLS if number >= 0 else CALLS // 4
                    call = _call(kind, clients[name], number, marks)
                    measured = await one_round(call, calls, servers[name])
                    if number >= 0:
                        found[kind][name].append(measured)
    return found


def _call(kind: str, client: orcs_client.OrcsClient, number: int, marks: count[int]) -> Callable[[], Awaitable[object]]:
    own = count()

    def workflow_id() -> str:
        return f"r{number + 1}-{next(own)}"

    async def create() -> None:
        plan = one_task("research_agent", text_of(str(next(marks)), 200))
        await client.create_workflow(workflow_id=workflow_id(), plan=plan, auto_start=False)

    async def put() -> None:
        mark = next(marks)
        await client.put_memory(f"notes/{mark % KEYS}", text_of(str(mark)))

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "create": create,
        "pause": lambda: client.pause_workflow(workflow_id()),
        "PutMemory": put,
    }
    return calls[kind]


def measure() -> None:
    """Print calls a second and processor time of each with its record, and the middle one of the rounds' ratios."""
    with serving() as audited, serving(program="benchmarks.unaudited") as unaudited:
        found = asyncio.run(rounds_of({"without": unaudited, "with": audited}))
    say(
        f"\nThe audit log: changes over gRPC, durable, {CONCURRENCY} at a time, beside a server that records none, "
        f"the middle of {ROUNDS} rounds\n"
        f"{'':28}{'calls/s':>10}{'without':>10}{'ratio':>8}{'in the rounds':>16}{'CPU us/call':>13}{'without':>10}{'ratio':>8}"
    )
    for kind, rounds in found.items():
        ours, base = rounds["with"], rounds["without"]
        rates = sorted(one.rate / other.rate for one, other in zip(ours, base, strict=True))
        cpu = median(one.cpu_us / other.cpu_us for one, other in zip(ours, base, strict=True))
        say(
            f"{kind:28}{median(one.rate for one in ours):>10.0f}{median(one.rate for one in base):>10.0f}{median(rates):>8.2f}"
            f"{f'{rates[0]:.2f} to {rates[-1]:.2f}':>16}{median(one.cpu_us for one in ours):>13.0f}"
            f"{median(one.cpu_us for one in base):>10.0f}{cpu:>8.2f}"
        )
