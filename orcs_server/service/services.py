"""All of the service over one engine and one store: what the RPCs and embedding programs call."""

from __future__ import annotations

from dataclasses import dataclass

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.agents.toolbox import BUILTIN_TOOLS
from orcs_server.config import Settings
from orcs_server.config.models import ModelChoice
from orcs_server.engines.base import Engine
from orcs_server.executor.executor import Executor
from orcs_server.hooks import GuardedHooks
from orcs_server.identity import Clock
from orcs_server.identity.quotas import NO_QUOTAS, Quotas
from orcs_server.memory import Memory
from orcs_server.service.agents import Agents
from orcs_server.service.amending import Amending
from orcs_server.service.approvers import Approvers
from orcs_server.service.audit import Audit
from orcs_server.service.auditing import Auditing
from orcs_server.service.authorisation import Authorisation
from orcs_server.service.commands import Commands
from orcs_server.service.configuration import WorkflowSettings
from orcs_server.service.continuing import Continuing
from orcs_server.service.control import Control
from orcs_server.service.creation import Creation
from orcs_server.service.declarations import Nameable
from orcs_server.service.explaining import Explaining
from orcs_server.service.inbox import Inbox
from orcs_server.service.memoryservices import MemoryServices, build_memory_services
from orcs_server.service.namespaceagents import NamespaceAgents
from orcs_server.service.openwatches import OpenWatches
from orcs_server.service.preview import Preview
from orcs_server.service.problems import Problems
from orcs_server.service.reading import Reading
from orcs_server.service.registration import Registration
from orcs_server.service.results import Results
from orcs_server.service.revisions import Revisions
from orcs_server.service.system import System
from orcs_server.service.tasks import Tasks
from orcs_server.service.usage import NamespaceUsage
from orcs_server.service.watching import Watching
from orcs_server.service.watchingall import WatchingAll
from orcs_server.service.watchinginbox import WatchingInbox
from orcs_server.storage.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """The service, topic by topic."""

    authorisation: Authorisation
    creation: Creation
    control: Control
    tasks: Tasks
    amending: Amending
    inbox: Inbox
    revisions: Revisions
    preview: Preview
    reading: Reading
    results: Results
    explaining: Explaining
    agents: Agents
    registration: Registration
    system: System
    watching: Watching
    watching_all: WatchingAll
    watching_inbox: WatchingInbox
    memory: MemoryServices
    audit: Audit
    auditing: Auditing
    open_watches: OpenWatches
    usage: NamespaceUsage
    problems: Problems


def build_services(
    *,
    settings: Settings,
    store: Store,
    engine: Engine,
    executor: Executor,
    hooks: GuardedHooks,
    catalog: AgentCatalog,
    clock: Clock,
    model: ModelChoice,
    version: str,
    memory: Memory,
    auditing: Auditing,
    nameable: Nameable | None = None,
    quotas: Quotas = NO_QUOTAS,
) -> Services:
    """Put the service together. The store is open."""
    authorisation = Authorisation(hooks, auditing.denied)
    open_watches = OpenWatches(settings.limits.max_watches_per_caller, quotas, clock)
    usage = NamespaceUsage(
        store=store,
        engine=engine,
        authorisation=authorisation,
        open_watches=open_watches,
        clock=clock,
        quotas=quotas,
    )
    problems = Problems(
        states=lambda: engine.states,
        store=store,
        hooks=hooks,
        breakers=executor.breakers,
        authorisation=authorisation,
        usage=usage,
        clock=clock,
    )
    namespace_agents = NamespaceAgents(catalog, store, nameable or Nameable(tools=frozenset(BUILTIN_TOOLS)))
    for_workflows = WorkflowSettings(settings, namespace_agents, hooks)
    commands = Commands(engine=engine, store=store, authorisation=authorisation, auditing=auditing)
    approvers = Approvers(store, authorisation, separate=settings.approvals.separate_approver)
    pages = settings.limits.max_page_size
    results = Results(store=store, authorisation=authorisation)
    return Services(
        authorisation=authorisation,
        creation=Creation(
            engine=engine,
            store=store,
            authorisation=authorisation,
            hooks=hooks,
            settings=for_workflows,
            clock=clock,
            continuing=Continuing(store=store, authorisation=authorisation, results=results),
            auditing=auditing,
        ),
        control=Control(commands, approvers),
        tasks=Tasks(commands, settings, approvers, clock),
        amending=Amending(commands, settings, approvers, clock),
        inbox=Inbox(commands, settings, approvers),
        revisions=Revisions(commands, pages),
        preview=Preview(
            executor=executor,
            engine=engine,
            authorisation=authorisation,
            hooks=hooks,
            settings=for_workflows,
            clock=clock,
        ),
        reading=Reading(store=store, authorisation=authorisation, max_page_size=pages),
        results=results,
        explaining=Explaining(
            store=store,
            authorisation=authorisation,
            clock=clock,
            max_page_size=pages,
            held_by=usage.held_by,
            troubles=problems.of_server,
        ),
        agents=Agents(agents=namespace_agents, authorisation=authorisation, max_page_size=pages),
        registration=Registration(
            agents=namespace_agents, store=store, authorisation=authorisation, auditing=auditing, clock=clock
        ),
        system=System(
            settings=settings,
            model=model,
            version=version,
            log_epoch=store.epoch,
            started_us=clock.now_us(),
            authorisation=authorisation,
        ),
        watching=Watching(engine=engine, store=store, authorisation=authorisation, open_watches=open_watches),
        watching_all=WatchingAll(engine=engine, store=store, authorisation=authorisation, open_watches=open_watches),
        watching_inbox=WatchingInbox(
            engine=engine, store=store, authorisation=authorisation, open_watches=open_watches
        ),
        memory=build_memory_services(
            memory=memory,
            store=store,
            authorisation=authorisation,
            auditing=auditing,
            open_watches=open_watches,
            max_page_size=pages,
        ),
        audit=Audit(store=store, authorisation=authorisation, open_watches=open_watches, max_page_size=pages),
        auditing=auditing,
        open_watches=open_watches,
        usage=usage,
        problems=problems,
    )
