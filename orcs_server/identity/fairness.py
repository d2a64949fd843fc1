"""What namespaces share, and how: nobody holds more than is left for the others, and those who wait are served in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Shares:
    """A limit that all namespaces share. None may hold more of it than is still free.

    So one namespace alone gets half of it, two get a third each, and for whoever comes next there is always something left.
    """

    def __init__(self, total: int) -> None:
        self.free = total
        self._held: Counter[str] = Counter()

    def held(self, namespace: str) -> int:
        """Return what the namespace holds."""
        return self._held[namespace]

    def take(self, namespace: str, amount: int = 1) -> bool:
        """Take so much; False, and nothing is taken, where it would be more than the namespace's share."""
        if self._held[namespace] + amount > self.free:
            return False
        self.hold(namespace, amount)
        return True

    def hold(self, namespace: str, amount: int = 1) -> None:
        """Take it whatever the share is: for what exists already."""
        self.free -= amount
        self._held[namespace] += amount

    def give(self, namespace: str, amount: int = 1) -> None:
        """Give back what was taken."""
        self.free += amount
        self._held[namespace] -= amount
        if not self._held[namespace]:
            del self._held[namespace]


class Turns(Generic[T]):
    """Things that wait, by namespace: taken in turn among the namespaces, in their order within each."""

    def __init__(self) -> None:
        self._queues: dict[str, dict[T, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def waits(self, namespace: str) -> bool:
        """Say whether something of the namespace waits."""
        return namespace in self._queues

    def put(self, namespace: str, item: T) -> None:
        """Add something at the end of its namespace's queue."""
        self._queues.setdefault(namespace, {})[item] = None
        self._count += 1

    def drop(self, namespace: str, item: T) -> None:
        """Take something out of the queue, wherever it stands, if it is still there."""
        queue = self._queues.get(namespace, {})
        if item in queue:
            del queue[item]
            self._count -= 1
            if not queue:
                del self._queues[namespace]

    def take(self, may: Callable[[str], bool] = lambda _: True) -> T | None:
        """Return what is next among the namespaces that `may` have a turn, which is asked until one may; None if none may."""
        for namespace in tuple(self._queues) if self._count else ():
            if may(namespace):
                queue = self._queues.pop(namespace)
                item = next(iter(queue))
                del queue[item]
                self._count -= 1
                if queue:
                    self._queues[namespace] = queue
                return item
        return None
