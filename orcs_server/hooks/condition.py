"""What is known of the operator's hooks by how their last calls ended."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final, Literal, NamedTuple

Kind = Literal["raised", "hung", "nonsense"]


class Failing(NamedTuple):
    """A hook whose last call failed."""

    hook: str
    kind: Kind
    since_us: int
    """When the first call failed since one went well."""
    calls: int
    """How many have failed since then."""


KEPT: Final = 1_000
"""Hooks of tenants that are known to fail; beyond, what has failed longest is forgotten."""


class Condition:
    """Counts failures by hook and kind, and knows which hooks of which tenants failed the last time they were called."""

    def __init__(self) -> None:
        self.failures: Counter[tuple[str, Kind]] = Counter()
        self._failing: dict[tuple[str, str], Failing] = {}

    @property
    def failing(self) -> tuple[Failing, ...]:
        """All hooks whose last call failed, once for each tenant."""
        return tuple(self._failing.values())

    def failing_for(self, namespace: str) -> tuple[Failing, ...]:
        """Return the hooks whose last call for this namespace failed; nobody learns of anybody else's."""
        within = f"{namespace}/"  # a caller, before the isolation hook has said where it works
        return tuple(
            one for (_, tenant), one in self._failing.items() if tenant == namespace or tenant.startswith(within)
        )

    def answered(self, hook: str, tenant: str) -> None:
        """A call went well."""
        if self._failing:
            self._failing.pop((hook, tenant), None)

    def failed(self, hook: str, kind: Kind, tenant: str) -> None:
        """A call failed."""
        self.failures[hook, kind] += 1
        known = self._failing.get((hook, tenant))
        since_us, calls = (time.time_ns() // 1_000, 0) if known is None else (known.since_us, known.calls)
        self._failing[hook, tenant] = Failing(hook, kind, since_us, calls + 1)
        if len(self._failing) > KEPT:
            del self._failing[next(iter(self._failing))]
