"""Search within one namespace's index. What it costs is bounded, however common the words are."""

from __future__ import annotations

from collections.abc import Sequence

from orcs_server.storage.memory_rows import Hit
from orcs_server.storage.sqlite.memory import index
from orcs_server.storage.sqlite.memory.rows import decode, query
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader

HITS_LIMIT = 1000
"""Entries that a search looks at."""
RARE = 1000
"""Entries that may hold a word by which is ranked: for that, every one of them is looked at."""


def search(
    reader: Reader, namespace: str, words: Sequence[str], scopes: Sequence[str] | None, *, any_word: bool, now_us: int
) -> list[Hit]:
    """Return the best hits. Words that very many entries hold restrict and do not rank: they would hardly weigh anything.

    Where all words are that common, the newest entries that hold them come first.
    """
    row = reader.one(QUERIES["memory_space"], (namespace,))
    if row is None or not row[5] or not words or (scopes is not None and not scopes):
        return []
    number: int = row[0]
    rare = [word for word in words if _count(reader, number, word) <= RARE]
    scores: dict[int, float] = {}
    if rare:
        scores = dict(reader.page(index.statement("rank_memory", number), (index.any_of(rare),)))
    if any_word and rare:
        found = list(scores)
    else:
        expression = index.any_of(words, scopes) if any_word else index.all_of(words, scopes)
        rows = reader.page(index.statement("match_memory", number), (expression, HITS_LIMIT))
        found = [version_id for (version_id,) in rows]
    found.sort(key=lambda version_id: (scores.get(version_id, 0.0), -version_id))
    hits: list[Hit] = []
    for version_id in found:
        stored = reader.one(query("memory_by_id"), (version_id,))
        entry = None if stored is None else decode(stored)
        if entry is not None and entry.live(now_us) and (scopes is None or entry.scope in scopes):
            hits.append(Hit(version_id, entry, -scores.get(version_id, 0.0)))
            if len(hits) == HITS_LIMIT:
                break
    return hits


def snippets(reader: Reader, namespace: str, hits: Sequence[Hit], words: Sequence[str]) -> list[str]:
    """Return the part around the words of each hit's text; nothing where it has gone meanwhile."""
    row = reader.one(QUERIES["memory_space"], (namespace,))
    if row is None or not row[5] or not words:
        return [""] * len(hits)
    statement, expression = index.statement("memory_snippet", row[0]), index.any_of(words)
    found = [reader.one(statement, (expression, hit.id)) for hit in hits]
    return ["" if one is None else one[0] for one in found]


def _count(reader: Reader, number: int, word: str) -> int:
    counted: int = reader.one(index.statement("count_word", number), (index.any_of([word]), RARE + 1))[0]
    return counted
