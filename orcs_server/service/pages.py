"""Pages of lists: their size, in rows and in bytes, and the tokens that lead from one to the next."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from orcs_server.errors import InvalidArgument, Violation
from orcs_server.service.validation import LARGEST

DEFAULT_PAGE_SIZE = 100
REPLY_BYTES = 768 * 1024
"""Rows are added to a page up to this; a reply stays below 1 MiB with it."""
TOKEN_LIMIT = 1024
"""Characters of a page token that are looked at."""

Row = TypeVar("Row")
Key = TypeVar("Key")


class PageBinding:
    """Binds page tokens to a call, a namespace and a filter, so that a token never continues another list."""

    def __init__(self, call: str, namespace: str, filters: object = None) -> None:
        said = msgspec.json.encode((call, namespace, filters), order="deterministic")
        self._hash = hashlib.sha256(said).hexdigest()[:16]

    def token(self, key: object) -> str:
        """Return the token of the page after the row with this key."""
        return base64.urlsafe_b64encode(msgspec.json.encode((self._hash, key))).decode()

    def key(self, token: str, kind: type[Key]) -> Key | None:
        """Return the key in a token, None for the first page. Raises InvalidArgument (PAGE_TOKEN_INVALID)."""
        if not token:
            return None
        try:
            raw = base64.b64decode(token[:TOKEN_LIMIT].encode("ascii"), altchars=b"-_", validate=True)
            bound_to, key = msgspec.json.decode(raw, type=tuple[str, Any])
            if bound_to == self._hash and _storable(key):
                return msgspec.convert(key, kind)
        except (UnicodeError, binascii.Error, msgspec.MsgspecError, RecursionError):
            pass  # Not a token at all: the same answer as for a token of another list.
        raise no_token()


def no_token() -> InvalidArgument:
    """Return the error for a page token that is not one of the list."""
    return InvalidArgument(
        "PAGE_TOKEN_INVALID",
        "The page token is not one of this list: repeat the request that gave it with nothing but the token changed, "
        "or begin again without a token.",
    )


def _storable(key: Any) -> bool:
    """Whether the store can look for it: whoever makes up a token can write any number into it."""
    parts = key if isinstance(key, list) else [key]
    return all(abs(part) <= LARGEST for part in parts if isinstance(part, int))


def page_size(asked: int, limit: int) -> int:
    """Return how many rows a page has. Raises InvalidArgument for a negative number."""
    if asked < 0:
        violation = Violation("page_size", "It must not be negative; 0 is the server's default.")
        raise InvalidArgument("FIELD_INVALID", f"page_size: {violation.description}", (violation,))
    return min(asked or DEFAULT_PAGE_SIZE, limit)


def fitting(rows: Sequence[Row], weigh: Callable[[Row], int], room: int = REPLY_BYTES) -> int:
    """Return how many of the first rows fit into a reply: at least one, if there is one."""
    for index, row in enumerate(rows):
        room -= weigh(row)
        if room < 0 and index > 0:
            return index
    return len(rows)
