"""What watchers are fed from: the newest committed events and the text that running attempts have produced so far.

There is no queue per watcher. A watcher has a place in the log and reads on from there at its own pace, here while it keeps
up and in the store when it does not. Text deltas are not events: they are merged, and lost with the process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e

TAIL_KEPT = 512
"""Newest events of a workflow that stay in memory while it is active or watched."""
DELTA_PAUSE_S = 0.03
"""Deltas are handed on at most this often."""
DELTA_TEXT_LIMIT = 1_048_576
"""Characters of one attempt's text that are kept for late watchers; the rest comes with the output."""
DELTAS_AT_ONCE = 262_144
"""Characters that a watcher is given at a time, so that one that reads slowly holds no more. What follows stays with the text."""
REST_LIMIT = 33_554_432
"""Characters of texts that have ended which are kept for all watchers that are behind; more is given up: the output has it."""

_ATTEMPT_ENDS = (
    e.AttemptSucceeded,
    e.AttemptFailed,
    e.AttemptTimedOut,
    e.AttemptInterrupted,
    e.AttemptLost,
    e.TaskCancelled,
    e.PlanRejected,
    e.PlanAdopted,
)


class DeltaChunk(NamedTuple):
    """Text that an attempt produced, from `offset` (in characters) on."""

    task_id: str
    attempt: int
    offset: int
    text: str


class _Text:
    """The text of one attempt so far."""

    __slots__ = ("_new", "_text", "attempt", "size", "task_id")

    def __init__(self, task_id: str, attempt: int) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.size = 0
        self._text = ""
        self._new: list[str] = []

    def add(self, text: str) -> None:
        room = DELTA_TEXT_LIMIT - self.size
        if room > 0:
            text = text[:room]
            self._new.append(text)
            self.size += len(text)

    def after(self, offset: int, room: int = DELTA_TEXT_LIMIT) -> DeltaChunk:
        if self._new:
            self._text += "".join(self._new)
            self._new.clear()
        return DeltaChunk(self.task_id, self.attempt, offset, self._text[offset : offset + room])


class WorkflowFeed:
    """The newest events and texts of one workflow."""

    def __init__(self) -> None:
        self.active = False
        """Whether an engine is driving the workflow; an inactive feed lives as long as it is watched."""
        self._tail: list[EventRecord] = []
        self._texts: dict[str, _Text] = {}
        self._watches: set[WorkflowWatch] = set()
        self._delta_timer: asyncio.TimerHandle | None = None

    @property
    def unused(self) -> bool:
        return not self.active and not self._watches

    def publish(self, records: Sequence[EventRecord]) -> None:
        """Hand on events that have been committed."""
        tail = self._tail
        if tail and records and records[0].seq != tail[-1].seq + 1:
            tail.clear()  # Something was stored that was never handed on: the store has it.
        tail.extend(records)
        if len(tail) > 2 * TAIL_KEPT:
            del tail[:-TAIL_KEPT]
        if self._texts:
            for record in records:
                if isinstance(record.event, _ATTEMPT_ENDS):
                    self._end_text(getattr(record.event, "task_id", ""))
        for watch in self._watches:
            watch.wake()

    def clear(self) -> None:
        """Let go of everything: nobody will ask for it here."""
        self._tail.clear()
        self._texts.clear()

    def add_text(self, task_id: str, attempt: int, text: str) -> None:
        """Hand on text that a running attempt produced."""
        current = self._texts.get(task_id)
        if current is None or current.attempt < attempt:
            current = self._texts[task_id] = _Text(task_id, attempt)
        if current.attempt == attempt:
            current.add(text)
        if self._delta_timer is None and any(watch.deltas for watch in self._watches):
            self._delta_timer = asyncio.get_running_loop().call_later(DELTA_PAUSE_S, self._wake_for_deltas)

    def after(self, seq: int) -> list[EventRecord] | None:
        """Return the events after `seq`; None when memory does not reach back that far, so that the store must be read."""
        tail = self._tail
        if not tail or tail[0].seq > seq + 1:
            return None
        return tail[max(seq + 1 - tail[0].seq, 0) :]

    def open(self, *, deltas: bool, feeds: Feeds, key: tuple[str, str]) -> WorkflowWatch:
        watch = WorkflowWatch(self, deltas, feeds, key)
        self._watches.add(watch)
        return watch

    def close(self, watch: WorkflowWatch) -> None:
        self._watches.discard(watch)

    def chunks_after(self, offsets: dict[tuple[str, int], int], room: int) -> tuple[list[DeltaChunk], bool]:
        """Return up to `room` characters of text after these offsets, which move on, and whether there is more."""
        found: list[DeltaChunk] = []
        for text in self._texts.values():
            key = (text.task_id, text.attempt)
            offset = offsets.get(key, 0)
            if text.size > offset:
                if room <= 0:
                    return found, True
                chunk = text.after(offset, room)
                found.append(chunk)
                room -= len(chunk.text)
                offsets[key] = offset + len(chunk.text)
                if text.size > offsets[key]:
                    return found, True
        return found, False

    def _end_text(self, task_id: str) -> None:
        text = self._texts.pop(task_id, None)
        if text is None:
            return
        for watch in self._watches:
            if watch.deltas:
                watch.leave_rest(text)

    def _wake_for_deltas(self) -> None:
        self._delta_timer = None
        for watch in self._watches:
            if watch.deltas:
                watch.wake()


