"""The changes that a batch is made of, and what may be wrong with them in themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from orcs_server.memory.scopes import check_key, check_scope, invalid
from orcs_server.memory.values import Value, check_value
from orcs_server.storage.memory_rows import MemoryChange, MemoryCheck, MemoryDelete, MemoryPut
from orcs_server.storage.store import blob_of

BATCH_LIMIT: Final = 100
"""Changes in a batch."""
BATCH_BYTES: Final = 4_194_304
"""Bytes of all values of a batch."""
TTL_LIMIT_US: Final = 10 * 365 * 86_400_000_000


class Put(Struct, frozen=True):
    """Store a value under a key."""

    scope: str
    key: str
    value: Value
    ttl_us: int | None = None
    """How long it is there; None: until it is deleted."""
    expected: int | None = None
    """The version that the key must be at; 0: it must be absent; None: anything."""


class Delete(Struct, frozen=True):
    """Delete a key, if it is there."""

    scope: str
    key: str
    expected: int | None = None


class Check(Struct, frozen=True):
    """Only compare: the batch goes through if the key is at this version; 0: if it is absent."""

    scope: str
    key: str
    expected: int


Change = Put | Delete | Check


def checked(changes: Sequence[Change], now_us: int) -> list[MemoryChange]:
    """Return the changes as the store takes them. Raises InvalidArgument (FIELD_INVALID)."""
    if not 0 < len(changes) <= BATCH_LIMIT:
        raise invalid("changes", f"A batch has 1 to {BATCH_LIMIT} changes, not {len(changes)}.")
    size = sum(len(change.value.data) for change in changes if isinstance(change, Put))
    if len(changes) > 1 and size > BATCH_BYTES:
        raise invalid("changes", f"The values of a batch have {size} bytes, more than the {BATCH_BYTES} allowed.")
    return [_stored(change, now_us) for change in changes]


def _stored(change: Change, now_us: int) -> MemoryChange:
    check_scope(change.scope)
    check_key(change.key)
    if change.expected is not None and not 0 <= change.expected < 2**62:
        raise invalid("expected", "A version is 0, for an absent key, or more, and less than 2 to the power of 62.")
    if isinstance(change, Check):
        return MemoryCheck(change.scope, change.key, change.expected)
    if isinstance(change, Delete):
        return MemoryDelete(change.scope, change.key, change.expected)
    check_value(change.value)
    if change.ttl_us is not None and not 0 < change.ttl_us <= TTL_LIMIT_US:
        raise invalid("ttl", "A time to live is more than nothing and at most ten years.")
    expires_us = None if change.ttl_us is None else now_us + change.ttl_us
    return MemoryPut(
        change.scope, change.key, blob_of(change.value.data), change.value.media_type, expires_us, change.expected
    )
