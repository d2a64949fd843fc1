"""Where a server's figures come from: every observed metric by the part that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from orcs_server.hooks import GuardedHooks
from orcs_server.service.figures import Figures, Source
from orcs_server.service.openwatches import OpenWatches
from orcs_server.service.problems import ProblemCode, Problems
from orcs_server.service.recording import EventRecording
from orcs_server.storage.store import Disk
from orcs_server.telemetry import Figure, Telemetry
from orcs_server.telemetry import metrics as t
from orcs_server.workflow.state import WorkflowState


class Gate(Protocol):
    """What calls pass."""

    admitted: int
    refused: int

    @property
    def served(self) -> int: ...

    @property
    def waiting(self) -> int: ...


class Admission(Protocol):
    """All gates, by name."""

    @property
    def gates(self) -> Mapping[str, Gate]: ...


def server_figures(
    *,
    telemetry: Telemetry,
    states: Callable[[], Iterable[WorkflowState]],
    free_slots: Callable[[], int],
    problems: Problems,
    store: Disk,
    hooks: GuardedHooks,
    recording: EventRecording,
    open_watches: OpenWatches,
) -> Figures:
    """Return what looks up the figures of everything behind the wire."""
    figures = Figures(telemetry, states, problems)

    def dropped() -> Iterable[Figure]:
        yield Figure(telemetry.spans_dropped, {"orcs.kind": "spans"})
        yield Figure(hooks.recorder.dropped, {"orcs.kind": "hook_events"})
        yield Figure(recording.dropped, {"orcs.kind": "commits"})

    def failures() -> Iterable[Figure]:
        for (hook, kind), count in hooks.condition.failures.items():
            yield Figure(count, {"orcs.hook": hook, "error.type": kind})

    def down() -> Iterable[Figure]:
        codes = [problem.code for problem in problems.of_all()]
        yield Figure(codes.count(ProblemCode.MODEL_ENDPOINT_DOWN))

    figures.add(
        {
            t.SLOTS_FREE: lambda: [Figure(free_slots())],
            t.WATCHERS: lambda: [Figure(len(open_watches))],
            t.STORAGE_FAILURES: lambda: [Figure(store.failures)],
            t.TELEMETRY_FAILURES: lambda: [Figure(telemetry.trouble.failed)],
            t.ENDPOINTS_DOWN: down,
            t.DROPPED: dropped,
            t.HOOK_FAILURES: failures,
        }
    )
    return figures


def admission_figures(admission: Admission) -> Mapping[t.Metric, Source]:
    """Return where the figures of the calls come from."""

    def of(value: Callable[[Gate], int]) -> Source:
        return lambda: [Figure(value(gate), {"orcs.gate": name}) for name, gate in admission.gates.items()]

    return {
        t.CALLS_SERVED: of(lambda gate: gate.served),
        t.CALLS_WAITING: of(lambda gate: gate.waiting),
        t.CALLS_ADMITTED: of(lambda gate: gate.admitted),
        t.CALLS_REFUSED: of(lambda gate: gate.refused),
    }


def batch_meter(telemetry: Telemetry) -> Callable[[int, float], None] | None:
    """Return what measures each transaction; None where nobody wants to know."""
    if not telemetry.metering:
        return None
    meters = telemetry.meters

    def measure(writes: int, seconds: float) -> None:
        meters.record(t.BATCH_SIZE, writes)
        meters.record(t.COMMIT_DURATION, seconds)

    return measure
