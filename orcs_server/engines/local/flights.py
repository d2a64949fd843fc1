"""What one workflow has under way: an asyncio task for each effect that was started and not yet reported."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from orcs_server.agents.definition import PLANNER_ID
from orcs_server.engines.local.slots import Want
from orcs_server.engines.reconcile import Flight, flight_of, reconcile
from orcs_server.errors import Unavailable
from orcs_server.executor.outcome import AttemptOutcome, PlanOutcome
from orcs_server.storage.store import Blob
from orcs_server.workflow import messages as m
from orcs_server.workflow.due import due
from orcs_server.workflow.effects import AllocateResources, Effect, MakePlan, ReleaseResources, RunAttempt, WakeAt
from orcs_server.workflow.model import Failure, FailureKind, Usage
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TaskStatus

if TYPE_CHECKING:
    from orcs_server.engines.local.actor import WorkflowActor

_log = logging.getLogger("orcs.engine")

_ALLOCATION = Flight(AllocateResources)
HOOK_RETRY_S = (1.0, 60.0)
"""First and longest pause before the resources hook is asked again after it failed."""


class Observer:
    """Hears what an attempt says while it runs, and passes it on to the workflow."""

    __slots__ = ("_actor", "_agent_id", "_attempt", "_task_id", "muted")

    def __init__(self, actor: WorkflowActor, task_id: str, attempt: int, agent_id: str) -> None:
        self._actor = actor
        self._task_id = task_id
        self._attempt = attempt
        self._agent_id = agent_id
        self.muted = False
        """The attempt is over: what it still says is not heard. What it spent still counts."""

    def delta(self, text: str) -> None:
        """Text that the model produced."""
        if not self.muted:
            self._actor.feed.add_text(self._task_id, self._attempt, text)

    def usage(self, calls: int, usage: Usage) -> None:
        """What the attempt has consumed so far."""
        report = m.UsageRecorded(self._attempt, calls, usage, self._task_id)
        self._actor.tell_usage(report, actor=f"agent:{self._agent_id}")

    def mismatch(self, path: str, turn: int) -> None:
        """The attempt left the course of its journal."""
        report = m.JournalMismatch(self._attempt, turn, path, self._task_id)
        self._actor.tell(report, actor=f"agent:{self._agent_id}")


class _Flying(NamedTuple):
    """The asyncio task of an effect that is under way, and the observer of an attempt."""

    task: asyncio.Task[None]
    observer: Observer | None


class Flights:
    """Starts what is due and not under way, cancels what is under way and no longer due."""

    def __init__(self, actor: WorkflowActor) -> None:
        self._actor = actor
        self._flying: dict[Flight, _Flying] = {}
        self._reported: dict[Flight, None] = {}
        """Landed, with a report that is not stored yet: started again they would run twice."""
        self._cancelled: set[Flight] = set()
        """Cancelled and still cleaning up. A second cancellation would disturb them at it."""
        self._held: dict[Flight, Want] = {}
        self._interrupted = False

    def __bool__(self) -> bool:
        return bool(self._flying)

    def hold(self, wants: Iterable[Want]) -> None:
        """Keep slots for attempts whose start is not stored yet."""
        for want in wants:
            self._held[_flight(want)] = want

    def drop(self, want: Want) -> None:
        """Give back the slot of an attempt that will not start."""
        del self._held[_flight(want)]
        self._actor.engine.slots.release(want.agent_id, suspected=want.suspected)

    def drop_held(self) -> None:
        """Give back the slots of attempts whose start could not be stored."""
        for want in tuple(self._held.values()):
            self.drop(want)

    def follow(self, state: WorkflowState, now_us: int) -> int | None:
        """Make what is under way equal what is due; return the next wake-up time."""
        difference = reconcile(due(state, now_us), {**self._flying, **self._reported})
        for flight in difference.cancel:
            self._cancel(flight)
        for effect in difference.start:
            flight = flight_of(effect)
            observer = self._observer(effect)
            work = self._work(effect, state, observer)
            if work is None:
                continue
            if self._interrupted:
                work.close()
                self._ground(flight)
                continue
            task = asyncio.create_task(self._fly(flight, work, self._held.pop(flight, None)), name=_name(flight))
            self._flying[flight] = _Flying(task, observer)
        return difference.wake_at_us

    def settle(self, flight: Flight) -> None:
        """The report of a flight that landed is stored."""
        self._reported.pop(flight, None)

    def interrupt(self) -> None:
        """Cancel everything in good order: attempts are reported as interrupted, which costs them nothing."""
        self._interrupted = True
        for flight in self._flying:
            self._cancel(flight)

    def abandon(self) -> list[str]:
        """Report what does not react to its cancellation as interrupted; return the names."""
        stubborn = list(self._flying)
        for flight in stubborn:
            self._ground(flight)
        return [_name(flight) for flight in stubborn]

    async def landed(self) -> None:
        """Wait until nothing is under way."""
        while self._flying:
            await asyncio.wait([flying.task for flying in self._flying.values()])

    def _cancel(self, flight: Flight) -> None:
        flying = self._flying.get(flight)
        if flying is None or flight in self._cancelled:
            return
        self._cancelled.add(flight)
        if flying.observer is not None:
            flying.observer.muted = True
        # Not at once: a task that is cancelled before its first step never runs, not even what it has to do at its end.
        asyncio.get_running_loop().call_soon(flying.task.cancel)

    def _ground(self, flight: Flight) -> None:
        """Report an attempt as interrupted, whether or not it has begun, and give its slot back if it has not."""
        want = self._held.pop(flight, None)
        if want is not None:
            self._actor.engine.slots.release(want.agent_id, suspected=want.suspected)
        if flight.kind in (RunAttempt, MakePlan):
            self._tell(m.AttemptInterrupted(flight.attempt, flight.task_id), flight)

    def _tell(
        self,
        report: m.Report,
        flight: Flight,
        *,
        actor: str = "orcs",
        blobs: tuple[Blob, ...] = (),
    ) -> None:
        self._reported[flight] = None
        self._actor.tell(report, actor=actor, blobs=blobs, flight=flight)

    def _observer(self, effect: Effect) -> Observer | None:
        match effect:
            case RunAttempt():
                return Observer(self._actor, effect.task_id, effect.attempt, effect.agent_id)
            case MakePlan():
                return Observer(self._actor, "", effect.attempt, PLANNER_ID)
            case _:
                return None

    def _work(
        self, effect: Effect, state: WorkflowState, observer: Observer | None
    ) -> Coroutine[Any, Any, None] | None:
        """Return the work of an effect that may start now; attempts wait for a slot and for their start to be stored."""
        match effect:
            case RunAttempt():
                progress = state.tasks[effect.task_id].progress
                if observer and progress.status is TaskStatus.RUNNING and progress.attempt == effect.attempt:
                    return self._run_attempt(effect, state, observer)
            case MakePlan():
                if observer and state.progress.planning.running:
                    return self._make_plan(effect, state, observer)
            case AllocateResources():
                return self._allocate(state)
            case ReleaseResources():
                return self._release(state)
            case WakeAt():
                pass
        return None

    async def _fly(self, flight: Flight, work: Coroutine[Any, Any, None], want: Want | None) -> None:
        try:
            await work
        except asyncio.CancelledError:
            if self._interrupted:
                self._ground(flight)
        finally:
            observer = self._flying.pop(flight).observer
            if observer is not None:
                observer.muted = True
            self._cancelled.discard(flight)
            if want is not None:
                self._actor.engine.slots.release(want.agent_id, suspected=want.suspected)
            self._actor.engine.rest(self._actor)

    async def _run_attempt(self, effect: RunAttempt, state: WorkflowState, observer: Observer) -> None:
        executor, caller = self._actor.engine.executor, self._actor.caller
        try:
            outcome = await executor.run_attempt(state, effect.task_id, effect.attempt, effect.run, caller, observer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - agents are anyone's code
            _pass_on_own_cancellation(error)
            outcome = AttemptOutcome(failure=_internal(f"task {effect.task_id}", state.id, error))
        self._actor.engine.outages.note(effect.agent_id, outcome.failure)
        self._tell(
            m.AttemptFinished(effect.task_id, effect.attempt, outcome.output, outcome.failure, _jitter()),
            flight_of(effect),
            actor=f"agent:{effect.agent_id}",
            blobs=outcome.blobs,
        )

    async def _make_plan(self, effect: MakePlan, state: WorkflowState, observer: Observer) -> None:
        try:
            outcome = await self._actor.engine.executor.make_plan(state, self._actor.caller, observer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - agents are anyone's code
            _pass_on_own_cancellation(error)
            outcome = PlanOutcome(failure=_internal("planning", state.id, error))
        self._actor.engine.outages.note(PLANNER_ID, outcome.failure)
        report: m.Report
        if outcome.tasks is not None:
            report = m.PlanMade(effect.attempt, outcome.tasks)
        else:
            failure = outcome.failure or Failure(FailureKind.INTERNAL, "The planner ended with nothing.")
            report = m.PlanFailed(effect.attempt, failure, outcome.problems, _jitter())
        actor = f"agent:{PLANNER_ID}"
        self._tell(report, flight_of(effect), actor=actor, blobs=outcome.blobs)

    async def _allocate(self, state: WorkflowState) -> None:
        pause_s = HOOK_RETRY_S[0]
        while True:
            try:
                refusal = await self._actor.engine.executor.allocate(state, self._actor.caller)
                break
            except Unavailable as error:
                _log.warning("the resources of workflow %s could not be allocated yet: %s", state.id, error)
                refusal = error.message
                current = self._actor.state
                if current is None or current.terminal:
                    break  # Nobody waits for them any more; what may have been given is given back.
            except Exception as error:  # noqa: BLE001 - the log has it; the workflow is told that it gets nothing
                refusal = _internal("allocating resources", state.id, error).message
                break
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, HOOK_RETRY_S[1])
        report = m.ResourcesGranted() if refusal is None else m.ResourcesRefused(refusal)
        self._tell(report, Flight(AllocateResources))

    async def _release(self, state: WorkflowState) -> None:
        pause_s = HOOK_RETRY_S[0]
        while not await self._released(state):
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, HOOK_RETRY_S[1])
        self._tell(m.ResourcesReleased(), Flight(ReleaseResources))

    async def _released(self, state: WorkflowState) -> bool:
        try:
            return await self._actor.engine.executor.release(state, self._actor.caller)
        except Exception as error:  # noqa: BLE001 - the log has it, and it is tried again
            _internal("releasing resources", state.id, error)
            return False


def _flight(want: Want) -> Flight:
    return Flight(RunAttempt if want.task_id else MakePlan, want.task_id, want.attempt)


def _name(flight: Flight) -> str:
    return f"{flight.kind.__name__} {flight.task_id} {flight.attempt}"


def _pass_on_own_cancellation(error: BaseException) -> None:
    """Raise a cancellation that is ours. One that an agent's own code let slip is a failure of the attempt."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def _internal(what: str, workflow_id: str, error: BaseException) -> Failure:
    """A fault of ours: the log has the traceback, the user the place to look it up."""
    fault = f"{random.getrandbits(48):012x}"
    _log.error("fault %s in %s of workflow %s", fault, what, workflow_id, exc_info=error)
    return Failure(FailureKind.INTERNAL, f"The server made a mistake; its log has the details under fault {fault}.")


def _jitter() -> float:
    return random.random()  # noqa: S311 - jitter needs no secrecy
