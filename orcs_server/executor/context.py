"""What memory holds for an attempt: before its first turn what is pinned and what a search finds, within a budget; at later turns what
others have written since. What is left out is said. The journal keeps what was shown, so that later attempts are shown the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from orcs_server.agents.memory_texts import attribute, bounded, frame, text_of
from orcs_server.agents.reading import MemoryNote
from orcs_server.agents.task_input import memory_note
from orcs_server.errors import PermissionUnknown, Unavailable
from orcs_server.memory import AgentContext, Memory, Permission, ReadSet, workflow_scope
from orcs_server.memory.access import View
from orcs_server.memory.history import At
from orcs_server.memory.memory import QUERY_LIMIT, Found
from orcs_server.storage.memory_rows import MemoryValue, MemoryVersion, Place, Trust
from orcs_server.storage.memory_text import words_of

PINNED = "pinned/"
"""What the keys begin with that every attempt is shown that may read them."""
SHARED = "shared/"
"""What the keys of a workflow's scope begin with that its running tasks are shown at their next turn."""
OWN = ("task:", "workflow:")
"""What the scopes begin with, of those where a task looks for keys, that are its workflow's alone."""
CHARACTERS_A_TOKEN = 4
PINNED_LIMIT = 50
"""Pinned entries of a scope."""
HITS_LIMIT = 10
CANDIDATES = 2 * HITS_LIMIT
"""Hits among which those come first that both fit well and are read often."""
RANK_OFFSET = 60
"""Of reciprocal rank fusion: so large that neither order alone decides."""
SNIPPET_LIMIT = 1_000
SHARED_LIMIT = 100
CHANGE_SHOWN = 2_000
"""Characters of an entry that has changed."""
CHANGES_SHOWN = 8_000
"""Of all of them, in one turn."""
NAMED_LIMIT = 10
NAME_SHOWN = 80
RECORDS = ("agent_run:", "task_result:")
"""Keys under which runs leave what came of them: predecessors' outputs are shown anyway."""


