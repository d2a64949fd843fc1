"""Runs an MCP server's program for as long as ORCS lives, whatever becomes of either: `warden.py PARENT BYTES COMMAND…`.

It stands between the program's standard output and ORCS, and lets no message of more than BYTES bytes through. It ends itself
and all of its process group when the program ends, when such a message comes, or when PARENT, its parent's process id, is gone: a
killed ORCS can no longer end anything by itself. Run as a script, in a process group of its own, with nothing but the standard library.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import IO

LOOKS_EVERY_S = 0.5
DRAINS_FOR_S = 1.0
"""What a program has written before it ended is still handed on, but not for longer."""
CHUNK = 65_536


def main(parent: int, limit: int, command: list[str]) -> None:
    """Run the command to its end."""
    try:
        program = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - the operator's own configuration
    except OSError as error:
        _say(f"the program cannot be started: {error.strerror}")
        return
    ended = threading.Event()
    threading.Thread(target=_await, args=(program, ended), daemon=True).start()
    pump = threading.Thread(target=_pump, args=(program.stdout, limit), daemon=True)
    pump.start()
    while not ended.wait(LOOKS_EVERY_S):
        if os.getppid() != parent:
            _end()
    pump.join(DRAINS_FOR_S)
    _end()


def _await(program: subprocess.Popen[bytes], ended: threading.Event) -> None:
    program.wait()
    ended.set()


def _pump(source: IO[bytes], limit: int) -> None:
    length = 0
    while chunk := os.read(source.fileno(), CHUNK):
        last = chunk.rfind(b"\n")
        length = length + len(chunk) if last < 0 else len(chunk) - last - 1
        if length > limit:
            _say(f"a message has more than {limit} bytes: the server is ended")
            _end()
        view = memoryview(chunk)
        while view:
            try:
                view = view[os.write(1, view) :]
            except OSError:
                _end()


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())


def _end() -> None:
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
