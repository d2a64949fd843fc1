"""One turn of the core: the events that one message causes, and the state after them, built up together."""

from __future__ import annotations

from orcs_server.workflow.events import Event
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.model import WorkflowSpec
from orcs_server.workflow.state import WorkflowState


class Turn:
    """Collects events; after each one `state` is what the fold of the log would give."""

    __slots__ = ("_state", "events", "now_us")

    def __init__(self, state: WorkflowState | None, now_us: int) -> None:
        self._state = state
        self.now_us = now_us
        self.events: list[Event] = []

    @property
    def state(self) -> WorkflowState:
        if self._state is None:
            raise LookupError("The workflow has not been created yet.")
        return self._state

    @property
    def spec(self) -> WorkflowSpec:
        return self.state.spec

    def emit(self, event: Event) -> None:
        self._state = evolve(self._state, event, self.now_us)
        self.events.append(event)
