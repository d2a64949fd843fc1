"""How long to wait before another attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcs_server.workflow.backoff import RETRY_AFTER_LIMIT_US, backoff_us
from orcs_server.workflow.model import Failure, FailureKind, RetryPolicy

SECOND = 1_000_000
POLICY = RetryPolicy(max_attempts=5, initial_backoff_us=SECOND, max_backoff_us=10 * SECOND, multiplier=2.0)
FAILURE = Failure(FailureKind.SERVER_ERROR, "It did not work.", retryable=True)


def asking_for(us: int) -> Failure:
    return Failure(FailureKind.RATE_LIMITED, "Slow down.", retryable=True, retry_after_us=us)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (100, 10)])
def test_the_bound_doubles_up_to_its_limit(failures: int, seconds: int) -> None:
    assert backoff_us(POLICY, failures, 1.0, FAILURE) == seconds * SECOND


@pytest.mark.parametrize(("jitter", "us"), [(0.0, 0), (0.25, SECOND // 2), (0.5, SECOND), (1.0, 2 * SECOND)])
def test_the_jitter_picks_any_point_below_the_bound(jitter: float, us: int) -> None:
    assert backoff_us(POLICY, 2, jitter, FAILURE) == us


@pytest.mark.parametrize(("jitter", "us"), [(-1.0, 0), (7.0, SECOND)])
def test_a_jitter_out_of_bounds_counts_as_the_bound(jitter: float, us: int) -> None:
    assert backoff_us(POLICY, 1, jitter, FAILURE) == us


def test_whoever_asks_for_more_patience_gets_it() -> None:
    assert backoff_us(POLICY, 1, 1.0, asking_for(30 * SECOND)) == 30 * SECOND


def test_whoever_asks_for_less_patience_gets_the_backoff() -> None:
    assert backoff_us(POLICY, 1, 1.0, asking_for(1)) == SECOND


def test_nobody_is_believed_who_asks_for_more_than_an_hour() -> None:
    assert backoff_us(POLICY, 1, 1.0, asking_for(10**15)) == RETRY_AFTER_LIMIT_US


def test_a_negative_wish_is_no_wish() -> None:
    assert backoff_us(POLICY, 1, 0.0, asking_for(-SECOND)) == 0


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.floats(1, 10),
    st.integers(1, 100),
    st.floats(0, 1),
    st.none() | st.integers(0, 10**12),
)
def test_the_pause_is_never_negative_nor_above_its_limits(
    initial: int, longest: int, multiplier: float, failures: int, jitter: float, asked: int | None
) -> None:
    policy = RetryPolicy(100, initial, longest, multiplier)
    failure = Failure(FailureKind.SERVER_ERROR, "", retryable=True, retry_after_us=asked)
    pause = backoff_us(policy, failures, jitter, failure)
    assert min(asked or 0, RETRY_AFTER_LIMIT_US) <= pause <= max(longest, min(asked or 0, RETRY_AFTER_LIMIT_US))


@pytest.mark.parametrize(("jitter", "pause"), [(0.0, 8_000_000), (0.5, 9_000_000), (1.0, 10_000_000)])
def test_who_waits_for_the_same_thing_comes_after_it_and_not_all_at_once(jitter: float, pause: int) -> None:
    busy = Failure(FailureKind.RATE_LIMITED, "Wait.", retryable=True, retry_after_us=8_000_000, spares_budget=True)
    assert backoff_us(RetryPolicy(initial_backoff_us=0), 0, jitter, busy) == pause
