"""JSON as hooks may return it: checked all the way down and copied, so that a hook cannot change it later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

DEPTH_LIMIT = 64


def json_copy(value: Any, limit: int) -> Any:
    """Return a copy of `value` made of plain JSON types.

    Raises `ValueError` for anything else, at more than 64 levels, or at more than about `limit` bytes.
    """
    budget = [limit]
    return _copy(value, "$", 0, budget)


def _copy(value: Any, place: str, depth: int, budget: list[int]) -> Any:  # noqa: C901 - one case for each JSON type
    if depth > DEPTH_LIMIT:
        raise ValueError(f"it is nested deeper than {DEPTH_LIMIT} levels")
    budget[0] -= 2
    copied: Any
    match value:
        case None | bool():
            copied = value
        case int():
            budget[0] -= value.bit_length() // 3
            copied = int(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{place} is {value}, which JSON cannot say")
            copied = float(value)
        case str():
            copied = _text(value, place, budget)
        case Mapping():
            copied = {}
            for key, item in value.items():
                if not isinstance(key, str):
                    raise ValueError(f"{place} has a key of type {type(key).__name__} instead of str")  # noqa: TRY004 - one error for all that is no JSON
                name = _text(key, place, budget)
                copied[name] = _copy(item, f"{place}.{name[:40]}", depth + 1, budget)
        case list() | tuple():
            copied = [_copy(item, f"{place}[{index}]", depth + 1, budget) for index, item in enumerate(value)]
        case _:
            raise ValueError(f"{place} is of type {type(value).__name__}, which is not JSON")
    if budget[0] < 0:
        raise ValueError("it is too large")
    return copied


def _text(value: str, place: str, budget: list[int]) -> str:
    try:
        budget[0] -= len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{place} holds text that is not valid Unicode") from None
    if budget[0] < 0:
        raise ValueError("it is too large")
    return str(value)
