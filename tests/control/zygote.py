"""A program that has imported the whole server and forks one whenever it is told to, in a tenth of a second.

Orders come as JSON lines on standard input: `{"start": {settings}, "folder": the folder that it shares with its test}` and
`{"reap": pid}`. It answers with the pid, or with the exit status. What a server prints goes to files in its folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from orcs_server.app import run
from orcs_server.config import Settings
from tests.control import agents
from tests.control.calls import FOLDER_VARIABLE


def serve(order: dict[str, Any]) -> int:
    """Be a server."""
    folder = Path(order["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout.txt"), (2, "stderr.txt")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ |= {
        FOLDER_VARIABLE: str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_DATA_HOME": str(folder / "share"),
    }
    return run(Settings.load(order["start"]))


def main() -> None:
    """Carry out orders until there are no more."""
    assert agents.REGISTRY
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "reap" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["reap"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                os._exit(serve(order))
        print(answer, flush=True)


if __name__ == "__main__":
    main()
