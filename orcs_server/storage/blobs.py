"""Blobs at rest (compressed where that pays) and in memory (the most recently used, within a number of bytes)."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import NamedTuple

from orcs_server.storage.codec import damaged
from orcs_server.workflow.model import Digest

RAW, ZLIB = "raw", "zlib"
COMPRESS_FROM = 1024
"""Bytes from which compression is tried."""
CACHE_LIMIT = 4 * 1024 * 1024
"""Bytes of blobs kept in memory, with what keeping them takes."""
ENTRY_BYTES = 512
"""What keeping a blob takes beside its content: many are no longer than a sentence."""


class PackedBlob(NamedTuple):
    """A blob as it lies in its row."""

    digest: Digest
    codec: str
    body: bytes


def pack(digest: Digest, content: bytes) -> PackedBlob:
    """Return the blob's row: compressed when it is over 1 KiB and an eighth or more is saved."""
    if len(content) > COMPRESS_FROM:
        compressed = zlib.compress(content, 1)
        if len(compressed) <= len(content) - len(content) // 8:
            return PackedBlob(digest, ZLIB, compressed)
    return PackedBlob(digest, RAW, content)


def unpack(codec: str, key_id: str, body: bytes) -> bytes:
    """Return a stored blob's bytes. Raises Unavailable when its row is damaged, or encrypted with a key not held here."""
    if key_id:
        raise damaged(f"blob encrypted with key {key_id!r}, which this server does not hold")
    if codec == RAW:
        return body
    if codec != ZLIB:
        raise damaged(f"blob in the unknown codec {codec!r}")
    try:
        return zlib.decompress(body)
    except zlib.error as error:
        raise damaged("blob") from error


class BlobCache:
    """The most recently used blobs of all namespaces, at most `limit` bytes of them."""

    def __init__(self, limit: int = CACHE_LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._blobs: OrderedDict[tuple[str, Digest], bytes] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes held, with what keeping them takes."""
        return self._size

    def get(self, namespace: str, digest: Digest) -> bytes | None:
        content = self._blobs.get((namespace, digest))
        if content is not None:
            self._blobs.move_to_end((namespace, digest))
        return content

    def put(self, namespace: str, digest: Digest, content: bytes) -> None:
        """Keep a blob, unless it would take more than a quarter of the room."""
        if len(content) > self._limit // 4:
            return
        self.forget(namespace, digest)
        self._blobs[namespace, digest] = content
        self._size += len(content) + ENTRY_BYTES
        while self._size > self._limit:
            self._size -= len(self._blobs.popitem(last=False)[1]) + ENTRY_BYTES

    def forget(self, namespace: str, digest: Digest) -> None:
        content = self._blobs.pop((namespace, digest), None)
        if content is not None:
            self._size -= len(content) + ENTRY_BYTES
