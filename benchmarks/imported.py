"""The command line, which says `imported` once everything that a server imports is there: what comes after is the start itself."""

from __future__ import annotations

import orcs_server.app  # noqa: F401 - imported ahead of time
from orcs_server.cli.main import main

if __name__ == "__main__":
    print("imported", flush=True)
    main()