class WorkflowWatch:
    """One watcher's view of a feed. Close it when done."""

    def __init__(self, feed: WorkflowFeed, deltas: bool, feeds: Feeds, key: tuple[str, str]) -> None:
        self.deltas = deltas
        self._feed = feed
        self._feeds = feeds
        self._key = key
        self._news = asyncio.Event()
        self._offsets: dict[tuple[str, int], int] = {}
        self._rest: deque[DeltaChunk] = deque()
        """Unread ends of texts that ended; the oldest are given up for a watcher that never reads."""
        self._rest_size = 0
        self.more = False
        """There is text left that did not go into what was taken last."""

    def wake(self) -> None:
        self._news.set()

    def leave_rest(self, text: _Text) -> None:
        """Keep the unread end of a text that is about to go."""
        chunk = text.after(self._offsets.pop((text.task_id, text.attempt), 0))
        if chunk.text and self._feeds.rest + len(chunk.text) <= REST_LIMIT:
            self._rest.append(chunk)
            self._count_rest(len(chunk.text))
        while self._rest_size > DELTA_TEXT_LIMIT:
            self._count_rest(-len(self._rest.popleft().text))

    def after(self, seq: int) -> list[EventRecord] | None:
        """Return the events in memory after `seq`, None when the store must be read."""
        self._news.clear()
        return self._feed.after(seq)

    def take_deltas(self) -> list[DeltaChunk]:
        """Return text produced since the last call; there may be `more`."""
        chunks: list[DeltaChunk] = []
        room = DELTAS_AT_ONCE
        while self._rest and room > 0:
            chunk = self._rest.popleft()
            taken, left = chunk.text[:room], chunk.text[room:]
            if left:
                self._rest.appendleft(chunk._replace(offset=chunk.offset + len(taken), text=left))
            self._count_rest(-len(taken))
            room -= len(taken)
            chunks.append(chunk._replace(text=taken))
        new, more = self._feed.chunks_after(self._offsets, room)
        self.more = more or bool(self._rest)
        return chunks + new

    def _count_rest(self, characters: int) -> None:
        self._rest_size += characters
        self._feeds.rest += characters

    async def wait(self, timeout_s: float) -> bool:
        """Wait for news since the last `after`; False when none came in time."""
        return await _wait(self._news, timeout_s)

    def close(self) -> None:
        self._rest.clear()
        self._count_rest(-self._rest_size)
        self._feed.close(self)
        self._feeds.forget_if_unused(self._key)


class NamespaceWatch:
    """Wakes when anything in a namespace was committed. Close it when done."""

    def __init__(self, feeds: Feeds, namespace: str) -> None:
        self._feeds = feeds
        self._namespace = namespace
        self._news = asyncio.Event()
        self._news.set()

    def wake(self) -> None:
        self._news.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for commits since the last call; False when none came in time. Returns at once the first time."""
        came = await _wait(self._news, timeout_s)
        self._news.clear()
        return came

    def close(self) -> None:
        self._feeds.close_namespace(self._namespace, self)


async def _wait(news: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await news.wait()
    except TimeoutError:
        return False
    return True


class Feeds:
    """All feeds of an engine, each kept while its workflow is active or somebody watches it."""

    def __init__(self) -> None:
        self._workflows: dict[tuple[str, str], WorkflowFeed] = {}
        self._namespaces: dict[str, set[NamespaceWatch]] = {}
        self.rest = 0
        """Characters of texts that have ended which are kept for watchers that are behind."""

    def activate(self, namespace: str, workflow_id: str) -> WorkflowFeed:
        feed = self._feed(namespace, workflow_id)
        feed.active = True
        return feed

    def deactivate(self, namespace: str, workflow_id: str) -> None:
        self._workflows[namespace, workflow_id].active = False
        self.forget_if_unused((namespace, workflow_id))

    def watch(self, namespace: str, workflow_id: str, *, deltas: bool) -> WorkflowWatch:
        feed = self._feed(namespace, workflow_id)
        return feed.open(deltas=deltas, feeds=self, key=(namespace, workflow_id))

    def watch_namespace(self, namespace: str) -> NamespaceWatch:
        watch = NamespaceWatch(self, namespace)
        self._namespaces.setdefault(namespace, set()).add(watch)
        return watch

    def wake_namespace(self, namespace: str) -> None:
        for watch in self._namespaces.get(namespace, ()):
            watch.wake()

    def wake_all(self) -> None:
        """Let every watcher look again (shutdown)."""
        for feed in self._workflows.values():
            feed.publish(())
        for namespace in self._namespaces:
            self.wake_namespace(namespace)

    def close_namespace(self, namespace: str, watch: NamespaceWatch) -> None:
        watches = self._namespaces.get(namespace)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._namespaces[namespace]

    def forget_if_unused(self, key: tuple[str, str]) -> None:
        feed = self._workflows.get(key)
        if feed is not None and feed.unused:
            self._workflows.pop(key).clear()

    def _feed(self, namespace: str, workflow_id: str) -> WorkflowFeed:
        key = (namespace, workflow_id)
        feed = self._workflows.get(key)
        if feed is None:
            feed = self._workflows[key] = WorkflowFeed()
        return feed
