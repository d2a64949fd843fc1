"""Search within one namespace's index. What it costs is bounded, however common the words are and however much there is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from orcs_server.storage.memory_rows import Hit, SearchQuery
from orcs_server.storage.sqlite.memory import index
from orcs_server.storage.sqlite.memory.rows import decode, query
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader

RARE = 500
"""Entries that may hold the words by which is ranked, all of them together: every one of them is looked at."""
NEWEST = 500
"""Entries that are looked at where every word is more common than that."""


def search(reader: Reader, namespace: str, wanted: SearchQuery, now_us: int) -> list[Hit]:
    """Return a page of hits, the best first.

    Words that very many entries hold only restrict: in a rank they would hardly weigh anything. Where all words are that common,
    the newest entries that hold them come first.
    """
    row = reader.one(QUERIES["memory_space"], (namespace,))
    if row is None or not row[5] or not wanted.words or (wanted.scopes is not None and not wanted.scopes):
        return []
    passed, hits = 0, []
    for version_id, score in _candidates(reader, row[0], wanted):
        stored = reader.one(query("memory_by_id"), (version_id,))
        if stored is None or not _fits(stored[1], stored[2], wanted):
            continue
        entry = decode(stored)
        if not entry.live(now_us):
            continue
        passed += 1
        if passed > wanted.offset:
            hits.append(Hit(version_id, entry, score))
            if len(hits) == wanted.limit:
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


def _candidates(reader: Reader, number: int, wanted: SearchQuery) -> Iterator[tuple[int, float]]:
    """Give versions that hold the words, with their scores, the best first."""
    words = wanted.words
    ranking = _ranking(reader, number, words)
    if not ranking:
        expression = (index.any_of if wanted.any_word else index.all_of)(words, wanted.scopes)
        newest = reader.page(index.statement("match_memory", number), (expression, NEWEST))
        yield from ((version_id, 0.0) for (version_id,) in newest)
        return
    found = reader.page(index.statement("rank_memory", number), (index.any_of(ranking),))
    ranked: Iterable[tuple[int, float]] = sorted(found, key=lambda one: (one[1], -one[0]))
    if not wanted.any_word and len(words) > 1:
        holding = index.statement("holds_memory", number)
        expression = index.all_of(words)
        # One by one, and only as far as they are asked for: to find them all, the common words' long lists would be gone through.
        ranked = (one for one in ranked if reader.one(holding, (expression, one[0])) is not None)
    yield from ((version_id, -score) for version_id, score in ranked)


def _ranking(reader: Reader, number: int, words: Sequence[str]) -> list[str]:
    """Return the words by which is ranked: the rarest, together in no more than RARE entries."""
    count = index.statement("count_word", number)
    counted = sorted((reader.one(count, (index.any_of([word]), RARE + 1))[0], word) for word in words)
    chosen, held = [], 0
    for often, word in counted:
        held += often
        if held > RARE:
            break
        chosen.append(word)
    return chosen


def _fits(scope: str, key: str, wanted: SearchQuery) -> bool:
    return (wanted.scopes is None or scope in wanted.scopes) and wanted.may(scope, key)
