"""What of a value can be searched, and what of a query: words, and nothing that a search engine could take for an order."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

INDEXED_LIMIT: Final = 64 * 1024
"""Characters of a value that can be found; what comes after them cannot."""
WORDS_LIMIT: Final = 32
"""Words of a query that count."""


def is_json(media_type: str) -> bool:
    """Say whether a media type is JSON."""
    base = media_type.partition(";")[0].strip().lower()
    return base == "application/json" or base.endswith("+json")


def is_text(media_type: str) -> bool:
    """Say whether a media type is text."""
    return media_type.strip().lower().startswith("text/")


def indexed_text(media_type: str, data: bytes) -> str | None:
    """Return what of a value can be searched; None for what is neither text nor JSON."""
    if is_json(media_type):
        try:
            return " ".join(_pieces(json.loads(data)))[:INDEXED_LIMIT]
        except (ValueError, RecursionError):
            return None
    if is_text(media_type):
        return data.decode("utf-8", "replace")[:INDEXED_LIMIT]
    return None


def words_of(query: str) -> list[str]:
    """Return the different words of a query: letters and digits with their marks."""
    bare = "".join(
        one if one.isalnum() or unicodedata.category(one)[0] == "M" else " " for one in query[:INDEXED_LIMIT]
    )
    return list(dict.fromkeys(word for word in bare.lower().split() if any(map(str.isalnum, word))))[:WORDS_LIMIT]


def _pieces(value: Any) -> Iterator[str]:
    """Give the texts and numbers of a JSON value, names included, in their order."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for name, inner in reversed(item.items()):
                waiting += (inner, name)
        elif isinstance(item, list):
            waiting += reversed(item)
        elif item is not None:
            yield str(item)
