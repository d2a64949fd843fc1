"""One call of a model server: leave to make it, its limits of time, and what its end says of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agents.items import TResponseStreamEvent

from orcs_server.agents.breaker import Breaker, Leave, is_outage
from orcs_server.agents.failures import ModelCallError, call_failure, stalled
from orcs_server.agents.run_calls import RunCalls
from orcs_server.agents.watchdog import StalledError, TotalExceededError, Watchdog
from orcs_server.workflow.model import Failure

_ITEM_BOUNDS = frozenset({"response.output_item.added", "response.output_item.done"})


class Asking:
    """From the leave to make a call to its end, which is told by `answered`, `failure_of` or, at any rate, `close`."""

    __slots__ = ("_begun", "_breaker", "_calls", "_leave", "_watchdog")

    def __init__(self, calls: RunCalls, breaker: Breaker | None) -> None:
        """Take leave to call. Raises ModelCallError while the server is left alone."""
        self._calls = calls
        self._breaker = breaker
        self._leave: Leave | None = None
        self._begun = False
        self._watchdog = Watchdog(calls.limits)
        if breaker is not None:
            leave = breaker.enter()
            if isinstance(leave, Failure):
                self._end_run(leave)
                raise ModelCallError(leave)
            self._leave = leave

    async def next(self, events: AsyncIterator[TResponseStreamEvent]) -> TResponseStreamEvent | None:
        """Return the next event, None at the end. Raises what the stream raises, TotalExceededError, and StalledError when
        the stream falls silent in the middle of an item: between items the model may think for long, and before the first one
        the server may queue.
        """
        event = await self._watchdog.next(events)
        if event is not None:
            self._begun = True
            if event.type.endswith(".delta"):
                self._watchdog.writing = True
            elif event.type in _ITEM_BOUNDS:
                self._watchdog.writing = False
        return event

    def give_up(self) -> None:
        """Let the wait for the next event raise GivenUpError, now or when it begins."""
        self._watchdog.give_up()

    def answered(self) -> None:
        """The server gave a whole answer."""
        if self._breaker is not None and self._leave is not None:
            self._breaker.answered(self._leave)

    def failure_of(self, error: Exception) -> Failure:
        """Return the failure for what the call raised, as one that spares the attempt's budget if the server is down."""
        if isinstance(error, ModelCallError):
            failure = error.failure
        elif isinstance(error, StalledError):
            failure = stalled(self._calls.limits.stall or 0)
        else:
            failure = call_failure(error)
        if self._breaker is None or self._leave is None:
            return failure
        if isinstance(error, TotalExceededError) and self._begun:
            return failure  # A server that is at it is not down.
        failure = self._breaker.failed(self._leave, failure)
        if is_outage(failure):
            self._end_run(failure)
        return failure

    def close(self) -> None:
        """The call is over, however it ended."""
        self._watchdog.close()
        if self._breaker is not None and self._leave is not None:
            self._breaker.dropped(self._leave)

    def _end_run(self, failure: Failure) -> None:
        """End the whole run, so that it goes on from here: a nested agent's outage is nothing for the outer one to work around."""
        if self._calls.journal is not None:
            self._calls.journal.end(failure)
