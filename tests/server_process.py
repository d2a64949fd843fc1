"""A real server in a process of its own, for tests that go over the wire or kill it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from orcs_server.identity.tokens import TokenRegistry, token_file

ROOT = Path(__file__).parents[1]
"""Where the server and the registries of tests are imported from."""
START_LIMIT_S = 60.0
READY = "orcs listening on "


class ServerProcess:
    """One data file and the server on it: started, killed, started again on the same port."""

    program = "orcs_server"
    """The module that is run."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "orcs.db"
        self.errors = folder / "stderr.txt"
        self.address = "127.0.0.1:0"
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of the server, in which a client of the same user finds it, too."""
        passed_on = ("PATH", "HOME", "LANG", "SYSTEMROOT", "PYTHONPATH")
        kept = {name: os.environ[name] for name in passed_on if name in os.environ}
        state, share = self.folder / "state", self.folder / "share"
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(state),
            "XDG_DATA_HOME": str(share),
            "ORCS_OFFLINE_PACE": "0",
            "ORCS_DRAIN_GRACE": "1",
            **{_variable(name): value for name, value in self._settings.items()},
        }

    @property
    def token(self) -> str:
        """The server's own token."""
        return token_file(self.data).read_text().strip()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def create_token(self, principal: str, namespace: str, *roles: str) -> str:
        """Add a token; one that is added to a running server holds within a second."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        return TokenRegistry(self.data).create(principal, namespace, roles)

    def start(self) -> Self:
        """Start it, on the port that it had before; return once it receives work."""
        process = self.launch()
        assert process.stdout is not None
        ends = time.monotonic() + START_LIMIT_S
        while not select.select([process.stdout], [], [], 0.1)[0]:
            assert process.poll() is None, self.errors.read_text()
            assert time.monotonic() < ends, "the server did not come up"
        line = process.stdout.readline()
        assert line.startswith(READY), line + self.errors.read_text()
        self.address = line.removeprefix(READY).strip()
        return self

    def launch(self) -> subprocess.Popen[str]:
        """Start it without waiting for anything."""
        command = [sys.executable, "-m", self.program, "serve", "--listen", self.address, "--data", str(self.data)]
        with self.errors.open("a") as errors:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=self.environ, cwd=self.folder
            )
        return self._process

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """Ask it to end in good order; return its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        status = process.wait(START_LIMIT_S)
        if process.stdout is not None:
            process.stdout.close()
        return status


def _variable(name: str) -> str:
    """Return the environment's name of a setting; those of OpenTelemetry are given as they are."""
    return name if name.startswith("OTEL_") else f"ORCS_{name.upper()}"