class MemoryFeed:
    """What one attempt is shown of memory. `words` are what its task is about."""

    def __init__(
        self, agent: AgentContext, words: str, budget_tokens: int, *, outside: bool = True, talks: bool = False
    ) -> None:
        """Without `outside`, nothing is shown that comes from outside; with `talks`, what others write while it runs is."""
        self._agent = agent
        self._words = words[:QUERY_LIMIT]
        self._room = budget_tokens * CHARACTERS_A_TOKEN
        self._outside = outside
        self._talks = talks
        self._told: dict[tuple[str, str], int] = {}
        """Versions that the agent knows of, beside those in its read set."""
        self._position: int | None = None
        """The end of the log at the last look."""

    async def begin(self) -> MemoryNote | None:
        """Return what is pinned, and what a search for the task's words finds. Raises Unavailable."""
        if not self._room:
            return None
        memory, namespace = await self._agent.place()
        if not (await memory.history.moment(namespace, At())).position:
            return None
        try:
            return await self._first(memory, namespace)
        except PermissionUnknown as error:
            raise Unavailable("HOOK_FAILED", error.message) from error

    async def _first(self, memory: Memory, namespace: str) -> MemoryNote | None:
        choice = _Choice(self._room, outside=self._outside)
        view = await memory.access.view(namespace, self._agent.actor)
        await self._pin(memory, namespace, view, choice)
        await self._search(memory, namespace, choice)
        if not choice.frames and not choice.left_out:
            return None
        head = "What memory holds that may concern this. Build on it where it helps."
        return MemoryNote(memory_note("\n\n".join([head, *choice.frames, *choice.left_out])), choice.reads)

    async def changes(self) -> MemoryNote | None:
        """Return what others have shared since, and how entries have changed that the run has read. Raises Unavailable."""
        if not self._talks:
            return None
        memory, namespace = await self._agent.place()
        position = (await memory.history.moment(namespace, At())).position
        if position == (self._position or 0):
            return None
        try:
            note = await self._since(memory, namespace)
        except PermissionUnknown as error:
            raise Unavailable("HOOK_FAILED", error.message) from error
        self._position = position
        return note

    async def _since(self, memory: Memory, namespace: str) -> MemoryNote | None:
        view = await memory.access.view(namespace, self._agent.actor)
        known = self._known()
        changed = [*await self._shared(memory, namespace, view, known)]
        gone: list[tuple[str, str]] = []
        for place, version in known.items():
            if place[0] == self._workflow and place[1].startswith(SHARED):
                continue
            found = await self._current(memory, namespace, view, place)
            if found is None:
                gone.append(place)
            elif found.entry.version > version:
                changed.append(found)
        return self._note(changed, [place for place in gone if self._is_news(place)])

    async def _pin(self, memory: Memory, namespace: str, view: View, choice: _Choice) -> None:
        seen: set[str] = set()
        for scope in await memory.visible(self._agent.actor.scopes):
            if not view.may_some(Permission.READ, scope, PINNED):
                continue
            page = await memory.page(namespace, self._agent.actor, scope, PINNED, limit=PINNED_LIMIT)
            for entry in page.entries:
                # The narrowest scope counts, as it does where a key is looked for.
                if entry.key in seen:
                    continue
                # Beyond the workflow's own scopes, whoever has read a page must not get before every agent by pinning it, nor
                # hide what is pinned in a wider one.
                if entry.trust <= Trust.EXTERNAL and not scope.startswith(OWN):
                    choice.refused += 1
                    continue
                seen.add(entry.key)
                if not choice.wants(entry, entry.size):
                    continue
                found = await memory.get(namespace, self._agent.actor, entry.key, scope)
                if found is not None:
                    choice.add(found.entry, text_of(found))
            if page.after is not None:
                choice.left_out.append(
                    f"[… more than {PINNED_LIMIT} entries are pinned in {scope}: the rest is left out]"
                )
        choice.close("pinned entries")

    async def _search(self, memory: Memory, namespace: str, choice: _Choice) -> None:
        if not words_of(self._words):
            return
        hits = await memory.search(namespace, self._agent.actor, self._words, any_word=True, limit=CANDIDATES)
        offered: list[Found] = []
        for hit in hits:
            key = hit.entry.key
            if key.startswith((PINNED, *RECORDS)) or (hit.entry.scope == self._workflow and key.startswith(SHARED)):
                continue
            # Nobody has asked for it: an entry from outside must not get before every agent by holding the right words.
            if hit.entry.trust <= Trust.EXTERNAL:
                choice.refused += 1
            else:
                offered.append(hit)
        for hit in (await _by_use(memory, namespace, offered))[:HITS_LIMIT]:
            snippet = bounded(hit.snippet, SNIPPET_LIMIT)
            if choice.wants(hit.entry, len(snippet)):
                choice.add(hit.entry, snippet)
        choice.close("entries that a search found")

    async def _shared(
        self, memory: Memory, namespace: str, view: View, known: dict[tuple[str, str], int]
    ) -> list[MemoryValue]:
        if not view.may_some(Permission.READ, self._workflow, SHARED) or not await memory.visible((self._workflow,)):
            return []
        page = await memory.page(namespace, self._agent.actor, self._workflow, SHARED, limit=SHARED_LIMIT)
        found: list[MemoryValue] = []
        for entry in page.entries:
            if entry.version <= known.get((entry.scope, entry.key), 0):
                continue
            value = await memory.get(namespace, self._agent.actor, entry.key, entry.scope)
            if value is not None:
                found.append(value)
        return found

    async def _current(self, memory: Memory, namespace: str, view: View, place: tuple[str, str]) -> MemoryValue | None:
        scope, key = place
        if not view.may(Permission.READ, scope, key) or not await memory.visible((scope,)):
            return None
        return await memory.get(namespace, self._agent.actor, key, scope)

    def _note(self, changed: Sequence[MemoryValue], gone: Sequence[tuple[str, str]]) -> MemoryNote | None:
        reads = ReadSet()
        frames: list[str] = []
        named: list[str] = []
        room = CHANGES_SHOWN
        for found in sorted(changed, key=lambda one: one.entry.position):
            entry = found.entry
            self._told[entry.scope, entry.key] = entry.version
            if self._is_own(entry):
                continue
            text = bounded(text_of(found), CHANGE_SHOWN)
            if len(text) > room:
                reads.glimpse(entry)
                named.append(f"{attribute(entry.key)} in {entry.scope}")
                continue
            room -= len(text)
            reads.entry(entry)
            frames.append(frame(entry, text))
        if named:
            frames.append(f"[… changed, too, and not shown for want of room: {_names(named)}]")
        if gone:
            names = [f"{attribute(key)} in {scope}" for scope, key in gone]
            frames.append(f"[Not there any more: {_names(names)}]")
        if not frames:
            return None
        head = "What others have written since you last looked:"
        return MemoryNote(memory_note("\n\n".join([head, *frames])), reads)

    def _known(self) -> dict[tuple[str, str], int]:
        known = self._agent.reads.versions
        for place, version in self._told.items():
            known[place] = max(known.get(place, 0), version)
        return known

    def _is_news(self, place: tuple[str, str]) -> bool:
        news = self._told.get(place) != _GONE
        self._told[place] = _GONE
        return news

    def _is_own(self, entry: MemoryVersion) -> bool:
        actor, writer = self._agent.actor, entry.writer
        return (writer.workflow_id, writer.task_id) == (actor.workflow_id, actor.task_id)

    @property
    def _workflow(self) -> str:
        return workflow_scope(self._agent.workflow_id)


