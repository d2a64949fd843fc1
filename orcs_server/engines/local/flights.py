"""What one workflow has under way: an asyncio task for each effect that was started and not yet reported."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from orcs_server.agents.definition import PLANNER_ID
from orcs_server.engines.local.observer import Observer, steering_of
from orcs_server.engines.local.slots import Want
from orcs_server.engines.reconcile import Flight, flight_of, reconcile
from orcs_server.errors import Unavailable
from orcs_server.executor.outcome import AttemptOutcome, PlanOutcome
from orcs_server.executor.steering import Steering
from orcs_server.storage.store import Blob
from orcs_server.workflow import messages as m
from orcs_server.workflow.due import due
from orcs_server.workflow.effects import AllocateResources, Effect, MakePlan, ReleaseResources, RunAttempt, Stop
from orcs_server.workflow.model import Failure, FailureKind
from orcs_server.workflow.people import Need
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TaskStatus

if TYPE_CHECKING:
    from orcs_server.engines.local.actor import WorkflowActor

_log = logging.getLogger("orcs.engine")

CUT_PATIENCE_S = 5.0
"""How long a pause or a cancellation waits for an attempt that was cut off and does not react."""
HOOK_RETRY_S = (1.0, 60.0)
"""First and longest pause before the resources hook is asked again after it failed."""


class _Flying(NamedTuple):
    """The asyncio task of an effect that is under way; of an attempt also who hears it and what steers it."""

    task: asyncio.Task[None]
    attempt: _Attempt | None


class _Attempt(NamedTuple):
    """The two directions between an attempt and its workflow."""

    observer: Observer
    steering: Steering


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
        self._closing = False
        self._cut: dict[Flight, asyncio.TimerHandle] = {}
        """Cut off by a pause or a cancellation, which waits for them, though not for ever."""

    def __bool__(self) -> bool:
        return bool(self._flying)

    def hold(self, wants: Iterable[Want]) -> None:
        """Keep slots for attempts whose start is not stored yet."""
        for want in wants:
            self._held[_flight(want)] = want

    def drop(self, want: Want) -> None:
        """Give back the slot of an attempt that will not start."""
        del self._held[_flight(want)]
        self._give_back(want)

    def _give_back(self, want: Want) -> None:
        actor = self._actor
        actor.engine.slots.release(actor.namespace, want.agent_id, suspected=want.suspected)

    def drop_held(self) -> None:
        """Give back the slots of attempts whose start could not be stored."""
        for want in tuple(self._held.values()):
            self.drop(want)

    def follow(self, state: WorkflowState, now_us: int) -> int | None:
        """Make what is under way equal what is due; return the next wake-up time."""
        difference = reconcile(due(state, now_us), {**self._flying, **self._reported})
        for flight in difference.cancel:
            self._cancel(flight)
        for running in difference.steer:
            self._steer(running, state)
        for effect in difference.start:
            flight = flight_of(effect)
            attempt = self._attempt(effect, state)
            work = self._work(effect, state, attempt)
            if work is None:
                continue
            if self._interrupted:
                work.close()
                self._ground(flight)
                continue
            task = asyncio.create_task(self._fly(flight, work, self._held.pop(flight, None)), name=_name(flight))
            self._flying[flight] = _Flying(task, attempt)
        return difference.wake_at_us

    def settle(self, flight: Flight) -> None:
        """The report of a flight that landed is stored."""
        self._reported.pop(flight, None)

    def close_at_turn(self) -> None:
        """Have every attempt stop before its next model call, for good."""
        self._closing = True
        self.stop_at_turn()

    def stop_at_turn(self) -> None:
        """Have every attempt stop before its next model call, unless that is withdrawn by then."""
        for flying in self._flying.values():
            if flying.attempt is not None:
                flying.attempt.steering.request_stop()

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
        if flying.attempt is not None:
            flying.attempt.observer.muted = True
        # Not at once: a task that is cancelled before its first step never runs, not even what it has to do at its end.
        asyncio.get_running_loop().call_soon(flying.task.cancel)

    def _steer(self, effect: RunAttempt | MakePlan, state: WorkflowState) -> None:
        """Let a running attempt know how it is to go on: a stop, its withdrawal, messages."""
        flight = flight_of(effect)
        flying = self._flying.get(flight)
        if flying is None or flying.attempt is None:
            return
        steering = flying.attempt.steering
        if effect.stop is Stop.NOW:
            self._cut_off(flight)
        elif effect.stop is Stop.AT_TURN:
            steering.request_stop()
        elif not self._closing and not self._actor.engine.spending.holds(self._actor.namespace):
            steering.withdraw_stop()
        if effect.mail > len(steering.mail):
            steering.deliver(state.mail_for(flight.task_id))

    def _cut_off(self, flight: Flight) -> None:
        if flight in self._cut or flight in self._cancelled:
            return
        self._cut[flight] = asyncio.get_running_loop().call_later(CUT_PATIENCE_S, self._give_up, flight)
        self._cancel(flight)

    def _give_up(self, flight: Flight) -> None:
        _log.error("%s of workflow %s ignores that it was cut off", _name(flight), self._actor.workflow_id)
        self._ground(flight)

    def _ground(self, flight: Flight) -> None:
        """Report an attempt as interrupted, whether or not it has begun, and give its slot back if it has not."""
        want = self._held.pop(flight, None)
        if want is not None:
            self._give_back(want)
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

    def _attempt(self, effect: Effect, state: WorkflowState) -> _Attempt | None:
        """Return both directions of an attempt whose start is stored; None for every other effect."""
        actor = self._actor
        match effect:
            case RunAttempt(task_id=task_id, attempt=attempt, agent_id=agent_id):
                progress = state.tasks[task_id].progress
                if progress.status is not TaskStatus.RUNNING or progress.attempt != attempt:
                    return None
                observer = Observer(actor, task_id, attempt, agent_id)
                return _Attempt(observer, steering_of(actor, effect, state, agent_id))
            case MakePlan(attempt=attempt) if state.progress.planning.running:
                observer = Observer(actor, "", attempt, PLANNER_ID)
                return _Attempt(observer, steering_of(actor, effect, state, PLANNER_ID))
            case _:
                return None

    def _work(self, effect: Effect, state: WorkflowState, attempt: _Attempt | None) -> Coroutine[Any, Any, None] | None:
        """Return the work of an effect that may start now; attempts wait for a slot and for their start to be stored."""
        match effect:
            case RunAttempt() if attempt:
                return self._run_attempt(effect, state, attempt)
            case MakePlan() if attempt:
                return self._make_plan(effect, state, attempt)
            case AllocateResources():
                return self._allocate(state)
            case ReleaseResources():
                return self._release(state)
            case _:
                return None

    async def _fly(self, flight: Flight, work: Coroutine[Any, Any, None], want: Want | None) -> None:
        try:
            await work
        except asyncio.CancelledError:
            if self._interrupted or flight in self._cut:
                self._ground(flight)
        finally:
            attempt = self._flying.pop(flight).attempt
            if attempt is not None:
                attempt.observer.muted = True
            patience = self._cut.pop(flight, None)
            if patience is not None:
                patience.cancel()
            self._cancelled.discard(flight)
            if want is not None:
                self._give_back(want)
            self._actor.engine.rest(self._actor)

    async def _run_attempt(self, effect: RunAttempt, state: WorkflowState, attempt: _Attempt) -> None:
        executor, caller = self._actor.engine.executor, self._actor.caller
        try:
            outcome = await executor.run_attempt(
                state,
                effect.task_id,
                effect.attempt,
                effect.run,
                caller,
                attempt.observer,
                attempt.steering,
                self._actor.origin,
            )
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - agents are anyone's code
            _pass_on_own_cancellation(error)
            outcome = AttemptOutcome(failure=_internal(f"task {effect.task_id}", state.id, error))
        if outcome.needs or not outcome.stopped:
            self._actor.engine.outages.note(effect.agent_id, outcome.failure)
        report: m.Report = m.AttemptFinished(
            effect.task_id, effect.attempt, outcome.output, outcome.failure, _jitter(), outcome.read
        )
        if outcome.needs or outcome.stopped:
            report = _stopped(effect.attempt, effect.task_id, outcome.needs)
        self._tell(report, flight_of(effect), actor=f"agent:{effect.agent_id}", blobs=outcome.blobs)

    async def _make_plan(self, effect: MakePlan, state: WorkflowState, attempt: _Attempt) -> None:
        executor, caller = self._actor.engine.executor, self._actor.caller
        try:
            outcome = await executor.make_plan(state, caller, attempt.observer, attempt.steering, self._actor.origin)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - agents are anyone's code
            _pass_on_own_cancellation(error)
            outcome = PlanOutcome(failure=_internal("planning", state.id, error))
        if outcome.needs or not outcome.stopped:
            self._actor.engine.outages.note(PLANNER_ID, outcome.failure)
        report: m.Report
        if outcome.needs or outcome.stopped:
            report = _stopped(effect.attempt, "", outcome.needs)
        elif outcome.tasks is not None:
            report = m.PlanMade(effect.attempt, outcome.tasks, outcome.read)
        else:
            failure = outcome.failure or Failure(FailureKind.INTERNAL, "The planner ended with nothing.")
            report = m.PlanFailed(effect.attempt, failure, outcome.problems, _jitter())
        actor = f"agent:{PLANNER_ID}"
        self._tell(report, flight_of(effect), actor=actor, blobs=outcome.blobs)

    async def _allocate(self, state: WorkflowState) -> None:
        pause_s = HOOK_RETRY_S[0]
        while True:
            try:
                refusal = await self._actor.engine.executor.allocate(state, self._actor.caller, self._actor.origin)
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
            return await self._actor.engine.executor.release(state, self._actor.caller, self._actor.origin)
        except Exception as error:  # noqa: BLE001 - the log has it, and it is tried again
            _internal("releasing resources", state.id, error)
            return False


def _flight(want: Want) -> Flight:
    return Flight(RunAttempt if want.task_id else MakePlan, want.task_id, want.attempt)


def _name(flight: Flight) -> str:
    return f"{flight.kind.__name__} {flight.task_id} {flight.attempt}"


def _stopped(attempt: int, task_id: str, needs: tuple[Need, ...]) -> m.Report:
    """What an attempt reports that has stopped to go on later: when people have given what it needs, or at once."""
    if needs:
        return m.AttemptSuspended(attempt, needs, task_id)
    return m.AttemptInterrupted(attempt, task_id)


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
