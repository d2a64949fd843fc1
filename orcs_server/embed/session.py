"""One planning or one execution within a program: an engine and a service of its own over the shared data file. Everything
that it starts ends with it, so a program that awaits it leaves nothing behind.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from orcs_server.agents.catalog import AgentCatalog, read_registry
from orcs_server.agents.definition import AgentDefinition
from orcs_server.agents.mcp.servers import McpServers
from orcs_server.agents.providers import ConfiguredModels
from orcs_server.agents.runner import AgentRunner
from orcs_server.config import Settings, warn_of_unknown_variables
from orcs_server.config.tables import to_us
from orcs_server.engines.local.engine import EngineLimits, LocalEngine
from orcs_server.errors import IllegalTransition
from orcs_server.executor.configuration import Configurations
from orcs_server.executor.executor import Executor
from orcs_server.hooks import (
    ALLOW_ALL,
    NO_TELEMETRY,
    AuthorizationHook,
    GuardedHooks,
    HookSet,
    Origin,
    TelemetryHook,
    inline,
)
from orcs_server.identity import Caller, Clock
from orcs_server.memory import Memory, MemorySystem
from orcs_server.memory.shared_store import SharedStore
from orcs_server.service.auditing import Auditing
from orcs_server.service.nameable import tooling
from orcs_server.service.recording import EventRecording
from orcs_server.service.services import Services, build_services
from orcs_server.storage.store import Store
from orcs_server.workflow.states import WorkflowStatus

PRINCIPAL: Final = "program"
LOOK_AGAIN_S: Final = 5.0


@dataclass
class Bond:
    """What the controllers and orchestrators of one memory know of each other."""

    agents: dict[str, AgentDefinition] = field(default_factory=dict)
    authorization: AuthorizationHook = ALLOW_ALL
    telemetry: TelemetryHook = NO_TELEMETRY


_bonds: WeakKeyDictionary[MemorySystem, Bond] = WeakKeyDictionary()


def bond_of(memory: MemorySystem) -> Bond:
    """Return what has been made known to all that share this memory."""
    return _bonds.setdefault(memory, Bond())


def definitions(registry: Mapping[str, Any]) -> dict[str, AgentDefinition]:
    """Return the agents of a program's registry. Raises StartupError for what cannot be an agent."""
    return {definition.id: definition for definition in read_registry(registry, "agent_registry")}


@dataclass(frozen=True)
class Session:
    """An engine, a service and who calls them."""

    caller: Caller
    store: Store
    engine: LocalEngine
    services: Services
    memory: Memory
    shared: SharedStore
    claimed: set[tuple[str, str]] = field(default_factory=set)
    """(namespace, workflow id) of what nobody else in this process may plan or execute before the session has ended."""

    @property
    def namespace(self) -> str:
        return self.caller.namespace

    def claim(self, workflow_id: str) -> None:
        """Be the only one in this process who plans or executes the workflow, until all is stored. Raises IllegalTransition."""
        key = (self.namespace, workflow_id)
        if key in self.shared.executing:
            raise IllegalTransition(
                "ILLEGAL_TRANSITION",
                f"The workflow {workflow_id!r} is being executed already: wait for that execution.",
            )
        self.shared.executing.add(key)
        self.claimed.add(key)

    async def planned(self, workflow_id: str) -> None:
        """Wait until the workflow has a plan, or has failed to get one."""
        watch = self.engine.watch(self.namespace, workflow_id, deltas=False)
        try:
            while True:
                watch.after(0)
                summary = await self.store.get_summary(self.namespace, workflow_id)
                if summary is None or summary.progress.status is not WorkflowStatus.PLANNING:
                    return
                await watch.wait(LOOK_AGAIN_S)
        finally:
            watch.close()


@asynccontextmanager
async def session(
    memory: MemorySystem, hooks: HookSet, planner: AgentDefinition | None = None
) -> AsyncIterator[Session]:
    """Set everything up, and end it in good order: what still runs is stored as interrupted.

    Raises StartupError for a data file that cannot be opened and for settings (`ORCS_…`) that do not work out.
    """
    settings = Settings.load()
    warn_of_unknown_variables(os.environ)
    shared = await memory.shared()
    caller = Caller(PRINCIPAL, await memory.namespace(), ("administer",))
    toolbox, known, nameable = tooling(settings)
    agents = AgentCatalog.build(settings.agents, settings.agent_registry, settings.prompts.planner, known).list()
    catalog = AgentCatalog([*agents, *bond_of(memory).agents.values(), *(() if planner is None else (planner,))])
    choice = settings.model_choice(os.environ)
    models = ConfiguredModels(choice, to_us(settings.offline_pace))
    guarded = GuardedHooks(_factory(hooks), time_limit_us=settings.hook_timeout_us)
    recording = EventRecording(guarded)
    store, clock = shared.store, Clock()
    auditing = Auditing(store.audit, clock)
    stored = Memory(store, clock, auditing.memory_refused)
    mcp = McpServers(settings.mcp, os.environ)
    runner = AgentRunner.configured(models, choice, clock.now_us, toolbox, mcp)
    executor = Executor(
        store,
        runner,
        Configurations(store, catalog),
        guarded,
        record_runs=True,
        memory=stored,
        on_refusal=auditing.run_refused,
    )
    limits = EngineLimits(settings.limits.slots, settings.limits.agent_slots)
    engine = LocalEngine(store, executor, limits=limits, clock=clock, on_commit=recording.note)
    services = build_services(
        settings=settings,
        store=store,
        engine=engine,
        executor=executor,
        hooks=guarded,
        catalog=catalog,
        clock=clock,
        model=choice,
        version=importlib.metadata.version("orcs-server"),
        memory=stored,
        auditing=auditing,
        nameable=nameable,
    )
    at = Session(caller, store, engine, services, stored, shared)
    try:
        yield at
    finally:
        try:
            await engine.stop(0)
            await stored.close()
            await auditing.close()
        finally:
            shared.executing -= at.claimed
        await recording.close()
        await guarded.close()
        await models.aclose()
        await mcp.aclose()


def _factory(hooks: HookSet) -> Any:
    @inline
    def factory(_caller: Caller, /, origin: Origin) -> HookSet:  # noqa: ARG001 - a program has one set of hooks
        return hooks

    return factory