async def _by_use(memory: Memory, namespace: str, hits: Sequence[Found]) -> list[Found]:
    """Return the hits by how well they fit and how often their keys are read, each order counting the same.

    By places and not by numbers, so that no key gets far ahead by being read a thousand times. Where nothing was read, and among
    equals, the better fit comes first.
    """
    counts = await memory.reads.counts(namespace, [Place(hit.entry.scope, hit.entry.key) for hit in hits])
    ordered = sorted(counts, reverse=True)
    ranked: list[tuple[float, int, Found]] = []
    for fit, (hit, count) in enumerate(zip(hits, counts, strict=True)):
        # Keys that were read equally often share the middle of their places.
        use = ordered.index(count) + (ordered.count(count) - 1) / 2
        ranked.append((1 / (RANK_OFFSET + fit) + 1 / (RANK_OFFSET + use), -fit, hit))
    return [hit for *_, hit in sorted(ranked, key=lambda one: one[:2], reverse=True)]


_GONE = -1
"""In place of a version: the agent knows that the key is not there."""


class _Choice:
    """What is shown within a budget, and what is not."""

    def __init__(self, room: int, *, outside: bool) -> None:
        self.reads = ReadSet()
        self.frames: list[str] = []
        self.left_out: list[str] = []
        self.refused = 0
        """Entries from outside that are not shown."""
        self._room = room
        self._outside = outside
        self._unfit: list[str] = []

    def wants(self, entry: MemoryVersion, size: int) -> bool:
        """Whether an entry of this size is shown; if not, that is said."""
        if entry.trust <= Trust.EXTERNAL and not self._outside:
            self.refused += 1
        elif size > self._room * CHARACTERS_A_TOKEN:
            # Its bytes are too many, however many of them make a character.
            self._cannot_fit(entry)
        else:
            return True
        return False

    def add(self, entry: MemoryVersion, text: str) -> None:
        """Show an entry, if there is room for it."""
        framed = frame(entry, text)
        if len(framed) > self._room:
            self._cannot_fit(entry)
            return
        self._room -= len(framed)
        self.reads.entry(entry)
        self.frames.append(framed)

    def _cannot_fit(self, entry: MemoryVersion) -> None:
        self.reads.glimpse(entry)  # Its key will be named, and that, too, is text that its writer chose.
        self._unfit.append(entry.key)

    def close(self, what: str) -> None:
        """Say what was left out of these."""
        if self._unfit:
            self.left_out.append(f"[… {len(self._unfit)} {what} left out for want of room: {_names(self._unfit)}]")
        if self.refused:
            self.left_out.append(f"[… {self.refused} {what} left out, since they come from outside]")
        self._unfit, self.refused = [], 0


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(attribute(name)[:NAME_SHOWN] for name in names[:NAMED_LIMIT])
    return shown if len(names) <= NAMED_LIMIT else f"{shown} and {len(names) - NAMED_LIMIT} more"
