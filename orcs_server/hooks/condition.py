"""What is known of the operator's hooks by how their last calls ended."""

from __future__ import annotations

import time
from collections import Counter
from typing import Literal, NamedTuple

Kind = Literal["raised", "hung", "nonsense"]


class Failing(NamedTuple):
    """A hook whose last call failed."""

    hook: str
    kind: Kind
    since_us: int
    """When the first call failed since one went well."""
    calls: int
    """How many have failed since then."""


class Condition:
    """Counts failures by hook and kind, and knows which hooks failed the last time they were called."""

    def __init__(self) -> None:
        self.failures: Counter[tuple[str, Kind]] = Counter()
        self._failing: dict[str, Failing] = {}

    @property
    def failing(self) -> tuple[Failing, ...]:
        """The hooks whose last call failed."""
        return tuple(self._failing.values())

    def answered(self, hook: str) -> None:
        """A call went well."""
        if self._failing:
            self._failing.pop(hook, None)

    def failed(self, hook: str, kind: Kind) -> None:
        """A call failed."""
        self.failures[hook, kind] += 1
        known = self._failing.get(hook)
        since_us, calls = (time.time_ns() // 1_000, 0) if known is None else (known.since_us, known.calls)
        self._failing[hook] = Failing(hook, kind, since_us, calls + 1)
