"""`python -m orcs_server` is the command line."""

from __future__ import annotations

from orcs_server.cli.main import main

if __name__ == "__main__":
    main()
