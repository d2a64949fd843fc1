"""A scripted server in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys


class ServerProcess:
    """A scripted server in a process of its own, always on the same port."""

    def __init__(self) -> None:
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self, events: int = 5, pace: float = 0.0) -> str:
        command = [sys.executable, "-m", "tests.client.scripted_server", str(self._port), str(events), str(pace)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        address = self._process.stdout.readline().strip()
        self._port = int(address.rpartition(":")[2])
        return address

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None
