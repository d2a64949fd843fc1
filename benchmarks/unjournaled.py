"""A server whose runs keep no journal: the baseline for what the journal costs. It is everything else that `orcs` is.

No setting does this, and none should: what such a server has finished before a crash is paid for again.
"""

from __future__ import annotations

from orcs_server.cli.main import main
from orcs_server.executor.executor import Executor


async def no_journal(*_: object) -> None:
    """Take the place of what opens an attempt's journal."""


if __name__ == "__main__":
    setattr(Executor, "_journal", no_journal)  # noqa: B010 - on purpose of another type
    main()
