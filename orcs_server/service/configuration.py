"""Which settings a new workflow gets: the server's, changed by the configuration hook, to be frozen into it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any, Final

from pydantic import ValidationError

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.config import Settings
from orcs_server.errors import Unavailable
from orcs_server.executor.configuration import Configuration, freeze, pack
from orcs_server.executor.pricing import Price
from orcs_server.hooks import NO_CONFIGURATION, GuardedHooks, HookSet
from orcs_server.service.namespaceagents import KEPT, NamespaceAgents
from orcs_server.storage.store import Blob

HOOKED_KEYS: Final = (
    "limits.max_tasks",
    "limits.max_parallel_tasks",
    "limits.max_query_bytes",
    "limits.max_description_bytes",
    "limits.max_context_bytes",
    "limits.max_predecessor_bytes",
    "limits.max_output_bytes",
    "limits.max_memory_tokens",
    "retry.max_attempts",
    "retry.initial_backoff",
    "retry.max_backoff",
    "retry.multiplier",
    "planning.strategy",
    "planning.max_repairs",
    "prompts.planner",
    "model.name",
    "task_timeout",
)
"""What the configuration hook is asked for at each creation: settings by their names in the configuration file."""

_log = logging.getLogger("orcs.service")


class WorkflowSettings:
    """The settings that hold for new workflows."""

    def __init__(self, settings: Settings, agents: NamespaceAgents, hooks: GuardedHooks) -> None:
        self._settings = settings
        self._agents = agents
        self._hooks = hooks
        self._packed: OrderedDict[int, tuple[AgentCatalog, Blob]] = OrderedDict()
        """By the identity of a catalog, which stays with it."""

    async def resolve(self, hooks: HookSet) -> Settings:
        """Return the settings for this caller. Raises Unavailable (HOOK_FAILED) when the hook's values are unusable."""
        if hooks.configuration is NO_CONFIGURATION:
            return self._settings
        tree = self._settings.model_dump()
        for key in HOOKED_KEYS:
            place, name = _place(tree, key)
            place[name] = await self._hooks.configuration(hooks, key, place[name])
        try:
            return Settings.model_validate(tree)
        except ValidationError as error:
            _log.error("the configuration hook returned values that are no settings: %s", error)
            raise Unavailable(
                "HOOK_FAILED", "the server's configuration hook failed: try again later; the server's log says why"
            ) from None

    async def catalog(self, namespace: str) -> AgentCatalog:
        """Return the agents that a new workflow of this namespace can name. Raises Unavailable."""
        return (await self._agents.of(namespace)).catalog

    def frozen(self, settings: Settings, catalog: AgentCatalog) -> Configuration:
        """Return what is frozen into a workflow that is created with these settings and may name these agents."""
        return freeze(
            catalog,
            planner_prompt=settings.prompts.planner,
            model=settings.model.name,
            max_predecessor_bytes=settings.limits.max_predecessor_bytes,
            max_output_bytes=settings.limits.max_output_bytes,
            max_memory_tokens=settings.limits.max_memory_tokens,
            prices={
                name: Price(price.input, price.output, price.cached_input) for name, price in settings.prices.items()
            },
        )

    def packed(self, settings: Settings, catalog: AgentCatalog) -> Blob:
        """Return the same as the blob that the workflow refers to."""
        if settings is not self._settings:
            return pack(self.frozen(settings, catalog))
        known = self._packed.get(id(catalog))
        if known is None or known[0] is not catalog:
            known = self._packed[id(catalog)] = catalog, pack(self.frozen(settings, catalog))
            if len(self._packed) > KEPT:
                self._packed.popitem(last=False)
        self._packed.move_to_end(id(catalog))
        return known[1]


def _place(tree: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    *tables, name = key.split(".")
    for table in tables:
        tree = tree[table]
    return tree, name
