"""What a run needs of people, and what they have given: how a tool comes to ask, and how it finds the answer when the next attempt
calls it again. No Agents SDK here.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from orcs_server.storage.journal import JournalKey
from orcs_server.storage.store import Blob
from orcs_server.workflow.model import Digest
from orcs_server.workflow.people import InputKind, Need, PendingInput, Resolution

PLACE_LIMIT = 512
"""Characters of a place in an event."""


class InputRequired(BaseException):
    """A tool cannot go on without a person. The attempt ends once all that runs beside it has; the next one calls the tool again.

    Not an Exception, like a cancellation: the SDK would turn it into text for the model.
    """

    def __init__(self, need: Need, blobs: Sequence[Blob] = ()) -> None:
        super().__init__(need.prompt)
        self.need = need
        """Its place is filled in by whoever catches this."""
        self.blobs = tuple(blobs)
        """The texts that the need refers to."""


class Needs:
    """One per attempt: what was asked up to now, and what is asked now."""

    def __init__(self, key: JournalKey, attempt: int, inputs: Sequence[PendingInput]) -> None:
        self._key = key
        self._attempt = attempt
        # The planner's conversations are not told apart by the input, so its places are.
        self._run = key.run if key.task_id else 0
        self._prefix = "" if key.task_id else f"{key.run}:"
        self._known: dict[str, list[PendingInput]] = defaultdict(list)
        for one in sorted(inputs, key=lambda one: one.ordinal):
            if (one.task_id, one.run) == (key.task_id, self._run):
                self._known[one.need.place].append(one)
        self._asked: dict[tuple[str, InputKind], Need] = {}
        self._blobs: dict[Digest, Blob] = {}

    @property
    def ids(self) -> tuple[str, str]:
        """The ids of the workflow and the task that this is about."""
        return self._key.workflow_id, self._key.task_id

    @property
    def asked(self) -> tuple[Need, ...]:
        """What people are asked for now, in the order in which it was."""
        return tuple(self._asked.values())

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """The texts that this refers to."""
        return tuple(self._blobs.values())

    def ask(self, path: str, asked: InputRequired) -> None:
        """Take note of what is needed by the tool call whose path this is."""
        need = replace(asked.need, place=self._place(path))
        self._asked[need.place, need.kind] = need
        self._blobs.update((blob.digest, blob) for blob in asked.blobs)

    def resolution(self, path: str, kind: InputKind, shown: Digest | None = None) -> PendingInput | None:
        """Return the latest resolution of what the tool call asked for; None if it is to be asked.

        Leave to run a tool again counts once, for the attempt after the one that asked: this one may have been cut off in it, too.
        """
        for one in reversed(self._known.get(self._place(path), ())):
            if one.need.kind is kind and one.need.shown == shown:
                withdrawn = one.resolution in (None, Resolution.WITHDRAWN)
                leave = kind is InputKind.UNSAFE_RERUN and one.resolution is Resolution.APPROVED
                return None if withdrawn or (leave and one.attempt + 1 != self._attempt) else one
        return None

    def was_asked(self, path: str, kind: InputKind) -> bool:
        """Whether an earlier attempt has asked such a thing for the tool call with this path, whatever has become of it."""
        return any(one.need.kind is kind for one in self._known.get(self._place(path), ()))

    def tells(self, one: PendingInput, paths: Iterable[str]) -> bool:
        """Whether one of the tool calls with these paths asked this in this conversation, and so returns its answer."""
        mine = (one.task_id, one.run) == (self._key.task_id, self._run)
        return mine and any(self._place(path) == one.need.place for path in paths)

    def _place(self, path: str) -> str:
        place = f"{self._prefix}{path}"
        if len(place) <= PLACE_LIMIT:
            return place
        return f"{place[: PLACE_LIMIT - 64]}{hashlib.sha256(place.encode('utf-8', 'replace')).hexdigest()}"
