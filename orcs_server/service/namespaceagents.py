"""The agents of each namespace: those that the server has for everybody, and those that are registered for it alone."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.agents.definition import AgentDefinition
from orcs_server.errors import NotFound
from orcs_server.service.declarations import Declaration, Nameable, definition_of, unpack
from orcs_server.storage.store import Store

KEPT: Final = 64
"""Namespaces whose registered agents stay in memory."""

_log = logging.getLogger("orcs.service")


class RegisteredAgent:
    """An agent of one namespace, with what it was declared as."""

    def __init__(self, declaration: Declaration, time_us: int, missing: tuple[str, ...]) -> None:
        self.declaration = declaration
        self.definition = definition_of(declaration)
        self.time_us = time_us
        self.missing = missing
        """What it names that the operator no longer sets aside; new workflows cannot name it then."""


class NamespaceView:
    """The agents of one namespace, at one moment."""

    def __init__(self, catalog: AgentCatalog, registered: Sequence[RegisteredAgent]) -> None:
        """`catalog` has the server's own agents; of the others the namespace sees none of the same id."""
        self.registered = {one.definition.id: one for one in registered}
        usable = [one.definition for one in registered if not one.missing]
        self.catalog = AgentCatalog([*catalog.list(), *usable]) if usable else catalog
        """Those that new workflows can name."""

    @cached_property
    def listed(self) -> tuple[AgentDefinition, ...]:
        """All agents that tasks can be given to, by id; those that miss something, too."""
        missing = [one.definition for one in self.registered.values() if one.missing]
        return tuple(sorted((*self.catalog.assignable(), *missing), key=lambda agent: agent.id))

    def get(self, agent_id: str) -> AgentDefinition:
        """Return an agent. Raises NotFound."""
        registered = self.registered.get(agent_id)
        return self.catalog.get(agent_id) if registered is None else registered.definition


class NamespaceAgents:
    """Reads the agents of namespaces, and keeps them for the next time."""

    def __init__(self, catalog: AgentCatalog, store: Store, nameable: Nameable) -> None:
        self.nameable = nameable
        self._catalog = catalog
        self._store = store
        self._none = NamespaceView(catalog, ())
        self._kept: OrderedDict[str, NamespaceView] = OrderedDict()
        self._changes = 0

    async def of(self, namespace: str) -> NamespaceView:
        """Return a namespace's agents as they are now. Raises Unavailable when the store does not answer."""
        view = self._kept.get(namespace)
        if view is not None:
            self._kept.move_to_end(namespace)
            return view
        changes = self._changes
        view = await self._read(namespace)
        if changes == self._changes:
            self._kept[namespace] = view
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return view

    def changed(self, namespace: str) -> None:
        """Take note that a namespace's agents are not what they were."""
        self._changes += 1
        self._kept.pop(namespace, None)

    def has(self, agent_id: str) -> bool:
        """Whether the server has an agent of this id for everybody."""
        try:
            self._catalog.get(agent_id)
        except NotFound:
            return False
        return True

    async def _read(self, namespace: str) -> NamespaceView:
        found = []
        for row in await self._store.agents.registered(namespace):
            declared = unpack(row.declaration)
            if self.has(row.id):
                _log.warning(
                    "the registered agent %s of a namespace gives way to the server's own of this id",
                    row.id,
                    extra={"namespace": namespace},
                )
                continue
            found.append(RegisteredAgent(declared, row.time_us, self.nameable.missing(declared)))
        return NamespaceView(self._catalog, found) if found else self._none
