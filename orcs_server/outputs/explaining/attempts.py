"""Attempts, put together from the events that tell of them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from orcs_server.outputs.explaining.explanation import Attempt, AttemptEnding, Attempts
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.model import PlanSource

ATTEMPTS_LIMIT = 20
"""Attempts of a task that are told of one by one."""

_CUT_OFF = (
    e.TaskCancelled | e.TaskFailed | e.TaskSkipped | e.TaskReopened | e.ReplanRequested
    | e.WorkflowFailed | e.WorkflowCancelled
)  # fmt: skip


class AttemptsSeen:
    """The latest attempts of one task, or of the planner. Events of others are for the caller to keep away."""

    def __init__(self) -> None:
        self._latest: dict[int, Attempt] = {}

    def learn(self, record: EventRecord) -> None:  # noqa: C901, PLR0912 - one branch for each event
        """Take in the next event."""
        event = record.event
        match event:
            case e.AttemptStarted():
                self._begin(Attempt(event.attempt, event.run, record.time_us))
            case e.PlanningStarted():
                self._begin(Attempt(event.attempt, 0, record.time_us))
            case e.AttemptSucceeded():
                self._end(record, AttemptEnding.SUCCEEDED)
            case e.PlanAdopted():
                self._end(record, AttemptEnding.SUCCEEDED)
            case e.PlanAmended() if event.source is PlanSource.PLANNER:
                self._end(record, AttemptEnding.SUCCEEDED)
            case e.AttemptFailed() | e.PlanRejected():
                self._end(record, AttemptEnding.FAILED, failure=event.failure)
            case e.AttemptTimedOut():
                self._end(record, AttemptEnding.TIMED_OUT, failure=event.failure)
            case e.AttemptSuspended():
                self._end(record, AttemptEnding.SUSPENDED, input_ids=event.input_ids)
            case e.AttemptInterrupted():
                self._end(record, AttemptEnding.INTERRUPTED)
            case e.AttemptLost():
                self._end(record, AttemptEnding.LOST)
            case e.UsageRecorded():
                # It may come after the attempt's end.
                if event.attempt in self._latest:
                    self._latest[event.attempt] = replace(
                        self._latest[event.attempt], calls=event.calls, usage=event.usage
                    )
            case _ if isinstance(event, _CUT_OFF):
                self._end(record, AttemptEnding.CUT_OFF)
            case _:
                pass  # It tells nothing of an attempt.

    def shown(self, begun: int) -> Attempts:
        """Return the attempts, of which `begun` have begun in all."""
        latest = tuple(self._latest.values())
        return Attempts(latest, max(begun - len(latest), 0))

    def _begin(self, attempt: Attempt) -> None:
        self._latest[attempt.number] = attempt
        if len(self._latest) > ATTEMPTS_LIMIT:
            del self._latest[next(iter(self._latest))]

    def _end(self, record: EventRecord, ending: AttemptEnding, **more: Any) -> None:
        """End the attempt that runs. There is none where a log begins in the middle, or where one ended before its task."""
        last = next(reversed(self._latest.values()), None)
        if last is not None and last.ending is None:
            self._latest[last.number] = replace(last, ended_us=record.time_us, ending=ending, **more)
