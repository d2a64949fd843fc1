"""How far the conversation on one path of a run has come, and the hash of all that its model was shown. No Agents SDK here."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple


class Turn(NamedTuple):
    """One model call's place in the journal, and what the model is shown."""

    path: str
    number: int
    input_hash: str
    shown: list[Any]


class Conversation:
    """How far the conversation on one path has come."""

    __slots__ = ("call_ids", "hash", "shown", "turns")

    def __init__(self) -> None:
        self.turns = 0
        self.hash = hashlib.sha256()
        self.shown: list[Any] = []
        self.call_ids: set[str] = set()

    def show(self, items: list[Any]) -> list[Any]:
        """Take what the model is shown now; return what of it is new."""
        known = len(self.shown)
        if items[:known] != self.shown:
            known = 0
        self.hash = hashlib.sha256(self.hash.hexdigest().encode() if known else b"")
        self.shown = items
        return self.extend(items[known:])

    def extend(self, new: list[Any]) -> list[Any]:
        """Count these items as shown, too."""
        for item in new:
            self.hash.update(_canonical(item))
        return new


def _canonical(item: object) -> bytes:
    return json.dumps(item, sort_keys=True, separators=(",", ":"), default=str).encode() + b"\n"
