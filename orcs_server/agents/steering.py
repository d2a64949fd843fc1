"""What an attempt is told while it runs, and what it knows of people. No Agents SDK here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from orcs_server.storage.store import Blob
from orcs_server.workflow.model import TaskSpec
from orcs_server.workflow.people import MessageMode, PendingInput, PersonMessage

Settled = Callable[[], Awaitable[None]]
Propose = Callable[[tuple[TaskSpec, ...], tuple[Blob, ...]], Awaitable[None]]


class Steering:
    """One per attempt, on one event loop: the engine changes it, the run reads it."""

    def __init__(
        self,
        *,
        mail: Sequence[PersonMessage] = (),
        inputs: Sequence[PendingInput] = (),
        settled: Settled | None = None,
        propose: Propose | None = None,
    ) -> None:
        """Begin with the messages to the agent, in the order in which they came, and with all that the workflow ever asked.

        `settled` returns once what was spent so far has been counted. `propose` adds tasks to the plan, or raises an OrcsError.
        """
        self.mail = tuple(mail)
        self.inputs = tuple(inputs)
        self.settled = settled
        self.propose = propose
        self.stop = False
        """Stop before the next model call."""
        self.read = 0
        """How many of the messages the run has put before its model."""
        self._interrupting = False
        self._give_up: Callable[[], None] | None = None

    def request_stop(self) -> None:
        """Have the run stop before its next model call."""
        self.stop = True

    def withdraw_stop(self) -> None:
        """Have the run go on after all, unless it has stopped already."""
        self.stop = False

    def deliver(self, mail: Sequence[PersonMessage]) -> None:
        """Take the messages as they are now; the list only grows. A new INTERRUPT one gives up the model call that streams."""
        known = len(self.mail)
        self.mail = tuple(mail)
        if any(one.mode is MessageMode.INTERRUPT for one in self.mail[known:]):
            self._interrupting = True
            if self._give_up is not None:
                self._give_up()

    def caught_up(self) -> None:
        """Take note that all messages are read: what was to be given up for them is."""
        self._interrupting = False

    @contextmanager
    def interrupts(self, give_up: Callable[[], None]) -> Iterator[None]:
        """Within this a message that interrupts, or has done so since the last one was read, calls `give_up`."""
        self._give_up = give_up
        if self._interrupting:
            give_up()
        try:
            yield
        finally:
            self._give_up = None
