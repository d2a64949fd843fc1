"""What a restart found: the workflows that it took up, and those that this server cannot continue, told in one report."""

from __future__ import annotations

import logging
from typing import NamedTuple

_log = logging.getLogger("orcs.engine")

MOST_NAMED = 100
"""Workflows that the report names; the others are counted."""


class Stranded(NamedTuple):
    """A live workflow that this server cannot continue, and why."""

    namespace: str
    workflow_id: str
    reason: str


class Takeover:
    """Gathers what a restart finds."""

    def __init__(self) -> None:
        self.count = 0
        """Live workflows."""
        self.stranded: list[Stranded] = []

    def note(self, namespace: str, workflow_id: str, *reasons: str) -> None:
        """Count a live workflow; with reasons it is one that cannot be continued."""
        self.count += 1
        if reasons:
            self.stranded.append(Stranded(namespace, workflow_id, "; ".join(reasons)))

    def report(self) -> None:
        """Log one summary."""
        if not self.stranded:
            if self.count:
                _log.info("%d unfinished workflows go on", self.count)
            return
        lines = [f"{each.workflow_id} of {each.namespace}: {each.reason}" for each in self.stranded[:MOST_NAMED]]
        if len(self.stranded) > MOST_NAMED:
            lines.append(f"and {len(self.stranded) - MOST_NAMED} more, which `orcs doctor` names")
        _log.error(
            "%d of %d unfinished workflows cannot be continued by this server:\n  %s",
            len(self.stranded),
            self.count,
            "\n  ".join(lines),
        )
