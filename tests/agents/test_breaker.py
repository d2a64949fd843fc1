"""When a model server is left alone, when it is asked again, and what that costs; by a clock that the test sets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from orcs_server.agents.asking import Asking
from orcs_server.agents.breaker import RETRY_AFTER_LIMIT_US, Breaker, BreakerRules, Breakers, Leave
from orcs_server.agents.failures import ModelCallError
from orcs_server.agents.run_calls import RunCalls
from orcs_server.agents.watchdog import CallLimits
from orcs_server.workflow.model import Failure, FailureKind

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
RULES = BreakerRules(failures=3, first_pause_us=SECOND, longest_pause_us=8 * SECOND, patience_us=60 * SECOND)
DOWN = Failure(FailureKind.CONNECTION, "The connection broke.", retryable=True)


class Endpoint:
    """A breaker, its clock, and the calls that a test makes."""

    def __init__(self, rules: BreakerRules = RULES, jitter: float = 1.0) -> None:
        self.now_us = START
        self.jitter = jitter
        self.breaker = Breaker("http://models.example/v1", rules, lambda: self.now_us, lambda: self.jitter)

    def is_down(self) -> bool:
        return self.breaker.is_open

    def leave(self) -> Leave:
        leave = self.breaker.enter()
        assert isinstance(leave, Leave)
        return leave

    def held(self) -> Failure:
        failure = self.breaker.enter()
        assert isinstance(failure, Failure)
        return failure

    def fail(self, failure: Failure = DOWN) -> Failure:
        return self.breaker.failed(self.leave(), failure)

    def go_down(self) -> None:
        for _ in range(RULES.failures):
            self.fail()
        assert self.is_down()


def outage(kind: FailureKind) -> Failure:
    return Failure(kind, "No.", retryable=True)


def test_the_failure_that_makes_it_an_outage_is_the_first_that_costs_nothing() -> None:
    endpoint = Endpoint()
    costs = [not endpoint.fail().spares_budget for _ in range(3)]
    assert costs == [True, True, False]


@pytest.mark.parametrize("kind", ["CONNECTION", "SERVER_ERROR", "TIMEOUT", "TRUNCATED"])
def test_each_kind_of_outage_counts(kind: str) -> None:
    endpoint = Endpoint()
    for _ in range(3):
        endpoint.fail(outage(FailureKind(kind)))
    assert endpoint.held().kind == kind


@pytest.mark.parametrize(
    "answer",
    [
        outage(FailureKind.RATE_LIMITED),
        Failure(FailureKind.REFUSED, "No."),
        Failure(FailureKind.AUTHENTICATION, "No."),
        Failure(FailureKind.TRUNCATED, "The output limit."),
    ],
)
def test_a_refusal_is_an_answer(answer: Failure) -> None:
    endpoint = Endpoint()
    for _ in range(5):
        endpoint.fail()
        endpoint.fail()
        assert endpoint.fail(answer) == answer
    assert not endpoint.is_down()


def test_an_answer_begins_the_count_anew_and_our_own_mistakes_say_nothing() -> None:
    endpoint = Endpoint()
    endpoint.fail()
    endpoint.fail()
    endpoint.breaker.answered(endpoint.leave())
    endpoint.fail()
    endpoint.fail(Failure(FailureKind.INTERNAL, "A mistake of ours."))
    endpoint.fail()
    assert not endpoint.is_down()
    endpoint.fail()
    assert endpoint.is_down()


def test_while_it_is_down_nobody_calls_and_everybody_is_told_when_to_come_back() -> None:
    endpoint = Endpoint()
    endpoint.go_down()
    endpoint.now_us += 400_000
    held = endpoint.held()
    assert (held.kind, held.retryable, held.spares_budget) == (FailureKind.CONNECTION, True, True)
    assert held.retry_after_us == 600_000
    assert held.message.startswith("The model server at http://models.example/v1 has been down since 22:13:20 UTC")
    assert "asked again at 22:13:21 UTC" in held.message
    assert "The connection broke." in held.message


def test_one_call_at_a_time_asks_whether_it_is_up_again() -> None:
    endpoint = Endpoint()
    endpoint.go_down()
    endpoint.now_us += SECOND
    probe = endpoint.leave()
    told = endpoint.held()
    assert "is being asked again" in told.message
    assert told.retry_after_us == SECOND
    endpoint.breaker.answered(probe)
    assert not endpoint.is_down()
    endpoint.leave()


def test_the_pauses_grow_to_their_limit() -> None:
    endpoint = Endpoint()
    endpoint.go_down()
    pauses = []
    for _ in range(6):
        pause = endpoint.held().retry_after_us
        assert pause is not None
        pauses.append(pause // SECOND)
        endpoint.now_us += pause
        failed = endpoint.fail()
        assert failed.spares_budget
        assert failed.retry_after_us == endpoint.held().retry_after_us
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_the_jitter_halves_a_pause_at_most() -> None:
    endpoint = Endpoint(jitter=0.0)
    endpoint.go_down()
    assert endpoint.held().retry_after_us == SECOND // 2


def test_a_server_that_says_when_to_come_back_is_not_asked_before() -> None:
    endpoint = Endpoint()
    endpoint.fail()
    endpoint.fail()
    endpoint.fail(Failure(FailureKind.SERVER_ERROR, "Overloaded.", retryable=True, retry_after_us=20 * SECOND))
    assert endpoint.held().retry_after_us == 20 * SECOND


def test_one_answer_does_not_keep_everybody_away_for_hours() -> None:
    endpoint = Endpoint()
    endpoint.fail()
    endpoint.fail()
    own = endpoint.fail(Failure(FailureKind.SERVER_ERROR, "Maintenance.", retryable=True, retry_after_us=10**13))
    assert own.retry_after_us == 10**13, "whoever was told so keeps to it"
    assert endpoint.held().retry_after_us == RETRY_AFTER_LIMIT_US


def test_a_probe_that_ends_without_a_verdict_makes_room_for_another() -> None:
    endpoint = Endpoint()
    endpoint.go_down()
    endpoint.now_us += SECOND
    cancelled = endpoint.leave()
    endpoint.breaker.dropped(cancelled)
    second = endpoint.leave()
    endpoint.breaker.dropped(cancelled)
    endpoint.held()
    endpoint.breaker.failed(second, Failure(FailureKind.INTERNAL, "A mistake of ours."))
    assert endpoint.is_down()
    endpoint.leave()


def test_calls_that_began_before_the_outage_cost_nothing_and_decide_nothing() -> None:
    endpoint = Endpoint()
    early = [endpoint.leave() for _ in range(4)]
    endpoint.go_down()
    before = endpoint.held().retry_after_us
    assert endpoint.breaker.failed(early[0], DOWN).spares_budget
    assert endpoint.held().retry_after_us == before
    endpoint.breaker.answered(early[1])
    assert endpoint.is_down()
    endpoint.now_us += SECOND
    endpoint.breaker.answered(endpoint.leave())
    late = endpoint.breaker.failed(early[2], DOWN)
    assert late.spares_budget
    assert late.retry_after_us is None
    for _ in range(2):
        endpoint.fail()
    assert not endpoint.is_down()
    endpoint.breaker.answered(early[3])
    endpoint.fail()
    assert endpoint.is_down()


def test_patience_ends_and_failures_cost_attempts_again(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = Endpoint()
    endpoint.go_down()
    endpoint.now_us += RULES.patience_us
    assert endpoint.fail().spares_budget
    endpoint.now_us += 1
    with caplog.at_level(logging.WARNING, "orcs.models"):
        caplog.clear()
        told = [endpoint.held(), endpoint.held()]
        endpoint.now_us += 8 * SECOND
        told.append(endpoint.fail())
    assert not any(failure.spares_budget for failure in told)
    assert all(failure.retryable and failure.retry_after_us for failure in told)
    assert "lasted too long" in told[0].message
    assert len(caplog.messages) == 1


def test_an_outage_is_two_lines_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = Endpoint()
    with caplog.at_level(logging.INFO, "orcs.models"):
        endpoint.go_down()
        for _ in range(5):
            endpoint.now_us += 8 * SECOND
            endpoint.fail()
        endpoint.now_us += 8 * SECOND
        endpoint.breaker.answered(endpoint.leave())
    down, up = caplog.messages
    assert down.startswith("the model server at http://models.example/v1 is down: 3 calls in a row failed")
    assert up == "the model server at http://models.example/v1 answers again, after 48 s"


def test_each_endpoint_has_one_breaker_of_its_own_and_those_that_are_up_may_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orcs_server.agents.breaker.ENDPOINTS_KEPT", 2)
    breakers = Breakers(RULES, lambda: START)
    down, up = breakers.of("down"), breakers.of("up")
    assert breakers.of("down") is down
    for _ in range(3):
        leave = down.enter()
        assert isinstance(leave, Leave)
        down.failed(leave, DOWN)
    assert not up.is_open
    breakers.of("third")
    assert breakers.of("down") is down
    assert breakers.of("up") is not up


async def silent_after(*events: str) -> AsyncIterator[Any]:
    for event in events:
        yield SimpleNamespace(type=event)
    await asyncio.Event().wait()


async def ask_in_vain(endpoint: Endpoint, limits: CallLimits, *events: str) -> Failure:
    asking = Asking(RunCalls(limits=limits), endpoint.breaker)
    stream = silent_after(*events)
    try:
        while await asking.next(stream) is not None:
            pass
    except (ModelCallError, TimeoutError) as error:
        return asking.failure_of(error)
    finally:
        asking.close()
    raise AssertionError("the stream came to its end")


async def test_a_server_that_says_nothing_is_down_and_one_that_takes_its_time_is_not() -> None:
    slow, silent = Endpoint(), Endpoint()
    limits = CallLimits(total=0.02)
    for _ in range(RULES.failures):
        assert (await ask_in_vain(slow, limits, "response.created")).kind is FailureKind.TIMEOUT
        assert (await ask_in_vain(silent, limits)).kind is FailureKind.TIMEOUT
    assert not slow.is_down()
    assert silent.is_down()


async def test_silence_counts_in_the_middle_of_an_item_only() -> None:
    endpoint = Endpoint()
    limits = CallLimits(total=0.2, stall=0.02)
    added, delta, done = "response.output_item.added", "response.output_text.delta", "response.output_item.done"
    said = {
        events: (await ask_in_vain(endpoint, limits, *events)).message.partition(".")[0]
        for events in ((added,), (added, delta), (added, delta, done), (added, delta, done, added, delta))
    }
    late, stalled = "The model server did not answer in time", "The model server fell silent in mid-answer for 0"
    assert list(said.values()) == [late, stalled, late, stalled]
    assert not endpoint.is_down()


async def test_a_call_that_is_cancelled_says_nothing_and_leaves_room_for_another() -> None:
    endpoint = Endpoint()
    endpoint.go_down()
    endpoint.now_us += SECOND
    probe = asyncio.create_task(ask_in_vain(endpoint, CallLimits()))
    await asyncio.sleep(0)
    endpoint.held()
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert endpoint.is_down()
    endpoint.leave()
