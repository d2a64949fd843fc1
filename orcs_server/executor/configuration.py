"""What is frozen into a workflow at its creation: agents, models, prompts and bounds. A workflow that is resumed days later runs
with what it was created with, whatever the server's settings have become.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Struct

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.agents.definition import PLANNER_ID, AgentDefinition
from orcs_server.errors import NotFound, Unavailable
from orcs_server.executor.pricing import Price
from orcs_server.storage.codec import damaged
from orcs_server.storage.store import Blob, Store, blob_of
from orcs_server.workflow.model import Digest
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TASK_TERMINAL

KEPT = 256
"""Configurations that stay in memory; most workflows share one."""
KEPT_BYTES = 32 * 1024 * 1024
"""Of these, as they are stored: registered agents can make them long."""


class FrozenAgent(Struct, frozen=True, omit_defaults=True):
    """An agent as it was at creation. One with code of its own is only named: its code lives in the server's registry."""

    id: str
    revision: str
    instructions: str = ""
    description: str = ""
    model: str | None = None
    settings: dict[str, Any] = {}
    max_turns: int = 0
    in_registry: bool = False
    tools: tuple[str, ...] = ()
    """Of an agent without code of its own."""
    sensitive: tuple[str, ...] = ()
    needs_approval: tuple[str, ...] = ()
    mcp: tuple[str, ...] = ()
    output_schema: str = ""
    name: str = ""


class Configuration(Struct, frozen=True, omit_defaults=True):
    """Everything that a workflow's attempts depend on beside its plan."""

    agents: tuple[FrozenAgent, ...]
    """The planner included."""
    model: str | None = None
    """Overrides the server's default model."""
    max_predecessor_bytes: int = 65_536
    max_output_bytes: int = 1_048_576
    max_memory_tokens: int = 4_000
    prices: dict[str, Price] = {}
    """By the name of the model; without any, nothing costs."""


def freeze(
    catalog: AgentCatalog,
    *,
    planner_prompt: str | None,
    model: str | None,
    max_predecessor_bytes: int,
    max_output_bytes: int,
    max_memory_tokens: int = 4_000,
    prices: Mapping[str, Price] | None = None,
) -> Configuration:
    """Return the configuration as it is now, with the agents of a catalog. A `planner_prompt` takes the place of the planner's instructions."""
    agents = tuple(_frozen(_prompted(definition, planner_prompt)) for definition in catalog.list())
    return Configuration(agents, model, max_predecessor_bytes, max_output_bytes, max_memory_tokens, dict(prices or {}))


def pack(configuration: Configuration) -> Blob:
    """Return the blob by which a workflow refers to its configuration. Equal ones have equal digests."""
    return blob_of(msgspec.json.encode(configuration, order="deterministic"))


def unpack(data: bytes) -> Configuration:
    """Return a stored configuration. Raises Unavailable when it is damaged."""
    try:
        return msgspec.json.decode(data, type=Configuration)
    except msgspec.MsgspecError as error:
        raise damaged("configuration of a workflow") from error


def gone_agents(configuration: Configuration, catalog: AgentCatalog, state: WorkflowState) -> tuple[str, ...]:
    """Return the agents that unfinished tasks need and that are no more: their code is not in the server's registry, or
    they were never among the workflow's own.
    """
    needed = {task.spec.agent_id for task in state.tasks.values() if task.progress.status not in TASK_TERMINAL}
    present = {one.id for one in catalog.list() if one.source == "registry"}
    usable = {frozen.id for frozen in configuration.agents if not frozen.in_registry or frozen.id in present}
    return tuple(sorted(needed - usable))


def obstacles(configuration: Configuration | None, catalog: AgentCatalog, state: WorkflowState) -> tuple[str, ...]:
    """Return, in words for the operator, why a server with this catalog cannot continue a workflow; () when it can."""
    if configuration is None:
        return ("its configuration cannot be read: restore the data file from a backup",)
    return tuple(
        f"the agent {agent_id!r} of unfinished tasks is gone: start the server with it again (--agents)"
        for agent_id in gone_agents(configuration, catalog, state)
    )


