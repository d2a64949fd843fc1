"""The command line as users have it: a process of its own, with or without a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.server_process import ServerProcess

COMMAND = (sys.executable, "-m", "orcs_server")
LIMIT_S = 60.0
PLAN = {
    "tasks": [
        {"id": "left", "title": "Look left", "agent_id": "research_agent", "description": "Look left."},
        {"id": "right", "title": "Look right", "agentId": "research_agent", "description": "Look right."},
        {
            "id": "both",
            "title": "Join",
            "agent_id": "writing_agent",
            "description": "Join.",
            "dependencies": ["left", "right"],
        },
    ]
}


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def environ_for(server: ServerProcess | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a user of this server who has set nothing but its address."""
    kept: Mapping[str, str] = os.environ if server is None else server.environ
    environ = {name: value for name, value in kept.items() if not name.startswith("ORCS_")}
    if server is not None:
        environ["ORCS_SERVER"] = server.address
    return {**environ, **more}


def orcs(*arguments: str, server: ServerProcess | None = None, stdin: str = "", **more: str) -> Ended:
    """Carry out a command without a terminal; `more` goes into its environment."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environ_for(server, **more),
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def orcs_on_terminal(
    *arguments: str,
    server: ServerProcess | None = None,
    rows: int = 24,
    columns: int = 100,
    watch: Callable[[int, str], object] = lambda _pid, _seen: None,
    types: Callable[[str], str] = lambda _seen: "",
    **more: str,
) -> Ended:
    """Carry out a command on a terminal; `watch` is called with its process id and all it has written, whenever it writes,
    and `types` returns what is typed then.
    """
    environ = environ_for(server, **{"TERM": "xterm-256color", **more})
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environ,
        start_new_session=True,
    )
    os.close(follower)
    written = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        written += piece
        seen = written.decode("utf-8", "replace")
        watch(process.pid, seen)
        os.write(leader, types(seen).encode())
    os.close(leader)
    return Ended(process.wait(LIMIT_S), written.decode("utf-8", "replace").replace("\r\n", "\n"))
