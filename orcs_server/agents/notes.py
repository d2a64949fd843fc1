"""What is said to a running agent in its conversation: messages of people, answers that are meant for the whole workflow, and what
memory holds for it. They are put between the items that the Agents SDK shows to the model, and stay where they were first shown: that
place is journaled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from orcs_server.agents.paths import ROOT
from orcs_server.agents.reading import PREFIX, MemoryNote, Reading, digest_in, pack_note, unpack_note
from orcs_server.agents.steering import Steering
from orcs_server.agents.task_input import answer_note, message_note
from orcs_server.storage.journal import MessageRead
from orcs_server.storage.store import Blob
from orcs_server.workflow.model import Digest
from orcs_server.workflow.people import InputKind, PendingInput, Resolution

ANSWERS_LIMIT = 100
"""Answers that one conversation is shown; of more, the latest."""
Read = Callable[[Digest], Awaitable[str]]
"""Returns a stored text. It is not kept here: it is the journal's, which holds the notes, and whose memory no cycle must hold back."""
_GIVEN = frozenset({Resolution.ANSWERED, Resolution.DEFAULTED})


class Notes:
    """The notes of one run: those that earlier attempts showed, at their places, and those that nobody has shown yet."""

    def __init__(
        self,
        steering: Steering,
        rows: Iterable[MessageRead],
        answers: Iterable[PendingInput] = (),
        reading: Reading | None = None,
    ) -> None:
        """Go on from these rows. `answers` are those that concern the run; `reading` is told what notes from memory were read."""
        self._steering = steering
        self._reading = reading or Reading()
        self._later = deque(sorted(rows, key=lambda row: (row.turn, row.position)))
        self._shown: list[MessageRead] = []
        self._unstored: list[MessageRead] = []
        self._answers = {one.id: one for one in answers}
        self._items: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, Blob] = {}
        """Of notes from memory that are not stored yet, by their names."""

    @property
    def unread(self) -> bool:
        """Whether there is a message that the agent has not been shown."""
        return self._steering.read < len(self._steering.mail)

    @property
    def has_memory(self) -> bool:
        """Whether anything from memory has been shown."""
        return any(row.message_id.startswith(PREFIX) for row in self._shown)

    async def place(self, turn: int, items: list[Any], read: Read) -> list[Any]:
        """Return what the model is shown at this turn: the SDK's items, and the notes of this turn and those before it."""
        while self._later and self._later[0].turn <= turn:
            self._shown.append(self._later.popleft())
        self._count()
        if not self._shown:
            return items
        whole = list(items)
        for row in self._shown:
            whole.insert(row.position, await self._item(row.message_id, read))
        return whole

    async def show(
        self,
        turn: int,
        position: int,
        told: Callable[[PendingInput], bool],
        read: Read,
        memory: Sequence[MemoryNote] = (),
    ) -> list[Any]:
        """Return what nobody has shown yet, to be put before the model at this turn, from this position on.

        Answers of which `told` says so are not among them: the agent gets those from its tool.
        """
        seen = {row.message_id for row in self._shown}
        answers = [one.id for one in self._answers.values() if one.id not in seen and not told(one)]
        remembered = [self._keep(turn, note) for note in memory]
        new = [*remembered, *answers[-ANSWERS_LIMIT:], *(one.id for one in self._steering.mail if one.id not in seen)]
        rows = [MessageRead(ROOT, turn, position + index, name) for index, name in enumerate(new)]
        self._shown += rows
        self._unstored += rows
        self._count()
        self._steering.caught_up()
        return [await self._item(row.message_id, read) for row in rows]

    def leave(self, turn: int) -> None:
        """The course of the journal is left at this turn: what it showed later on is to be shown anew."""
        self._later.clear()
        self._unstored = [row for row in self._shown if row.turn >= turn]

    def unstored(self, turn: int) -> tuple[list[MessageRead], list[Blob]]:
        """Return what was first shown at this turn, to be stored with its response, and the texts of it that are not stored yet."""
        rows = [row for row in self._unstored if row.turn == turn]
        self._unstored = [row for row in self._unstored if row.turn != turn]
        texts = [self._texts.pop(row.message_id) for row in rows if row.message_id in self._texts]
        return rows, texts

    def _keep(self, turn: int, note: MemoryNote) -> str:
        """Keep a note from memory and return its name."""
        name, blob = pack_note(turn, note)
        self._texts[name] = blob
        self._items[name] = {"role": "user", "content": note.text}
        self._reading.reads.merge(note.reads)
        return name

    def _count(self) -> None:
        seen = {row.message_id for row in self._shown}
        self._steering.read = sum(one.id in seen for one in self._steering.mail)

    async def _item(self, name: str, read: Read) -> dict[str, Any]:
        item = self._items.get(name)
        if item is None:
            item = self._items[name] = {"role": "user", "content": await self._text(name, read)}
        return item

    async def _text(self, name: str, read: Read) -> str:
        if name.startswith(PREFIX):
            text, reads = unpack_note(await read(Digest(digest_in(name))))
            self._reading.replay(reads)
            return text
        asked = self._answers.get(name)
        if asked is not None and asked.answer is not None:
            return answer_note(asked.need.prompt, await read(asked.answer))
        message = next((one for one in self._steering.mail if one.id == name), None)
        return message_note("" if message is None else await read(message.text))


def answers_for(task_id: str, inputs: Iterable[PendingInput]) -> list[PendingInput]:
    """Return the answers that concern a task's agent, or without a task the planner: shared ones, and those to its own questions."""
    return [
        one
        for one in sorted(inputs, key=lambda one: one.ordinal)
        if one.need.kind is InputKind.QUESTION
        and one.resolution in _GIVEN
        and one.answer is not None
        and (one.shared or one.task_id == task_id)
    ]
