"""A real server process for the benchmarks, and what the operating system says it used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server, its address and its process."""

    address: str
    process: psutil.Process
    data: Path

    def cpu_s(self) -> float:
        """CPU seconds used so far, all threads."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def peak_mib(self) -> float:
        """Highest resident memory so far."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return self.resident_mib()

    def resident_mib(self) -> float:
        """Resident memory now."""
        return float(self.process.memory_info().rss) / MIB


@contextmanager
def serving(*flags: str, **environment: str) -> Iterator[ServerProcess]:
    """Run `orcs serve` on a free port with a new data file, and end it in good order."""
    with tempfile.TemporaryDirectory(prefix="orcs-bench-", dir=Path.cwd()) as folder:
        home = Path(folder)
        data = home / "orcs.db"
        command = [sys.executable, "-m", "orcs_server", "serve", "--listen", "127.0.0.1:0", "--data", str(data), *flags]
        variables = {"XDG_STATE_HOME": folder, "ORCS_OFFLINE_PACE": "0", "ORCS_LOG_LEVEL": "ERROR", **environment}
        os.environ["XDG_STATE_HOME"] = folder  # where this process's client finds the token
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}) as child:
            try:
                line = child.stdout.readline() if child.stdout else ""
                if not line.startswith("orcs listening on "):
                    raise RuntimeError(f"the server did not start: {line!r}")
                yield ServerProcess(line.split()[-1], psutil.Process(child.pid), data)
            finally:
                child.send_signal(signal.SIGTERM)
                child.wait(timeout=30)
