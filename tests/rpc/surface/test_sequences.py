"""Requests in any order: one answer for a request id, reads and watches that tell the same, refusals that change nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings

from tests.rpc.surface.sequences import run_sequences
from tests.rpc.surface.trials import MODEST, check_log
from tests.rpc.surface.world import Place


def test_requests_in_any_order_leave_everything_consistent(place: Place) -> None:
    answers: Counter[str] = Counter()
    run_sequences(place.world("sequences"), answers, settings(MODEST, max_examples=15, stateful_step_count=15))
    assert answers["OK"] > answers.total() / 10
    check_log(place.log())
