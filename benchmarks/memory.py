"""What memory gives over gRPC: gets and puts beside a bare echo, latencies in a full memory beside a small one, and a snapshot."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

import orcs_client
from benchmarks.echo import EchoClient, echoing
from benchmarks.load import at_once
from benchmarks.server import ChildProcess, ServerProcess, new_folder, serving, serving_in
from benchmarks.table import percentile, say
from orcs_client.v1.common_pb2 import Part
from orcs_server.storage.memory_rows import MemoryPut, Note, Trust, Writer
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import blob_of

CONCURRENCY = 32
CALLS = 1500
ROUNDS = 6
VALUE_BYTES = 1024
KEYS = 1000
FEW = 1000
MANY = 100_000
"""Unless ORCS_BENCH_ENTRIES says otherwise."""
SAMPLES = 1000
HITS = 10
"""Entries that hold the rare word, however many there are."""
SNAPSHOTS = 30
FILL_BATCH = 1000
NAMESPACE, SCOPE = "default", "global"

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Round:
    """The figures of one kind of call in one round."""

    rate: float
    """Calls a second."""
    cpu_us: float
    """CPU microseconds of the serving process, a call."""


def text_of(mark: str, size: int = VALUE_BYTES) -> str:
    """Return a text of this size in ASCII, unlike that of any other mark."""
    words = f"Notes {mark} of a day in the field, taken down as they came. "
    return (words * (size // len(words) + 1))[:size]


async def one_round(call: Call, calls: int, serving_process: ChildProcess) -> Round:
    """Make the calls, `CONCURRENCY` at a time."""
    cpu, began = serving_process.cpu_s(), time.perf_counter()
    await at_once(CONCURRENCY, calls, lambda _: call())
    wall = time.perf_counter() - began
    return Round(calls / wall, (serving_process.cpu_s() - cpu) / calls * 1e6)


async def rates(server: ServerProcess, echo: ChildProcess) -> dict[str, list[Round]]:
    """Measure echo, gets and puts in turns, in another order each round."""
    marks, chosen = count(), random.Random(1)  # noqa: S311 - the same keys each time
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.client())
        bare = EchoClient(echo.address)
        stack.push_async_callback(bare.close)
        part = Part(text=text_of("echoed"))

        async def put() -> None:
            number = next(marks)
            await client.put_memory(f"notes/{number % KEYS}", text_of(str(number)))

        calls: list[tuple[str, Call, ChildProcess]] = [
            ("echo", lambda: bare.echo(part), echo),
            ("GetMemory", lambda: client.get_memory(f"notes/{chosen.randrange(KEYS)}", scope=SCOPE), server),
            ("PutMemory", put, server),
        ]
        await one_round(put, KEYS, server)  # every key is there, and everything is warm
        for _, call, process in calls[:2]:
            await one_round(call, CALLS // 4, process)
        found: dict[str, list[Round]] = {name: [] for name, _, _ in calls}
        for number in range(ROUNDS):
            for name, call, process in calls[number % 3 :] + calls[: number % 3]:
                found[name].append(await one_round(call, CALLS, process))
    return found


def print_rates() -> None:
    """Print calls a second of each, and the middle one of the rounds' ratios."""
    with serving() as server, echoing() as echo:
        found = asyncio.run(rates(server, echo))
    say(
        f"\nMemory over gRPC, durable: values of {VALUE_BYTES:,} bytes, {CONCURRENCY} calls at a time, "
        f"the middle of {ROUNDS} rounds\n"
        f"{'':28}{'calls/s':>10}{'CPU us/call':>13}{'ratio to echo':>15}{'in the rounds':>16}{'aim':>6}"
    )
    aims = {"echo": "", "GetMemory": "0.8", "PutMemory": "0.6"}
    for name, rounds in found.items():
        ratios = sorted(one.rate / base.rate for one, base in zip(rounds, found["echo"], strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        say(
            f"{name:28}{median(one.rate for one in rounds):>10.0f}{median(one.cpu_us for one in rounds):>13.0f}"
            f"{median(ratios):>15.2f}{spread:>16}{aims[name]:>6}"
        )


async def fill(path: Path, entries: int) -> float:
    """Store entries without a server, many in a transaction; return the seconds it took."""
    store = SqliteStore(path)
    await store.open()
    began = time.perf_counter()
    every = entries // HITS
    try:
        for first in range(0, entries, FILL_BATCH):
            changes = [
                MemoryPut(
                    SCOPE,
                    f"notes/{number}",
                    blob_of(text_of(f"{number}{' lighthouse' if number % every == 0 else ''}", 200)),
                    "text/plain; charset=utf-8",
                )
                for number in range(first, min(first + FILL_BATCH, entries))
            ]
            note = Note(time.time_ns() // 1000, Writer("benchmark"), Trust.CLIENT)
            await store.memory.write(NAMESPACE, changes, note)
    finally:
        await store.close()
    return time.perf_counter() - began


async def hits(client: orcs_client.OrcsClient, query: str) -> int:
    """Search, and read the first page."""
    found = 0
    async for _ in client.search_memory(query, scopes=(SCOPE,), page_size=HITS):
        found += 1
        if found == HITS:
            break
    return found


async def latencies(servers: dict[int, ServerProcess]) -> dict[str, dict[int, list[float]]]:
    """Make each kind of call alone, on both servers in turns; return the seconds by kind and number of entries."""
    found: dict[str, dict[int, list[float]]] = {}
    chosen = random.Random(2)  # noqa: S311 - the same keys each time
    async with AsyncExitStack() as stack:
        clients = {entries: await stack.enter_async_context(server.client()) for entries, server in servers.items()}

        async def put(client: orcs_client.OrcsClient, entries: int) -> None:
            number = chosen.randrange(entries)
            await client.put_memory(f"notes/{number}", text_of(f"{number} {chosen.random()}", 200))

        async def search(client: orcs_client.OrcsClient, query: str) -> None:
            if await hits(client, query) != HITS:
                raise RuntimeError(f"a search for {query!r} did not find what is there")

        kinds: dict[str, Callable[[orcs_client.OrcsClient, int], Awaitable[object]]] = {
            "get": lambda client, entries: client.get_memory(f"notes/{chosen.randrange(entries)}", scope=SCOPE),
            f"search, {HITS} have the word": lambda client, _: search(client, "lighthouse"),
            "search, all have the word": lambda client, _: search(client, "field"),
            "put": put,  # the last: it may take the rare word from an entry
        }
        for name, call in kinds.items():
            seconds: dict[int, list[float]] = {entries: [] for entries in clients}
            for number in range(-SAMPLES // 10, SAMPLES):
                for entries in sorted(clients, reverse=number % 2 == 0):
                    began = time.perf_counter()
                    await call(clients[entries], entries)
                    if number >= 0:
                        seconds[entries].append(time.perf_counter() - began)
            found[name] = seconds
        found["snapshot"] = {entries: [] for entries in clients}
        for _ in range(SNAPSHOTS):
            for entries, client in clients.items():
                began = time.perf_counter()
                await client.create_snapshot(SCOPE)
                found["snapshot"][entries].append(time.perf_counter() - began)
    return found


def print_latencies(many: int) -> None:
    """Print latencies with many entries beside those with few, and a snapshot's."""
    with new_folder() as folder, ExitStack() as stack:
        servers: dict[int, ServerProcess] = {}
        filled = 0.0
        for entries in (FEW, many):
            home = folder / str(entries)
            home.mkdir()
            filled = asyncio.run(fill(home / "orcs.db", entries))
            servers[entries] = stack.enter_context(serving_in(home))
        found = asyncio.run(latencies(servers))
    say(
        f"\nMemory with {many:,} entries (filled in {filled:.0f} s) beside {FEW:,}: one call at a time\n"
        f"{'':28}{'p50 ms':>10}{f'of {FEW:,}':>12}{'ratio':>8}{'p99 ms':>10}{f'of {FEW:,}':>12}{'ratio':>8}{'aim':>6}"
    )
    for name, seconds in found.items():
        line = f"{name:28}"
        for share in (0.5, 0.99):
            full, small = (percentile(sorted(seconds[entries]), share) * 1e3 for entries in (many, FEW))
            line += f"{full:>10.2f}{small:>12.2f}{full / small:>8.2f}"
        say(line + f"{'' if name == 'snapshot' else '2':>6}")
    taken = sorted(found["snapshot"][many])
    say(
        f"a snapshot of {many:,} entries: {median(taken) * 1e3:.1f} ms, at most {taken[-1] * 1e3:.1f} "
        f"of {len(taken)} (aim: under 50 ms)"
    )


def measure() -> None:
    """Print all of it."""
    many = int(os.environ.get("ORCS_BENCH_ENTRIES", MANY))
    if many <= FEW:
        raise SystemExit(f"ORCS_BENCH_ENTRIES is {many}: it must be above {FEW}")
    print_rates()
    print_latencies(many)
