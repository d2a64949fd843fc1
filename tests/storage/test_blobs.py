"""Blobs at rest and in memory."""

from __future__ import annotations

import os

import pytest

from orcs_server.errors import Unavailable
from orcs_server.storage.blobs import ENTRY_BYTES, RAW, ZLIB, BlobCache, pack, unpack
from orcs_server.workflow.model import Digest

A, B, C = Digest("a"), Digest("b"), Digest("c")


def test_only_what_shrinks_is_compressed() -> None:
    assert pack(A, b"x" * 1024).codec == RAW
    assert pack(A, os.urandom(5000)).codec == RAW
    packed = pack(A, b"text " * 1000)
    assert packed.codec == ZLIB
    assert unpack(packed.codec, "", packed.body) == b"text " * 1000


@pytest.mark.parametrize(("codec", "key_id"), [("zlib", ""), ("raw", "key-1"), ("lzma", "")])
def test_a_row_that_cannot_be_unpacked_is_damage(codec: str, key_id: str) -> None:
    with pytest.raises(Unavailable, match="unreadable"):
        unpack(codec, key_id, b"not compressed")


def test_the_cache_keeps_the_most_recently_used_within_its_bytes() -> None:
    cache = BlobCache(limit=4 * (25 + ENTRY_BYTES))
    for digest in (A, B):
        cache.put("default", digest, b"x" * 25)
    cache.put("default", A, b"x" * 25)
    for number in range(2):
        cache.put(f"other {number}", A, b"x" * 25)
    assert cache.get("default", B) is not None
    cache.put("default", C, b"x")
    assert cache.get("default", A) is None
    assert cache.get("default", B) is not None
    assert cache.size == 76 + 4 * ENTRY_BYTES


def test_what_would_crowd_out_the_cache_is_not_kept() -> None:
    cache = BlobCache(limit=100)
    cache.put("default", A, b"x" * 26)
    assert cache.get("default", A) is None
    assert cache.size == 0


def test_namespaces_do_not_share_the_cache() -> None:
    cache = BlobCache()
    cache.put("ours", A, b"x")
    assert cache.get("theirs", A) is None
    cache.forget("ours", A)
    assert cache.get("ours", A) is None
