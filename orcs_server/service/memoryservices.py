"""The part of the service that is about memory."""

from __future__ import annotations

from dataclasses import dataclass

from orcs_server.memory import Memory
from orcs_server.service.auditing import Auditing
from orcs_server.service.authorisation import Authorisation
from orcs_server.service.memory import Entries
from orcs_server.service.memoryaccess import MemoryAccess
from orcs_server.service.memorypast import Past
from orcs_server.service.memoryrules import Rules
from orcs_server.service.openwatches import OpenWatches
from orcs_server.service.watchingmemory import WatchingMemory
from orcs_server.storage.store import Store


@dataclass(frozen=True, slots=True)
class MemoryServices:
    """Memory, topic by topic."""

    entries: Entries
    past: Past
    rules: Rules
    watching: WatchingMemory


def build_memory_services(
    *,
    memory: Memory,
    store: Store,
    authorisation: Authorisation,
    auditing: Auditing,
    open_watches: OpenWatches,
    max_page_size: int,
) -> MemoryServices:
    """Put it together."""
    access = MemoryAccess(
        memory=memory,
        store=store,
        authorisation=authorisation,
        auditing=auditing,
        max_page_size=max_page_size,
    )
    return MemoryServices(
        Entries(memory, access),
        Past(memory, access),
        Rules(memory, access),
        WatchingMemory(memory, access, open_watches),
    )
