"""Starting a receiver of OTLP, and reading what it got."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.server_process import ROOT, ServerProcess

PATIENCE_S = 60.0


class Receiver:
    """A receiver of OTLP in a process of its own."""

    def __init__(self, folder: Path, mode: str = "well") -> None:
        self.file = folder / "received.jsonl"
        self.file.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.telemetry.otlp_receiver", mode, str(self.file)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.grpc_port, self.http_port = (int(port) for port in self._process.stdout.readline().split())

    def settings(self, protocol: str = "grpc") -> dict[str, str]:
        """Return the variables by which a server sends here, soon."""
        port = self.grpc_port if protocol == "grpc" else self.http_port
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }

    @property
    def spans(self) -> list[dict[str, Any]]:
        return [record for record in self._records() if "span" in record]

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        return {record["metric"]: record for record in self._records() if "metric" in record}

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait until the receiver got something."""
        ends = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < ends, [record["span"] for record in self.spans]
            time.sleep(0.05)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _records(self) -> list[dict[str, Any]]:
        lines = self.file.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


def lines_of(server: ServerProcess) -> list[dict[str, Any]]:
    """Return the log of a server that writes JSON."""
    return [json.loads(line) for line in server.errors.read_text().splitlines()]