class Configurations:
    """Reads frozen configurations back, and finds the agents that they name."""

    def __init__(self, store: Store, catalog: AgentCatalog) -> None:
        self._store = store
        self._catalog = catalog
        self._kept: OrderedDict[tuple[str, Digest], tuple[Configuration, int]] = OrderedDict()
        self._kept_bytes = 0
        self._definitions: OrderedDict[int, tuple[FrozenAgent, AgentDefinition]] = OrderedDict()
        """By the identity of the frozen agent: a namespace's must not be taken for another's, however much it looks like it."""

    async def read(self, namespace: str, digest: Digest) -> Configuration:
        """Return a stored configuration. Raises Unavailable when the store does not answer."""
        kept = self._kept.get((namespace, digest))
        if kept is None:
            data = await self._store.blob(namespace, digest)
            kept = self._kept[namespace, digest] = unpack(data), len(data)
            self._kept_bytes += len(data)
            while len(self._kept) > 1 and (len(self._kept) > KEPT or self._kept_bytes > KEPT_BYTES):
                _, (_, size) = self._kept.popitem(last=False)
                self._kept_bytes -= size
        return kept[0]

    async def obstacles(self, state: WorkflowState) -> tuple[str, ...]:
        """Return why this server cannot continue a workflow; () when it can."""
        configuration = None
        if state.spec.configuration is not None:
            try:
                configuration = await self.read(state.namespace, state.spec.configuration)
            except Unavailable as error:
                return (str(error),)
        return obstacles(configuration, self._catalog, state)

    def agent(self, configuration: Configuration, agent_id: str) -> AgentDefinition | None:
        """Return the agent as frozen; one with code comes from the registry as it is now, None when it is gone."""
        for frozen in configuration.agents:
            if frozen.id == agent_id:
                return self._thaw(frozen)
        return None

    def _thaw(self, frozen: FrozenAgent) -> AgentDefinition | None:
        try:
            current = self._catalog.get(frozen.id)
        except NotFound:
            current = None
        if frozen.in_registry:
            return current if current is not None and current.source == "registry" else None
        if current is not None and current.revision == frozen.revision:
            return current
        known = self._definitions.get(id(frozen))
        if known is None or known[0] is not frozen:
            definition = AgentDefinition(
                id=frozen.id,
                instructions=frozen.instructions,
                description=frozen.description,
                model=frozen.model,
                settings=frozen.settings,
                max_turns=frozen.max_turns,
                source="config",
                tools=frozen.tools,
                sensitive=frozen.sensitive,
                needs_approval=frozen.needs_approval,
                mcp=frozen.mcp,
                output_schema=frozen.output_schema,
                name=frozen.name,
            )
            known = self._definitions[id(frozen)] = frozen, definition
            if len(self._definitions) > KEPT:
                self._definitions.popitem(last=False)
        return known[1]


def _prompted(definition: AgentDefinition, planner_prompt: str | None) -> AgentDefinition:
    if planner_prompt is None or definition.id != PLANNER_ID:
        return definition
    return replace(definition, instructions=planner_prompt)


def _frozen(definition: AgentDefinition) -> FrozenAgent:
    if definition.source == "registry":
        return FrozenAgent(definition.id, definition.revision, in_registry=True)
    settings: Mapping[str, Any] = definition.settings
    return FrozenAgent(
        definition.id,
        definition.revision,
        definition.instructions,
        definition.description,
        definition.model,
        dict(settings),
        definition.max_turns,
        tools=definition.tools,
        sensitive=definition.sensitive,
        needs_approval=definition.needs_approval,
        mcp=definition.mcp,
        output_schema=definition.output_schema,
        name=definition.name,
    )
