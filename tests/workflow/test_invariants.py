"""The numbered promises of the core (`orcs_server/workflow/decide.py`), under random plans, faults and orders of events."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orcs_server.errors import OrcsError
from orcs_server.workflow import effects as f
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import take
from orcs_server.workflow.due import due
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.model import PlanSource, TaskSpec, WorkflowSpec
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus
from tests.workflow.controls import approval, controls
from tests.workflow.reports import JITTERS, ended, reports, strays
from tests.workflow.rows import stored, through_rows
from tests.workflow.simulation import SimulatedEngine
from tests.workflow.strategies import plans, rarely, specs

RUNNING = TaskStatus.RUNNING
REFUSALS = frozenset(
    {
        "APPROVAL_REQUIRED",
        "ILLEGAL_TRANSITION",
        "INPUT_ALREADY_RESOLVED",
        "NAMESPACE_FROZEN",
        "PLAN_INVALID",
        "STALE_APPROVAL",
        "TASK_NOT_FOUND",
        "WORKFLOW_NOT_READY",
        "WORKFLOW_TERMINAL",
    }
)


class AnyWorkflow(RuleBasedStateMachine):
    """Any workflow, under an engine to which anything may happen."""

    engine: SimulatedEngine
    plan: tuple[TaskSpec, ...]

    @initialize(spec=specs(), plan=plans(), planned=rarely)
    def create(self, spec: WorkflowSpec, plan: tuple[TaskSpec, ...], planned: bool) -> None:
        self.plan = plan
        self.engine = SimulatedEngine(spec, None if planned else plan)

    # What a fair engine does

    @rule(rounds=st.integers(1, 3), data=st.data())
    def work(self, rounds: int, data: st.DataObject) -> None:
        """Do all that is due, with whatever outcome, and have it reported at once and in order."""
        for _ in range(rounds):
            if self.engine.to_be_started():
                self.engine.send(m.StartWorkflow())
            self.follow_due(1.0)
            while self.engine.in_flight:
                self.finish_one(0, data)
            self.deliver_all()

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.engine.missing())
    def start_one(self, which: int) -> None:
        missing = self.engine.missing()
        self.engine.start(missing[which % len(missing)])

    @rule(jitter=JITTERS)
    def follow_due(self, jitter: float) -> None:
        self.engine.wake(jitter)
        self.engine.cancel_unlisted()
        while missing := self.engine.missing():
            self.engine.start(missing[0])

    @rule(which=st.integers(0, 9), data=st.data())
    @precondition(lambda self: self.engine.in_flight)
    def finish_one(self, which: int, data: st.DataObject) -> None:
        """Reports of what ended go on their way; they need not arrive in order, or at all."""
        effect = self.engine.in_flight.pop(which % len(self.engine.in_flight))
        self.engine.mailbox.extend(data.draw(reports(effect, self.engine.state, self.plan), label=str(effect)))

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.engine.mailbox)
    def deliver_one(self, which: int) -> None:
        self.engine.send(self.engine.mailbox.pop(which % len(self.engine.mailbox)))

    @rule()
    @precondition(lambda self: self.engine.mailbox)
    def deliver_all(self) -> None:
        while self.engine.mailbox:
            self.engine.send(self.engine.mailbox.pop(0))

    @rule(us=st.integers(1, 30))
    def let_time_pass(self, us: int) -> None:
        self.engine.now_us += us

    @rule(jitter=JITTERS)
    def let_time_pass_to_the_next_wake_up(self, jitter: float) -> None:
        for effect in self.engine.due():
            if isinstance(effect, f.WakeAt):
                self.engine.now_us = max(self.engine.now_us, effect.time_us)
        self.engine.wake(jitter)

    # What clients and tasks do

    @rule(data=st.data(), times=st.integers(1, 3))
    def ask(self, data: st.DataObject, times: int) -> None:
        """People ask for whatever they like, whenever they like; a refusal has a reason."""
        for _ in range(times):
            request = data.draw(controls(self.engine.state))
            try:
                self.engine.send(request)
            except OrcsError as refused:
                assert refused.reason in REFUSALS, request  # noqa: PT017 - either outcome is right

    @rule()
    @precondition(lambda self: self.engine.state.open_inputs)
    def resolve_inputs(self) -> None:
        for asked in self.engine.state.waiting():
            if self.engine.state.inputs[asked.id].open:
                self.engine.send(approval(asked))

    @rule(data=st.data(), by_client=st.booleans())
    @precondition(lambda self: self.engine.state.status in (WorkflowStatus.READY, WorkflowStatus.RUNNING))
    def propose_tasks(self, data: st.DataObject, by_client: bool) -> None:
        state = self.engine.state
        prefix = data.draw(st.sampled_from("tuvw"))
        added = data.draw(plans(prefix=prefix, known=tuple(sorted(state.tasks)[:5])))
        attempts = [(name, state.tasks[name].progress.attempt) for name in sorted(state.tasks)]
        proposer, attempt = ("", 0) if by_client else data.draw(st.sampled_from(attempts))
        source = PlanSource.CLIENT if by_client else PlanSource.TASK
        stale = not by_client and state.tasks[proposer].status is not RUNNING
        try:
            events = self.engine.send(m.TasksProposed(added, source, proposer, attempt))
            assert not (stale and events), "who has ended adds nothing"
        except OrcsError as refused:
            assert refused.reason in ("PLAN_INVALID", "ILLEGAL_TRANSITION")  # noqa: PT017 - either outcome is right

    # What goes wrong

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.engine.mailbox)
    def lose_a_report(self, which: int) -> None:
        self.engine.mailbox.pop(which % len(self.engine.mailbox))

    @rule(busy=st.booleans(), progressed=st.booleans())
    def crash(self, busy: bool, progressed: bool) -> None:
        if busy:
            self.follow_due(0.0)
        self.engine.crash(progressed)

    @rule(busy=st.booleans())
    def shut_down(self, busy: bool) -> None:
        if busy:
            self.follow_due(0.0)
        self.engine.shut_down()

    @rule(random=st.randoms(use_true_random=False))
    def redeliver_everything(self, random: Random) -> None:
        self.engine.settle_clock()
        again = self.engine.delivered.copy()
        random.shuffle(again)
        assert self.engine.redeliver(again) == []

    @rule()
    def stale_reports_change_nothing(self) -> None:
        state = self.engine.state
        current = {name: (task.progress.attempt, task.status is RUNNING) for name, task in state.tasks.items()}
        planning = state.progress.planning
        current[""] = (planning.attempt, planning.running)
        for name, (latest, running) in current.items():
            for attempt in range(-1, latest + 3):
                stale = [] if running and attempt == latest else ended(name, attempt)
                skipping = [] if attempt == latest + 1 else [m.SlotGranted(attempt, name)]
                assert self.engine.redeliver([*stale, *skipping]) == [], f"attempt {attempt} is not {latest}"

    @rule(data=st.data())
    def get_a_report_out_of_nowhere(self, data: st.DataObject) -> None:
        """Whatever arrives, the core neither falls over nor contradicts itself."""
        name = data.draw(st.sampled_from(["", "zz", *sorted(self.engine.state.tasks)]))
        messages = [message for attempt in range(-1, 4) for message in strays(name, attempt)]
        self.engine.send(data.draw(st.sampled_from(messages)))
        self.engine.delivered.clear()  # What came too early may be right later on: it is no repetition then.

    # What always holds

    @invariant()
    def the_account_agrees(self) -> None:
        self.engine.witness.check(self.engine.state, self.engine.now_us)

    @invariant()
    def no_wake_up_is_for_nothing(self) -> None:
        """A wake-up time that has come is taken away by a Tick: no engine turns in circles."""
        state, now_us = self.engine.state, self.engine.now_us
        for _ in range(len(state.timers) + len(state.tasks) + 9):
            if not any(isinstance(one, f.WakeAt) and one.time_us <= now_us for one in due(state, now_us)):
                return
            after, _ = take(state, m.Tick(), now_us)
            assert after is not None
            state = after
        raise AssertionError(f"a Tick does not take its wake-up time away: {state.timers[0]}")

    @invariant()
    def rows_hold_the_state(self) -> None:
        assert through_rows(self.engine.state) == self.engine.state

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.engine.run_to_the_end(self.plan)
        self.the_account_agrees()
        self.rows_hold_the_state()
        assert self.engine.redeliver(self.engine.delivered[::-1]) == []
        assert fold_of_stored(self.engine.log) == self.engine.state
        assert [type(event) for event in self.engine.send(m.DeleteWorkflow())] == [e.WorkflowDeleted]


TestAnyWorkflow = AnyWorkflow.TestCase


def fold_of_stored(log: list[tuple[int, e.Event]]) -> WorkflowState | None:
    """Return the fold of the events as a store gives them back."""
    state: WorkflowState | None = None
    for at_us, event in log:
        state = evolve(state, stored(event, e.Event), at_us)  # type: ignore[arg-type]
    return state
