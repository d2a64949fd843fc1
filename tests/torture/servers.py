"""Servers for the torture: forked from a zygote, or started cold with the command that users start them with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

from orcs_server.identity.tokens import token_file
from tests.torture.calls import CALLS_VARIABLE
from tests.torture.deaths import Death, End, look_at
from tests.torture.load import MEETING

ROOT = Path(__file__).parents[2]
AGENTS = "tests.torture.agents:REGISTRY"
READY = "orcs listening on "
START_LIMIT_S = 60.0
GRACES_S = (0.05, 5.0)
"""Of orderly stops: one that interrupts what runs, and one in which everything comes to its end."""
ENDED_AT_ONCE = 128 + signal.SIGTERM
"""The exit status after a second SIGTERM."""


class TortureServer:
    """One data file and the server on it, which is killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data" / "orcs.db"
        self.calls = folder / "calls.txt"
        self.address = "127.0.0.1:0"
        self.pid = 0
        self.deaths: list[Death] = []
        self._zygote: Process | None = None
        self._cold: Process | None = None

    @property
    def token(self) -> str:
        return token_file(self.data).read_text().strip()

    @property
    def _environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_DATA_HOME": str(self.folder / "share"),
            "ORCS_OFFLINE_PACE": "0",
            "ORCS_DRAIN_GRACE": str(GRACES_S[-1]),
            "ORCS_LOG_LEVEL": "warning",
            "ORCS_LIMITS_SLOTS": str(MEETING),
            "ORCS_RETRY_INITIAL_BACKOFF": "0.05",
            "ORCS_RETRY_MAX_BACKOFF": "0.2",
            CALLS_VARIABLE: str(self.calls),
        }

    async def _launch(self, *arguments: str) -> Process:
        with (self.folder / "stderr.txt").open("ab") as errors:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", *arguments, stdin=PIPE, stdout=PIPE, stderr=errors, env=self._environ, cwd=ROOT
            )

    async def fork(
        self, known: set[str] | None = None, trace: Path | None = None, grace_s: float = GRACES_S[-1]
    ) -> None:
        """Start it from the zygote; it is not up yet. `known`: it kills itself at a commit in a situation that is not in there."""
        if self._zygote is None:
            self._zygote = await self._launch("tests.torture.zygote")
        settings = {"listen": self.address, "data": str(self.data), "agent_registry": AGENTS, "drain_grace": grace_s}
        await self._order(
            start=settings,
            known=None if known is None else sorted(known),
            trace=None if trace is None else str(trace),
        )
        self.pid = json.loads(await self._line())["started"]

    async def start_cold(self) -> None:
        """Start it with the public command, and wait until it is up."""
        data = str(self.data)
        self._cold = await self._launch(
            "orcs_server", "serve", "--listen", self.address, "--data", data, "--agents", AGENTS
        )
        self.pid = self._cold.pid
        assert await self.news() is None

    async def news(self) -> set[str] | None:
        """Wait for what the server says: None when it is up, or the situations of the commit at which it killed itself."""
        async with asyncio.timeout(START_LIMIT_S):
            line = await self._line()
        if line.startswith(READY):
            self.address = line.removeprefix(READY).strip()
            return None
        return set(json.loads(line)["killed_at"])

    async def kill(self) -> set[str]:
        """End it as a crash would; return the situations at which it killed itself first, if it did."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return await self.reap()

    async def terminate(self) -> None:
        """Ask it to end in good order. It must exit with 0."""
        os.kill(self.pid, signal.SIGTERM)
        await self.reap(End.ORDERLY, 0)

    async def terminate_twice(self, pause_s: float) -> None:
        """Ask it to end in good order, and so long after that to end at once, if it has not yet ended."""
        os.kill(self.pid, signal.SIGTERM)
        await asyncio.sleep(pause_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        # Where the event loop has been closed, with everything stored, a signal has its usual effect.
        await self.reap(End.CUT_SHORT, 0, ENDED_AT_ONCE, -signal.SIGTERM)

    async def reap(self, end: End = End.KILLED, *statuses: int) -> set[str]:
        """Wait for its end, with one of these statuses, by default that of SIGKILL, and look at what it left.

        Returns where it killed itself, if it said so and nobody has read it.
        """
        async with asyncio.timeout(START_LIMIT_S):
            status, killed_at = await self._ended()
        assert status in (statuses or (-signal.SIGKILL,)), (status, (self.folder / "stderr.txt").read_text()[-4000:])
        self.deaths.append(await asyncio.to_thread(look_at, self.data, self.calls, end))
        return killed_at

    async def _ended(self) -> tuple[int, set[str]]:
        if self._cold is not None:
            cold, self._cold = self._cold, None
            return await cold.wait(), set()
        killed_at: set[str] = set()
        await self._order(reap=self.pid)
        while True:
            line = await self._line()
            if line.startswith(READY):
                self.address = line.removeprefix(READY).strip()
                continue
            said = json.loads(line)
            killed_at |= set(said.get("killed_at", ()))
            if "ended" in said:
                return said["ended"], killed_at

    async def close(self) -> None:
        """End the zygote, which has no children left."""
        if self._zygote is not None:
            assert self._zygote.stdin is not None
            self._zygote.stdin.close()
            await self._zygote.wait()

    async def _order(self, **order: Any) -> None:
        assert self._zygote is not None
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(f"{json.dumps(order)}\n".encode())
        await self._zygote.stdin.drain()

    async def _line(self) -> str:
        process = self._cold or self._zygote
        assert process is not None
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert line, (self.folder / "stderr.txt").read_text()[-4000:]
        return line.decode()
