"""What can only be looked up: how many workflows, calls and watchers there are, and how late the event loop is. It is looked up on the
event loop now and then, and kept for whoever collects, who comes from another thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from orcs_server.service.problems import OF_A_NAMESPACE, ProblemCode, Problems
from orcs_server.telemetry import Figure, Telemetry
from orcs_server.telemetry import metrics as t
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus

TICK_S: Final = 0.5
"""How often the loop's lag is measured."""
TICKS: Final = 10
"""After so many ticks all figures are looked up."""
AT_ONCE: Final = 1_000
"""Workflows that are looked at before others have their turn."""

Source = Callable[[], Iterable[Figure]]
_STATUSES: Final = tuple(TaskStatus)


class Figures:
    """Looks the server's figures up while it runs."""

    def __init__(self, telemetry: Telemetry, states: Callable[[], Iterable[WorkflowState]], problems: Problems) -> None:
        """`states` are those of the workflows in memory."""
        self._telemetry = telemetry
        self._states = states
        self._problems = problems
        self._sources: dict[t.Metric, Source] = {}

    def add(self, sources: Mapping[t.Metric, Source]) -> None:
        """Look these figures up as well."""
        self._sources.update(sources)

    async def run(self) -> None:
        """Measure until cancelled."""
        meters = self._telemetry.meters
        while True:
            await self.look()
            for _ in range(TICKS):
                before = time.monotonic()
                await asyncio.sleep(TICK_S)
                meters.record(t.LOOP_LAG, max(time.monotonic() - before - TICK_S, 0.0))

    async def look(self) -> None:
        """Look all figures up once."""
        workflows: Counter[tuple[str, str]] = Counter()
        tasks: Counter[tuple[str, str]] = Counter()
        by_namespace = self._telemetry.meters.by_namespace
        running = 0
        for number, state in enumerate(self._states()):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            namespace = state.namespace if by_namespace else ""
            workflows[namespace, state.status] += 1
            running += len(state.running) + state.progress.planning.running
            for status, count in zip(_STATUSES, state.progress.counts, strict=False):
                if count:
                    tasks[namespace, status] += count
        figures: dict[t.Metric, Any] = {
            t.WORKFLOWS: _by_status(workflows, WorkflowStatus),
            t.TASKS: _by_status(tasks, TaskStatus),
            t.ATTEMPTS_RUNNING: [Figure(running)],
            t.PROBLEMS: self._troubles(),
        }
        for metric, source in self._sources.items():
            self._telemetry.trouble.attempt(lambda metric=metric, source=source: figures.update({metric: [*source()]}))
        self._telemetry.observe(figures)

    def _troubles(self) -> list[Figure]:
        found = Counter(problem.code for problem in self._problems.of_all())
        # Zeros too: an alert should see that there is nothing, and not merely see nothing.
        return [Figure(found[code], {"orcs.problem": code}) for code in ProblemCode if code not in OF_A_NAMESPACE]


def _by_status(counts: Counter[tuple[str, str]], statuses: Iterable[str]) -> list[Figure]:
    if not any(namespace for namespace, _ in counts):
        return [Figure(counts["", status], {"orcs.status": status}) for status in statuses]
    return [
        Figure(count, {"orcs.status": status, "orcs.namespace": namespace})
        for (namespace, status), count in counts.items()
    ]
