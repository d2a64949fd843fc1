"""Memory over a store that is open: every call names the namespace that it is for."""

from __future__ import annotations

from typing import Any, Final

from orcs_server.identity import Clock
from orcs_server.memory.scopes import GLOBAL, check_key, check_scope
from orcs_server.memory.values import decode, encode
from orcs_server.storage.store import Store

KEYS_AT_ONCE: Final = 500


class Memory:
    """Values under keys. Whoever calls has been let in already.

    Keys, scopes and values that are none raise InvalidArgument (FIELD_INVALID); a store that does not answer, Unavailable.
    """

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or Clock()

    async def put(
        self,
        namespace: str,
        key: str,
        value: object,
        scope: str = GLOBAL,
        *,
        writer: str,
        expected_version: int | None = None,
    ) -> int:
        """Store a value (text, bytes or JSON, at most 1 MiB) as a new version and return the version's number.

        With an `expected_version` (0: there is none yet) Conflict (MEMORY_VERSION_STALE) is raised where it is another.
        """
        check_key(key)
        check_scope(scope)
        blob, media_type = encode(value)
        return await self._store.put_memory(
            namespace, scope, key, blob, media_type, writer, self._clock.now_us(), expected_version
        )

    async def get(self, namespace: str, key: str, scope: str = GLOBAL, default: object = None) -> Any:
        """Return the newest value, or the default where there is none."""
        check_key(key)
        check_scope(scope)
        entry = await self._store.get_memory(namespace, scope, key)
        if entry is None:
            return default
        return decode(await self._store.blob(namespace, entry.digest), entry.media_type)

    async def delete(self, namespace: str, key: str, scope: str = GLOBAL, *, writer: str) -> bool:
        """Delete a key; older versions stay. Returns whether there was anything to delete."""
        check_key(key)
        check_scope(scope)
        version = await self._store.delete_memory(namespace, scope, key, writer, self._clock.now_us())
        return version is not None

    async def keys(self, namespace: str, scope: str = GLOBAL, prefix: str = "") -> list[str]:
        """Return all keys of a scope that begin so, in the order of their UTF-8 bytes."""
        check_scope(scope)
        found: list[str] = []
        while True:
            after = found[-1] if found else ""
            page = await self._store.list_memory(namespace, scope, prefix, after, KEYS_AT_ONCE)
            found.extend(entry.key for entry in page)
            if len(page) < KEYS_AT_ONCE:
                return found
