"""Attempts, plans and resources, carried out: each as a pipeline from state to outcome. Engines know nothing beyond it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from orcs_server.agents.breaker import Breakers
from orcs_server.agents.context import RunContext
from orcs_server.agents.definition import PLANNER_ID, AgentDefinition
from orcs_server.agents.earlier import Earlier
from orcs_server.agents.hooks import ORCSRunHooks
from orcs_server.agents.journal import RunJournal
from orcs_server.agents.memory_tools import MEMORY_TOOLS
from orcs_server.agents.planner import PlannerOutput, Replanning, build_planner_input
from orcs_server.agents.reading import Reading
from orcs_server.agents.runner import AgentRun, AgentRunner
from orcs_server.agents.steering import Steering
from orcs_server.errors import OrcsError, PermissionDenied
from orcs_server.executor.configuration import Configuration, Configurations
from orcs_server.executor.context import MemoryFeed
from orcs_server.executor.made import failure_of, read_plan, store_output, unknown_agent
from orcs_server.executor.outcome import AttemptObserver, AttemptOutcome, PlanOutcome
from orcs_server.executor.planning import planning_run
from orcs_server.executor.pricing import Pricing
from orcs_server.executor.texts import Texts, output_of
from orcs_server.hooks.guarded import GuardedHooks
from orcs_server.hooks.leave import AgentLeave, agent_leave
from orcs_server.hooks.nulls import UNLIMITED_RESOURCES
from orcs_server.hooks.protocols import Origin
from orcs_server.identity import Caller
from orcs_server.memory import AgentContext, Memory, ReadSet
from orcs_server.memory.access import log_refusal
from orcs_server.memory.asking import AskingMemory
from orcs_server.storage.journal import JournalKey
from orcs_server.storage.memory_rows import Trust
from orcs_server.storage.store import Store
from orcs_server.telemetry import TELEMETRY_OFF, Telemetry, Whole
from orcs_server.workflow.model import Failure, FailureKind, PlanningStrategy, TaskSpec, WorkflowSpec
from orcs_server.workflow.state import TaskState, WorkflowState

_log = logging.getLogger("orcs.executor")

OnRunRefusal = Callable[[Caller, str, str, str], None]
"""Is told of the caller, the agent, the workflow and the task, which is "" for the planner."""


class Executor:
    """Carries out what engines start. One per server; every method may run many times at once."""

    def __init__(
        self,
        store: Store,
        runner: AgentRunner,
        configurations: Configurations,
        hooks: GuardedHooks,
        telemetry: Telemetry = TELEMETRY_OFF,
        *,
        record_runs: bool = False,
        memory: Memory | None = None,
        on_refusal: OnRunRefusal | None = None,
    ) -> None:
        """With `record_runs` each agent run leaves its beginning and its result in memory, as `ORCSRunHooks` says. `on_refusal` is
        told where an agent may not work for a caller.

        Whoever hands over a memory closes it.
        """
        self._telemetry = telemetry
        self._store = store
        self._memory = memory or Memory(store, on_refusal=log_refusal)
        self._record_runs = record_runs
        self._on_refusal = on_refusal
        self._runner = runner
        self._configurations = configurations
        self._hooks = hooks
        self._texts = Texts(store)
        self._pricing = Pricing()

    @property
    def breakers(self) -> Breakers | None:
        """What is known of the model servers; None where nobody keeps watch."""
        return self._runner.breakers

    async def obstacles(self, state: WorkflowState) -> tuple[str, ...]:
        """Return, in words for the operator, why this server cannot continue a workflow; () when it can."""
        return await self._configurations.obstacles(state)

    async def run_attempt(
        self,
        state: WorkflowState,
        task_id: str,
        attempt: int,
        run: int,
        caller: Caller,
        observer: AttemptObserver,
        steering: Steering | None = None,
        origin: Origin = Origin.RPC,
    ) -> AttemptOutcome:
        """Have the task's agent work on it once, as it is steered. Trouble comes back as a failure; cancellation propagates.

        `origin` is what has set the workflow in motion, for the hooks.
        """
        task = state.tasks[task_id]
        agent_id = task.spec.agent_id
        started_us = task.progress.started_us or 0
        with self._telemetry.attempt_span(whole_of(state, caller), task_id, started_us, attempt, agent_id) as span:
            steering = steering or Steering()
            outcome = await self._attempt(state, task, attempt, run, caller, observer, steering, origin)
            if outcome.failure is not None:
                span.outcome = outcome.failure.kind
        return outcome

    async def _attempt(
        self,
        state: WorkflowState,
        task: TaskState,
        attempt: int,
        run: int,
        caller: Caller,
        observer: AttemptObserver,
        steering: Steering,
        origin: Origin,
    ) -> AttemptOutcome:
        try:
            leave = await self._leave(caller, task.spec.agent_id, origin, state.id, task.spec.id)
            configuration = await self._configuration(state.namespace, state.spec)
            agent = self._configurations.agent(configuration, task.spec.agent_id)
            if agent is None:
                return AttemptOutcome(failure=unknown_agent(task.spec.agent_id))
            reads = _given(state, task)
            context, remembered = await self._context(state, caller, task.spec, attempt, run, reads, leave)
            about = f"{task.spec.title}\n{await self._texts.read(state.namespace, task.spec.description)}"
            talks = any(name in MEMORY_TOOLS for name in agent.tools)
            feed = MemoryFeed(remembered, about, configuration.max_memory_tokens, talks=talks)
            reading = Reading(reads, feed, frozenset(agent.sensitive), frozenset(agent.needs_approval))
            agent_run = AgentRun(
                definition=agent,
                input=await self._texts.task_input(state, task, configuration.max_predecessor_bytes),
                context=context,
                output_schema=await self._schema(state, task, agent),
                model=agent.model or configuration.model,
                on_delta=observer.delta,
                on_usage=observer.usage,
                price=self._pricing.by(configuration.prices),
                hooks=ORCSRunHooks() if self._record_runs else None,
                journal=await self._journal(state, task.spec.id, run, attempt, observer, steering, reading),
                leave=leave,
            )
        except OrcsError as error:
            return AttemptOutcome(failure=failure_of(error))
        result = await self._runner.run(agent_run)
        outcome = store_output(result, configuration.max_output_bytes, untrusted=reads.untrusted)
        return replace(outcome, read=steering.read)

    async def make_plan(
        self,
        state: WorkflowState,
        caller: Caller,
        observer: AttemptObserver,
        steering: Steering | None = None,
        origin: Origin = Origin.RPC,
    ) -> PlanOutcome:
        """Have the planner plan the workflow, repair what was wrong with its last plan, or plan anew what has not begun."""
        if state.spec.query is None:
            return PlanOutcome(failure=Failure(FailureKind.INTERNAL, "The workflow has neither a query nor a plan."))
        try:
            leave = await self._leave(caller, PLANNER_ID, origin, state.id)
            query = await self._texts.read(state.namespace, state.spec.query)
            configuration = await self._configuration(state.namespace, state.spec)
            planning = state.progress.planning
            run = planning_run(planning)
            reads = ReadSet()
            _note_earlier(reads, state.spec)
            context, remembered = await self._context(state, caller, None, planning.attempt, run, reads, leave)
            steering = steering or Steering()
            reading = Reading(reads, MemoryFeed(remembered, query, configuration.max_memory_tokens, outside=False))
            journal = await self._journal(state, "", run, planning.attempt, observer, steering, reading)
            earlier = await self._texts.earlier(state)
            replanning = await self._texts.replanning(state)
            if replanning is not None:
                _note_outputs(reads, state, state.tasks)
        except OrcsError as error:
            return PlanOutcome(failure=failure_of(error))
        with self._telemetry.plan_span(whole_of(state, caller), planning.attempt, PLANNER_ID) as span:
            outcome = await self.plan(
                query,
                configuration,
                context,
                state.spec.planning,
                state.spec.max_tasks,
                planning.problems,
                observer,
                journal,
                replanning,
                (*state.tasks, *state.progress.retired),
                earlier,
                leave,
            )
            if outcome.failure is not None:
                span.outcome = outcome.failure.kind
        return replace(outcome, read=steering.read)

    async def plan(
        self,
        query: str,
        configuration: Configuration,
        context: RunContext,
        strategy: PlanningStrategy,
        max_tasks: int,
        problems: tuple[str, ...] = (),
        observer: AttemptObserver | None = None,
        journal: RunJournal | None = None,
        replanning: Replanning | None = None,
        taken: Collection[str] = (),
        earlier: Earlier | None = None,
        leave: AgentLeave | None = None,
    ) -> PlanOutcome:
        """Ask the planner for a plan for this query; without a journal nothing is stored. Its tasks get none of the ids that are taken."""
        agents = [self._configurations.agent(configuration, one.id) for one in configuration.agents]
        known = [agent for agent in agents if agent is not None]
        planner = next((agent for agent in known if agent.id == PLANNER_ID), None)
        if planner is None:
            return PlanOutcome(failure=unknown_agent(PLANNER_ID))
        before = replanning or Replanning()
        room = max(max_tasks - sum(task.stays for task in before.tasks), 1)
        given = build_planner_input(
            query, known, strategy, room, context.external_context, problems, replanning, earlier
        )
        result = await self._runner.run(
            AgentRun(
                definition=planner,
                input=given,
                context=context,
                output_type=PlannerOutput,
                model=planner.model or configuration.model,
                on_delta=None if observer is None else observer.delta,
                on_usage=None if observer is None else observer.usage,
                price=self._pricing.by(configuration.prices),
                journal=journal,
                leave=leave,
            )
        )
        return read_plan(
            result, before.usable, taken, untrusted=journal is not None and journal.reading.reads.untrusted
        )

    async def allocate(self, state: WorkflowState, caller: Caller, origin: Origin = Origin.RPC) -> str | None:
        """Ask the resources hook; return None when it gave, else why not. Raises Unavailable when it has to be asked again."""
        hooks = await self._hooks.hooks_for(caller, origin)
        requirements = await self._texts.read_json(state.namespace, state.spec.resource_requirements)
        granted = await self._hooks.allocate(hooks, state.id, requirements)
        return None if granted else "The resources that the workflow requires were refused."

    async def release(self, state: WorkflowState, caller: Caller, origin: Origin = Origin.RPC) -> bool:
        """Give back what the resources hook gave; False when it has to be tried again."""
        try:
            hooks = await self._hooks.hooks_for(caller, origin)
            if hooks.resources is not UNLIMITED_RESOURCES:
                await self._hooks.release(hooks, state.id)
        except OrcsError as error:
            _log.warning("the resources of workflow %s could not be given back yet: %s", state.id, error)
            return False
        return True

    async def _leave(
        self, caller: Caller, agent_id: str, origin: Origin, workflow_id: str, task_id: str = ""
    ) -> AgentLeave | None:
        try:
            return await agent_leave(self._hooks, caller, agent_id, origin)
        except PermissionDenied:
            if self._on_refusal is not None:
                self._on_refusal(caller, agent_id, workflow_id, task_id)
            raise

    async def _configuration(self, namespace: str, spec: WorkflowSpec) -> Configuration:
        if spec.configuration is None:
            return Configuration(())
        return await self._configurations.read(namespace, spec.configuration)

    async def _context(
        self,
        state: WorkflowState,
        caller: Caller,
        task: TaskSpec | None,
        attempt: int,
        run: int,
        reads: ReadSet,
        leave: AgentLeave | None,
    ) -> tuple[RunContext, AgentContext]:
        """Return what the agent of a task, or without one the planner, gets to know, and its memory."""
        agent_id, task_id = (PLANNER_ID, "") if task is None else (task.agent_id, task.id)

        shown = self._memory if leave is None else AskingMemory(self._memory, leave)

        async def place() -> tuple[Memory, str]:
            return shown, state.namespace

        memory = AgentContext(
            place, agent_id, state.id, task_id, attempt=attempt, principal=caller.principal, reads=reads
        )
        context = RunContext(
            namespace=state.namespace,
            workflow_id=state.id,
            task_id=task_id,
            attempt=attempt,
            run=run,
            depth=0 if task is None else task.depth,
            principal=caller.principal,
            external_context=await self._texts.read_json(state.namespace, state.spec.context),
            memory=memory,
        )
        return context, memory

    async def _journal(
        self,
        state: WorkflowState,
        task_id: str,
        run: int,
        attempt: int,
        observer: AttemptObserver,
        steering: Steering,
        reading: Reading,
    ) -> RunJournal:
        key = JournalKey(state.namespace, state.id, task_id, run)
        expire_us = state.spec.approval_expires_us
        return await RunJournal.open(self._store, key, attempt, observer.mismatch, steering, expire_us, reading)

    async def _schema(self, state: WorkflowState, task: TaskState, agent: AgentDefinition) -> dict[str, Any] | None:
        digest = task.spec.output_schema
        if digest is None and state.spec.output_schema is not None and _is_only_sink(state, task):
            digest = state.spec.output_schema  # Its output is the workflow's.
        if digest is None:
            return json.loads(agent.output_schema) if agent.output_schema else None
        return await self._texts.read_json(state.namespace, digest)


def _is_only_sink(state: WorkflowState, task: TaskState) -> bool:
    """Whether nothing builds on this task, and this holds for no other task."""
    if state.dependants.get(task.spec.id):
        return False
    return sum(1 for name in state.tasks if not state.dependants.get(name)) == 1


def traceparent_of(caller: Caller) -> str:
    """Return the trace that the caller's request belongs to; "" if there is none."""
    return dict(caller.metadata).get("traceparent", "")


def whole_of(state: WorkflowState, caller: Caller) -> Whole:
    """Return the workflow as telemetry knows it, with the trace that its creation belongs to."""
    return Whole(state.namespace, state.id, state.progress.created_us, traceparent_of(caller))


def _given(state: WorkflowState, task: TaskState) -> ReadSet:
    """Return what a task's agent has read before it begins: what the workflow continues, the outputs that the task depends on."""
    reads = ReadSet()
    _note_earlier(reads, state.spec)
    if task.spec.untrusted:
        reads.external("the task's description")
    _note_outputs(reads, state, task.spec.dependencies)
    return reads


def _note_earlier(reads: ReadSet, spec: WorkflowSpec) -> None:
    if spec.continue_from is not None and spec.earlier is not None:
        reads.output(spec.continue_from, "", Trust.EXTERNAL if spec.earlier.untrusted else Trust.AGENT)


def _note_outputs(reads: ReadSet, state: WorkflowState, task_ids: Iterable[str]) -> None:
    for task_id in task_ids:
        output = output_of(state.tasks[task_id])
        if output is not None:
            reads.output(state.id, task_id, Trust.EXTERNAL if output.untrusted else Trust.AGENT)
