"""A real server process for the benchmarks, and what the operating system says it used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

import orcs_client

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """A running process that serves, and its address."""

    address: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """CPU seconds used so far, all threads."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class ServerProcess(ChildProcess):
    """A running server and its data file."""

    data: Path
    marks: Mapping[str, float]
    """Seconds from the start of the process to each line that it wrote, by the line's first word; the last is `orcs`."""

    def client(self) -> orcs_client.OrcsClient:
        """Return a new client of this server, be it the only one or not."""
        return orcs_client.OrcsClient(self.address, token_file=self.data.with_name(f"{self.data.name}.token"))

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
def new_folder() -> Iterator[Path]:
    """Yield a folder beside the checkout, on the disk that is measured, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="orcs-bench-", dir=Path.cwd()) as folder:
        yield Path(folder)


@contextmanager
def serving(*flags: str, program: str = "orcs_server", **environment: str) -> Iterator[ServerProcess]:
    """Run `orcs serve` on a free port with a new data file, and end it in good order."""
    with new_folder() as home, serving_in(home, *flags, program=program, environment=environment) as server:
        yield server


@contextmanager
def serving_in(
    home: Path,
    *flags: str,
    program: str = "orcs_server",
    end_by: signal.Signals = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
) -> Iterator[ServerProcess]:
    """Run `orcs serve` with the data file in this folder, and end it, in good order unless told otherwise."""
    data = home / "orcs.db"
    command = [sys.executable, "-m", program, "serve", "--listen", "127.0.0.1:0", "--data", str(data), *flags]
    variables = {
        "XDG_STATE_HOME": str(home),
        "ORCS_OFFLINE_PACE": "0",
        "ORCS_LOG_LEVEL": "ERROR",
        **(environment or {}),
    }
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}) as child:
        try:
            marks: dict[str, float] = {}
            line = ""
            while "orcs" not in marks:
                line = child.stdout.readline() if child.stdout else ""
                if not line:
                    raise RuntimeError("the server did not start")
                marks[line.split()[0]] = time.perf_counter() - began
            yield ServerProcess(line.split()[-1], psutil.Process(child.pid), data, marks)
        finally:
            child.send_signal(end_by)
            child.wait(timeout=60)
