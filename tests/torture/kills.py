"""A run over kills: the load, and servers that die under it at every commit point and at random."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from orcs_client import OrcsClient
from tests.torture.checks import Ledger, check_everything
from tests.torture.faults import JOURNALED, POINTS
from tests.torture.load import MEETING, Load
from tests.torture.servers import GRACES_S, TortureServer

STATES = ("PLANNING", "READY", "RUNNING", "COMPLETED", "FAILED", "DELETED")
"""Every state that a commit can leave a workflow in."""


VAIN_LIMIT = 50
"""So many servers in a row that come to no new commit point are too many."""


class Scale(NamedTuple):
    """How much of it."""

    clients: int
    states: tuple[str, ...]
    """What commits are hit at, each before, inside and after: `STATES`, and things of the journal."""
    random_kills: int
    cold_every: int
    """Of so many ends one comes after a cold start."""
    orderly_every: int
    """Of so many ends one is a SIGTERM instead of a kill, every other time with a second one."""
    commit_points_s: float
    """Seconds for which commits with another event are looked for, too, once each point was hit in each state."""


class Report(NamedTuple):
    """What a run over kills came to."""

    kills: Counter[str]
    situations: set[str]
    ledger: Ledger
    repetitions: int


def missing(hit: set[str], states: Iterable[str]) -> set[tuple[str, str]]:
    """Return the (point, state) pairs at which no server has died yet."""
    met = {tuple(situation.split()[:2]) for situation in hit}
    return {(point, state) for point in POINTS for state in states if (point, state) not in met}


class Killing:
    """Kills servers and starts them again."""

    def __init__(self, server: TortureServer, scale: Scale, seed: int) -> None:
        self.kills: Counter[str] = Counter()
        self.hit: set[str] = set()
        self._server = server
        self._scale = scale
        self._random = random.Random(seed)

    async def until_enough(self) -> None:
        """Return with a server up that nobody kills any more."""
        ends = time.monotonic() + self._scale.commit_points_s
        vain = 0
        while missing(self.hit, self._scale.states) or time.monotonic() < ends:
            before = len(self.hit)
            await self._at_commit_point()
            vain = vain + 1 if len(self.hit) == before else 0
            assert vain < VAIN_LIMIT, missing(self.hit, self._scale.states)
        for number in range(1, self._scale.random_kills + 1):
            await self._at_random(cold=number % self._scale.cold_every == 0)
            if number % self._scale.orderly_every == 0:
                await self._in_good_order()
        await self._server.fork()
        assert await self._server.news() is None

    async def _at_commit_point(self) -> None:
        known = set(self.hit)
        if not self._scale.commit_points_s:
            known |= {situation.rpartition(" ")[0] for situation in self.hit}
            known |= {f"{point} {thing}" for point in POINTS for thing in JOURNALED if thing not in self._scale.states}
        await self._server.fork(known=known)
        patience = self._random.uniform(0.5, 2.0)
        try:
            async with asyncio.timeout(patience):
                met = await self._server.news() or await self._server.news() or set()
        except TimeoutError:
            met = await self._server.kill()
            self._count(met)
            return
        await self._server.reap()
        self._count(met)

    async def _at_random(self, *, cold: bool) -> None:
        await self._start(cold=cold)
        # Some die before they are up.
        await asyncio.sleep(self._random.choice((0.05, 0.3, 0.6)) + self._random.expovariate(4))
        await self._server.kill()
        self.kills["at random"] += 1

    async def _in_good_order(self) -> None:
        stops = self.kills["stopped in good order"] + self.kills["stopped by a second SIGTERM"]
        if await self._start(cold=self._random.random() < 0.2, grace_s=GRACES_S[stops // 2 % 2]):
            assert await self._server.news() is None
        await asyncio.sleep(self._random.uniform(0.2, 0.8))
        if stops % 2:
            await self._server.terminate_twice(self._random.choice((0.001, 0.02, 0.1)))
            self.kills["stopped by a second SIGTERM"] += 1
        else:
            await self._server.terminate()
            self.kills["stopped in good order"] += 1

    async def _start(self, *, cold: bool, grace_s: float = GRACES_S[-1]) -> bool:
        """Start a server; False if it is up already."""
        if cold:
            await self._server.start_cold()
            self.kills["after a cold start"] += 1
        else:
            await self._server.fork(grace_s=grace_s)
        return not cold

    def _count(self, met: set[str]) -> None:
        self.hit |= met
        self.kills["at a commit point" if met else "at random"] += 1


async def run_over_kills(folder: Path, scale: Scale, seed: int) -> Report:
    """Run the load while servers die, let it come to its end, and check everything."""
    server = TortureServer(folder)
    await server.fork()
    assert await server.news() is None
    async with OrcsClient(server.address, token=server.token) as client:
        load = Load(client, scale.clients, seed)
        running = asyncio.create_task(load.run())
        await server.kill()
        killing = Killing(server, scale, seed)
        try:
            hunt = asyncio.create_task(killing.until_enough())
            await asyncio.wait((running, hunt), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                hunt.cancel()
                running.result()
            await hunt
            load.stop.set()
            async with asyncio.timeout(120):
                await running
            await load.repeat_everything()
            await load.meet(MEETING)
        finally:
            running.cancel()
            await asyncio.wait((running,))
    await server.terminate()
    await server.close()
    ledger = await check_everything(server.data, server.calls, load.stories, server.deaths)
    return Report(killing.kills, killing.hit, ledger, load.repetitions)
