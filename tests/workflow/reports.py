"""What an effect may report: as it is to be, as it may be, and out of nowhere."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace

from orcs_server.workflow import effects as f
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import Failure, FailureKind, Output, TaskSpec, Usage
from orcs_server.workflow.people import IfUnanswered, InputKind, Need
from orcs_server.workflow.state import WorkflowState
from tests.workflow.strategies import TEXT, bad_plans, rarely

OUTPUTS = (Output(TEXT, "text/plain", 1), Output(TEXT, "text/plain", 2))
OUTPUT = OUTPUTS[0]
JITTERS = st.floats(0, 1)
FAILURES = st.builds(
    Failure,
    st.sampled_from([FailureKind.SERVER_ERROR, FailureKind.REFUSED]),
    st.just("It did not work."),
    st.booleans(),
    st.none() | st.integers(0, 10),
    rarely,
)
_ASKED = st.sampled_from([InputKind.QUESTION, InputKind.QUESTION, InputKind.TOOL_APPROVAL, InputKind.UNSAFE_RERUN])
NEEDS = st.builds(
    Need,
    _ASKED,
    st.just("Shall it?"),
    st.sampled_from(["", "call_1", "call_2"]),
    expires_after_us=st.none() | st.integers(1, 20),
    default=st.none() | st.just(TEXT),
    if_unanswered=st.sampled_from(IfUnanswered),
)


def new_plan(state: WorkflowState, plan: tuple[TaskSpec, ...]) -> tuple[TaskSpec, ...]:
    """Return the plan with ids that were never used."""
    if not state.tasks and not state.progress.retired:
        return plan
    names = {task.id: f"{task.id}-{state.progress.planning.replans}" for task in plan}
    return tuple(
        replace(task, id=names[task.id], dependencies=tuple(names[name] for name in task.dependencies)) for task in plan
    )


@st.composite
def reports(draw: st.DrawFn, effect: f.Effect, state: WorkflowState, plan: tuple[TaskSpec, ...]) -> list[m.Message]:
    """What an effect may report, in the order in which it would."""
    match effect:
        case f.MakePlan():
            bad = m.PlanMade(effect.attempt, draw(bad_plans()), effect.mail)
            malformed = m.PlanFailed(effect.attempt, draw(FAILURES), ("It is no JSON.",))
            failed = m.PlanFailed(effect.attempt, draw(FAILURES), (), draw(JITTERS))
            asks = m.AttemptSuspended(effect.attempt, tuple(draw(st.lists(NEEDS, max_size=2))))
            made = m.PlanMade(effect.attempt, new_plan(state, plan), effect.mail)
            ends: list[m.Message] = [made, made, bad, malformed, failed, asks]
            usage = m.UsageRecorded(effect.attempt, 1, Usage(1, draw(st.integers(0, 9))))
            return [usage, draw(_ending(ends, effect.stop, effect.attempt, ""))]
        case f.RunAttempt():
            return draw(_of_attempt(effect))
        case f.AllocateResources():
            refused = draw(st.sampled_from([False, False, False, True]))
            return [m.ResourcesRefused("None are left.")] if refused else [m.ResourcesGranted()]
        case f.ReleaseResources():
            return [m.ResourcesReleased()]
        case f.WakeAt():
            raise AssertionError("a wake-up is never in flight")


@st.composite
def _of_attempt(draw: st.DrawFn, effect: f.RunAttempt) -> list[m.Message]:
    name, attempt = effect.task_id, effect.attempt
    used = [m.UsageRecorded(attempt, n, Usage(n, 10 * n), name) for n in range(1, draw(st.integers(0, 3)) + 1)]
    other_course = [m.JournalMismatch(attempt, 0, "", name)] if draw(st.booleans()) else []
    well = m.AttemptFinished(name, attempt, draw(st.sampled_from(OUTPUTS)), read=effect.mail)
    badly = m.AttemptFinished(name, attempt, None, draw(st.none() | FAILURES), draw(JITTERS))
    asks = m.AttemptSuspended(attempt, tuple(draw(st.lists(NEEDS, min_size=1, max_size=2))), name)
    return [*used, *other_course, draw(_ending([well, well, badly, asks], effect.stop, attempt, name))]


@st.composite
def _ending(draw: st.DrawFn, ends: list[m.Message], stop: f.Stop, attempt: int, name: str) -> m.Message:
    """An attempt that is to stop mostly does; it may have come to its own end before."""
    if stop is not f.Stop.NONE and draw(st.booleans()):
        return m.AttemptInterrupted(attempt, name)
    return draw(st.sampled_from(ends))


def ended(name: str, attempt: int) -> list[m.Message]:
    """Every way in which this attempt may have ended."""
    why = Failure(FailureKind.SERVER_ERROR, "Nobody asked for this.", retryable=True)
    stopped: list[m.Message] = [
        m.AttemptInterrupted(attempt, name),
        m.AttemptLost(attempt, name),
        m.AttemptSuspended(attempt, (Need(InputKind.QUESTION, "Who asks?"),), name),
    ]
    if name:
        finished = [m.AttemptFinished(name, attempt, OUTPUT, read=99), m.AttemptFinished(name, attempt, None, why)]
        return [*stopped, *finished]
    return [*stopped, m.PlanMade(attempt, (), 99), m.PlanFailed(attempt, why)]


def strays(name: str, attempt: int) -> list[m.Message]:
    """Every kind of report, whether or not anything of the kind is under way."""
    return [
        *ended(name, attempt),
        m.SlotGranted(attempt, name),
        m.UsageRecorded(attempt, 9, Usage(9), name),
        m.JournalMismatch(attempt, 1, "call", name),
        m.ResourcesGranted(),
        m.ResourcesRefused("Nobody asked for this."),
        m.ResourcesReleased(),
        m.Tick(),
    ]
