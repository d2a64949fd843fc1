"""Reading the shape of a request: which things are to be looked into side by side, and what kind of work its words ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass

READ_LIMIT = 8_000
"""Characters of a request that are looked at."""
MAX_ITEMS = 100
_ITEM_WORDS = 12
_ITEM_LENGTH = 90

_BULLET = re.compile(r"^\s*(?:[-*•–—]|\d{1,3}[.)])\s+(\S.*)$")
_QUESTION = re.compile(r"[^.?!\n]{3,300}\?")
_VERSUS = re.compile(r"\s+(?:vs\.?|versus)\s+", re.IGNORECASE)
_OPENING = re.compile(
    r"\b(?:compare|contrast|evaluate|weigh(?: up)?|benchmark|(?:choose|decide|differences?) between|look (?:into|at)|research"
    r"|investigate|analy[sz]e|examine|explore|assess|summari[sz]e|review|study|describe|explain|cover|list|report on|write about"
    r"|pros and cons of|(?:should|shall|can) (?:we|i|one) (?:use|choose|pick|take|buy)|choose|pick)\b:?\s+(?:the (?:differences? between|pros and cons of)\s+)?",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(
    r"[.;:!?\n]|,?\s+(?:and|then|and then|to)\s+(?:write|summari[sz]e|recommend|produce|draft|create|make|give|tell|report|suggest"
    r"|conclude|say|decide|compile|put|present|prepare|choose|pick|find|show|explain|compute|calculate|implement|build)\b",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"\s*,\s*(?:and\s+|or\s+|&\s*)?|\s+(?:and|or|&|vs\.?|versus|against|with)\s+", re.IGNORECASE)
_SCOPE = re.compile(
    r"\s+(?=(?:for|as|in|on|by|at|with|from|when|under|regarding|concerning|considering|according|based|using|to)\s)",
    re.IGNORECASE,
)
_SHARED_HEAD = re.compile(r"[a-z][a-z-]* of ")
_LEAD = re.compile(r"^(?:the|a|an|both|either|between|of)\s+", re.IGNORECASE)
_DATA = re.compile(
    r"\b(?:data|dataset|numbers?|figures|statistics?|csv|tables?|spreadsheet|calculate|compute|metrics?|measure\w*|budget|prices?"
    r"|costs?|percent\w*|trends?|forecast\w*|benchmarks?)\b",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"\b(?:code|script|program|function|implement\w*|regex|algorithm|prototype|unit tests?|refactor|debug|snippet)\b",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a request looks like. `items` has no entry or at least two."""

    text: str
    items: tuple[str, ...]
    scope: str
    """What holds for all items, such as "for a small team"; may be empty."""
    wants_data: bool
    wants_code: bool


def read_shape(query: str) -> Shape:
    """Return the shape of a request. Any text will do; only its first 8,000 characters are looked at."""
    text = _CONTROL.sub(" ", query[:READ_LIMIT]).strip()
    items, scope = _bullets(text) or _questions(text) or _listed(text) or ((), "")
    return Shape(text, items[:MAX_ITEMS], scope, bool(_DATA.search(text)), bool(_CODE.search(text)))


def _bullets(text: str) -> tuple[tuple[str, ...], str] | None:
    lines = text.splitlines()
    found = [match[1] for line in lines if (match := _BULLET.match(line))]
    items = _distinct(found)
    return (items, "") if len(items) > 1 else None


def _questions(text: str) -> tuple[tuple[str, ...], str] | None:
    items = _distinct(_QUESTION.findall(text))
    return (items, "") if len(items) > 1 else None


def _listed(text: str) -> tuple[tuple[str, ...], str] | None:
    for opening in _OPENING.finditer(text):
        found = _split(text[opening.end() : opening.end() + 1_000])
        if found is not None:
            return found
    if (versus := _VERSUS.search(text)) is not None:
        start = max(text.rfind(mark, 0, versus.start()) for mark in ".;:!?\n,") + 1
        return _split(text[start : versus.end() + 500])
    return _split(text) if text.count(",") > 1 else None


def _split(rest: str) -> tuple[tuple[str, ...], str] | None:
    end = _CLAUSE_END.search(rest)
    clause = rest[: end.start()] if end else rest
    first = _SEPARATOR.search(clause)
    if first is None:
        return None
    # "A and B for cost, speed": whatever follows the first preposition after the first separator holds for all.
    scope = ""
    if (mark := _SCOPE.search(clause, first.end())) is not None:
        clause, scope = clause[: mark.start()], clause[mark.end() :].strip()
    items = _with_shared_head(_distinct(_SEPARATOR.split(clause)))
    if len(items) < 2 or any(len(item) > _ITEM_LENGTH or len(item.split()) > _ITEM_WORDS for item in items):
        return None
    return items, scope[:200]


def _with_shared_head(items: tuple[str, ...]) -> tuple[str, ...]:
    """Turn "costs of coal", "gas" into "costs of coal", "costs of gas"."""
    head = _SHARED_HEAD.match(items[0]) if items else None
    if head is None or any(" of " in item for item in items[1:]):
        return items
    return (items[0], *(f"{head[0]}{item}" for item in items[1:]))


def _distinct(found: list[str]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for text in found:
        item = _LEAD.sub("", " ".join(text.split()).strip(" .,;:!\"'“”")).strip()
        if item:
            seen.setdefault(item.casefold(), item if len(item) <= 200 else f"{item[:199]}…")
    return tuple(seen.values())
