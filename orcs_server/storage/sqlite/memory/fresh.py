"""What is read again and again, kept in memory as it is in the file. This process alone writes the file, so it knows what changes.

While a change is on its way to the disk, what it may touch is neither kept nor given from here: nobody reads here what the file no
longer says. A purge leaves nothing here, either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from orcs_server.identity.fairness import Shares

LIMIT: Final = 8 * 1024 * 1024
"""Bytes of all namespaces together. No namespace may hold more of them than is still free."""
LARGEST: Final = 64 * 1024
"""Bytes of one thing."""
OVERHEAD: Final = 1024
"""Bytes that keeping one thing takes beside its value, not less than it does."""

Name = tuple[str, ...]
NOTHING: Final = object()
"""What is known not to be there."""


class Fresh:
    """Keeps things by namespace and name; of each namespace those that were used last."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._room = Shares(limit)
        self._kept: dict[str, dict[Name, tuple[object, int]]] = {}
        self._changing: Counter[tuple[str, Name | None]] = Counter()

    def get(self, namespace: str, name: Name) -> object | None:
        """Return what is kept under a name, or None."""
        kept = self._kept.get(namespace)
        found = None if kept is None else kept.pop(name, None)
        if kept is None or found is None:
            return None
        kept[name] = found  # the last to go
        return found[0]

    def keep(self, namespace: str, name: Name, value: object, size: int) -> None:
        """Keep what was just read, unless it is large, or being changed."""
        size += OVERHEAD
        if size > LARGEST or self._changing[namespace, None] or self._changing[namespace, name]:
            return
        self._forget(namespace, name)
        while not self._room.take(namespace, size):
            kept = self._kept.get(namespace)
            if not kept:
                return
            self._forget(namespace, next(iter(kept)))
        self._kept.setdefault(namespace, {})[name] = value, size

    def change(self, namespace: str, names: Sequence[Name] | None) -> Change:
        """Begin a change of these things, or of all that a namespace has; what `Change.over` ends."""
        return Change(self, namespace, (None,) if names is None else names)

    def begin(self, namespace: str, names: Sequence[Name | None]) -> None:
        """Forget these things, and keep them no more until `end`."""
        for name in names:
            self._changing[namespace, name] += 1
            for kept in (name,) if name is not None else tuple(self._kept.get(namespace, ())):
                self._forget(namespace, kept)

    def end(self, namespace: str, names: Sequence[Name | None]) -> None:
        """Let them be kept again."""
        for name in names:
            self._changing[namespace, name] -= 1
            if not self._changing[namespace, name]:
                del self._changing[namespace, name]

    def _forget(self, namespace: str, name: Name) -> None:
        kept = self._kept.get(namespace)
        found = None if kept is None else kept.pop(name, None)
        if kept is None or found is None:
            return
        self._room.give(namespace, found[1])
        if not kept:
            del self._kept[namespace]


class Change:
    """A change that is under way."""

    def __init__(self, fresh: Fresh, namespace: str, names: Sequence[Name | None]) -> None:
        self._fresh = fresh
        self._namespace = namespace
        self._names = names
        self._over = False
        fresh.begin(namespace, names)

    def over(self) -> None:
        """Say that it is in the file, or will never be. Once is enough."""
        if not self._over:
            self._over = True
            self._fresh.end(self._namespace, self._names)
