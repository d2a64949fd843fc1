"""An engine without threads, disk or clock: it follows `due`, and can be made to lose, delay, repeat and reorder reports, to
crash, and to restart from rows. After every message it checks what may never be otherwise.
"""

from __future__ import annotations

from typing import get_args

from orcs_server.engines.reconcile import Flight, flight_of
from orcs_server.workflow import effects as f
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import take
from orcs_server.workflow.due import due
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.model import TaskSpec, Usage, WorkflowSpec
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import WorkflowStatus
from tests.workflow.controls import approval
from tests.workflow.reports import OUTPUT, new_plan
from tests.workflow.rows import through_rows
from tests.workflow.witness import Witness

Startable = f.MakePlan | f.RunAttempt | f.AllocateResources | f.ReleaseResources
STARTS = (e.AttemptStarted, e.PlanningStarted)
OF_RESOURCES = (m.ResourcesGranted, m.ResourcesRefused, m.ResourcesReleased)


class SimulatedEngine:
    """One workflow, what the engine has in flight for it, and the reports that are on their way."""

    def __init__(self, spec: WorkflowSpec, tasks: tuple[TaskSpec, ...] | None) -> None:
        self.now_us = 0
        self.log: list[tuple[int, e.Event]] = []
        self.in_flight: list[Startable] = []
        self.mailbox: list[m.Message] = []
        self.delivered: list[m.Message] = []
        self.witness = Witness(spec)
        self.state: WorkflowState = self._taken(None, m.CreateWorkflow("tests", "w", spec, tasks))[0]

    # Messages

    def _taken(self, state: WorkflowState | None, message: m.Message) -> tuple[WorkflowState, list[e.Event]]:
        after, events = take(state, message, self.now_us)
        assert after is not None
        for event in events:
            state = evolve(state, event, self.now_us)
            self.log.append((self.now_us, event))
            self.witness.see(event, state)
        assert state == after, "the state is not the fold of the events"
        return after, events

    def send(self, message: m.Message) -> list[e.Event]:
        """Hand the message to the core, and remember it if it is a report, which may come again."""
        self.state, events = self._taken(self.state, message)
        if any(isinstance(event, e.WorkflowReopened) for event in events):
            # It asks for its resources anew: what was said of them before is about others.
            self.delivered = [one for one in self.delivered if not isinstance(one, OF_RESOURCES)]
        if isinstance(message, m.SlotGranted):
            comes_again = any(isinstance(event, STARTS) for event in events)
        else:
            comes_again = isinstance(message, get_args(m.Report)) and not isinstance(message, m.Tick)
        if comes_again:
            self.delivered.append(message)
        return events

    def redeliver(self, messages: list[m.Message]) -> list[e.Event]:
        """Return what these messages would cause if they came again now."""
        return [event for message in messages for event in take(self.state, message, self.now_us)[1]]

    # Following `due`

    def due(self) -> list[f.Effect]:
        return due(self.state, self.now_us)

    def missing(self) -> list[Startable]:
        """What is due and not in flight."""
        flying = self.flights()
        return [one for one in self.due() if not isinstance(one, f.WakeAt) and flight_of(one) not in flying]

    def flights(self) -> set[Flight]:
        return {flight_of(effect) for effect in self.in_flight}

    def to_be_started(self) -> bool:
        """Say whether the workflow waits for somebody to start it."""
        state = self.state
        held = state.gate is not None or state.progress.planning.replanning
        return state.status is WorkflowStatus.READY and not state.spec.auto_start and not held

    def cancel_unlisted(self) -> None:
        """Cut off what is due no more, and tell the rest of stops and messages."""
        listed = {flight_of(effect): effect for effect in self.due()}
        told = [listed.get(flight_of(effect)) for effect in self.in_flight]
        self.in_flight = [effect for effect in told if effect is not None and not isinstance(effect, f.WakeAt)]

    def start(self, effect: Startable) -> None:
        """Store the start of an attempt, unless it is stored already (its report was lost), and put the effect in flight."""
        state = self.state
        if isinstance(effect, f.RunAttempt) and state.tasks[effect.task_id].progress.attempt < effect.attempt:
            started = self.send(m.SlotGranted(effect.attempt, effect.task_id))
            kinds = [type(event) for event in started]
            if kinds == [e.BudgetExceeded, e.InputRequested, e.TaskHeld]:
                return
            assert kinds == [e.AttemptStarted], "what is due may start"
        elif isinstance(effect, f.MakePlan) and state.progress.planning.attempt < effect.attempt:
            deadline_us = self.now_us + state.spec.task_timeout_us
            assert self.send(m.SlotGranted(effect.attempt)) == [e.PlanningStarted(effect.attempt, deadline_us)]
        self.in_flight.append(effect)

    def wake(self, jitter: float) -> None:
        """Send a Tick if a wake-up time has come."""
        if any(isinstance(effect, f.WakeAt) and effect.time_us <= self.now_us for effect in self.due()):
            self.send(m.Tick(jitter))

    def settle_clock(self) -> None:
        """Wake until no wake-up time lies behind."""
        for _ in range(10 + 5 * len(self.state.tasks) + len(self.state.open_inputs)):
            self.wake(1.0)
        times = [effect.time_us for effect in self.due() if isinstance(effect, f.WakeAt)]
        assert all(time_us > self.now_us for time_us in times), "a Tick does not take its wake-up time away"

    # Faults

    def crash(self, progressed: bool) -> None:
        """Lose the process: reports under way are gone, the state comes from the rows, running attempts are lost."""
        self.mailbox.clear()
        self._restart()
        for message in self._running(lost=True, progressed=progressed):
            self.send(message)

    def shut_down(self) -> None:
        """Stop in good order: every running attempt is stored as interrupted."""
        for message in self._running(lost=False):
            self.send(message)
        self.mailbox.clear()
        self._restart()

    def _restart(self) -> None:
        self.in_flight.clear()
        self.state = through_rows(self.state)

    def _running(self, *, lost: bool, progressed: bool = False) -> list[m.Message]:
        attempts = [(self.state.tasks[name].progress.attempt, name) for _, name in self.state.running]
        planning = self.state.progress.planning
        if planning.running:
            attempts.append((planning.attempt, ""))
        if lost:
            return [m.AttemptLost(attempt, name, progressed) for attempt, name in attempts]
        return [m.AttemptInterrupted(attempt, name) for attempt, name in attempts]

    # A fair end

    def run_to_the_end(self, plan: tuple[TaskSpec, ...]) -> None:
        """Deliver what is under way and then do everything that is due, without faults, until nothing ever will be."""
        for message in self.mailbox:
            self.send(message)
        self.mailbox.clear()
        rounds = 100 + 10 * (len(self.state.tasks) + len(plan))
        while not self.state.settled:
            rounds -= 1
            assert rounds, f"a fair engine does not bring it to an end: {self.state.progress}"
            self._attend()
            self.now_us = max([self.now_us, *self._passed_wake_ups()])
            self.wake(0.5)
            self.cancel_unlisted()
            while missing := self.missing():
                self.start(missing[0])
                self.cancel_unlisted()
            while self.in_flight:
                self.send(self._good_report(self.in_flight.pop(0), plan))
                self.cancel_unlisted()

    def _attend(self) -> None:
        """Do what a well-meaning person does."""
        for freeze in (True, False):
            if self.state.progress.frozen if freeze else self.state.progress.paused:
                self.send(m.ResumeWorkflow(freeze))
        while self.state.open_inputs:
            self.send(approval(self.state.waiting()[0]))
        if self.to_be_started():
            self.send(m.StartWorkflow())

    def _passed_wake_ups(self) -> list[int]:
        """Let time pass only where there is nothing else to do."""
        listed = self.due()
        return [effect.time_us for effect in listed if isinstance(effect, f.WakeAt) and len(listed) == 1]

    def _good_report(self, effect: Startable, plan: tuple[TaskSpec, ...]) -> m.Message:
        match effect:
            case f.MakePlan():
                return m.PlanMade(effect.attempt, new_plan(self.state, plan), effect.mail)
            case f.RunAttempt():
                self.send(m.UsageRecorded(effect.attempt, 50, Usage(50, 50), effect.task_id))
                return m.AttemptFinished(effect.task_id, effect.attempt, OUTPUT, read=effect.mail)
            case f.AllocateResources():
                return m.ResourcesGranted()
            case f.ReleaseResources():
                return m.ResourcesReleased()
