"""Which agents wait for their model server, as the ends of their attempts tell."""

from __future__ import annotations

import asyncio

import pytest

from orcs_server.engines.local import outages
from orcs_server.engines.local.outages import Outages
from orcs_server.engines.local.slots import Slots, Ticket, Want
from orcs_server.workflow.model import Failure, FailureKind

DOWN = Failure(FailureKind.CONNECTION, "It is down.", retryable=True, retry_after_us=1, spares_budget=True)
LATER = Failure(FailureKind.CONNECTION, "It is down.", retryable=True, retry_after_us=10**12, spares_budget=True)


class Queue:
    def __init__(self) -> None:
        self.slots = Slots(10)
        self.outages = Outages(self.slots)
        self.served = asyncio.Semaphore(0)
        self.count = 0
        self._ticket = Ticket("one", self._grant)

    def _grant(self, _: Want) -> None:
        self.count += 1
        self.served.release()

    def ask(self, wants: int) -> None:
        self.slots.ask(self._ticket, [Want(f"t{n}", 1, "worker") for n in range(wants)])

    def end(self, failure: Failure | None) -> None:
        self.slots.release("one", "worker")
        self.outages.note("worker", failure)


async def test_one_attempt_finds_out_and_its_success_lets_all_others_go() -> None:
    queue = Queue()
    queue.outages.note("worker", LATER)
    queue.ask(3)
    assert queue.count == 0
    queue.outages.note("worker", DOWN)
    await queue.served.acquire()
    assert queue.count == 1
    queue.end(LATER)
    assert queue.count == 1
    queue.end(None)
    assert queue.count == 3


async def test_an_attempt_that_was_to_find_out_and_is_never_heard_of_again_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outages, "NEXT_TRY_S", 0.01)
    queue = Queue()
    queue.outages.note("worker", DOWN)
    queue.ask(3)
    for _ in range(3):
        await queue.served.acquire()
    queue.outages.close()


async def test_after_a_shutdown_nothing_is_looked_at() -> None:
    queue = Queue()
    queue.outages.note("worker", DOWN)
    queue.ask(1)
    queue.outages.close()
    await asyncio.sleep(0.01)
    assert queue.count == 0


async def test_other_failures_hold_nobody_back() -> None:
    queue = Queue()
    queue.outages.note("worker", Failure(FailureKind.RATE_LIMITED, "Slow down.", retryable=True, retry_after_us=10**12))
    queue.ask(1)
    assert queue.count == 1
