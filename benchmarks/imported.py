"""The command line, which says `imported` once everything that a server imports is there: what comes after is the start itself."""

from __future__ import annotations

import orcs_server.app as imported
from orcs_server.cli.main import main

if __name__ == "__main__":
    assert imported
    print("imported", flush=True)
    main()
