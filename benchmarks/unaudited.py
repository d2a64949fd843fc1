"""A server that records nothing of what it changes: the baseline for what the audit log costs. It is everything else that `orcs` is.

No setting does this, and none should: a change would lack its record.
"""

from __future__ import annotations

from orcs_server.cli.main import main
from orcs_server.service.auditing import Auditing


def nothing(*_: object, **__: object) -> None:
    """Take the place of what says what is recorded of a change."""


if __name__ == "__main__":
    setattr(Auditing, "draft", nothing)  # noqa: B010 - on purpose of another type
    main()
