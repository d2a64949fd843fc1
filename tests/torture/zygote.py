"""A program that has imported the whole server and forks one whenever it is told to, in a tenth of a second.

It makes no gRPC object itself, since those do not survive a fork. Orders come as JSON lines on standard input:
`{"start": {settings}, "known": [situations] or null, "trace": file or null}` and `{"reap": pid}`. On standard output it says
`{"started": pid}` and `{"ended": status}`; its children say the rest: `orcs listening on …` and `{"killed_at": …}`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from orcs_server.app import run
from orcs_server.config import Settings
from orcs_server.storage.sqlite import migrate
from tests.torture import agents
from tests.torture.faults import KillOnNew
from tests.torture.recording import Recorder

CHECKPOINT_PAGES = 150
"""Of a recorded server, so that cuts fall into checkpoints, too. A server of its own makes one every 4,000 pages."""


def serve(order: dict[str, Any]) -> int:
    """Be a server."""
    settings = Settings.load(order["start"])
    if order["known"] is not None:
        KillOnNew(set(order["known"])).install()
    if order["trace"] is not None:
        setattr(migrate, "PRAGMAS", (*migrate.PRAGMAS, f"wal_autocheckpoint = {CHECKPOINT_PAGES}"))  # noqa: B010 - longer than declared
        Recorder(Path(order["trace"]), settings.data.parent).install()
    return run(settings)


def main() -> None:
    """Carry out orders until there are no more."""
    assert agents.REGISTRY
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "reap" in order:
            status = os.waitstatus_to_exitcode(os.waitpid(order["reap"], 0)[1])
            print(json.dumps({"ended": status}), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os._exit(serve(order))
        print(json.dumps({"started": pid}), flush=True)


if __name__ == "__main__":
    main()
