"""Whatever is sent, the answer is a documented one, and what is refused changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.rpc.surface.methods import methods
from tests.rpc.surface.trials import MODEST, Trials, check_log, try_damage, try_requests
from tests.rpc.surface.world import Place

WHOLE = settings(MODEST, max_examples=40)
DAMAGED = settings(MODEST, max_examples=25)


@pytest.fixture(scope="module")
def answers(place: Place) -> Iterator[Counter[str]]:
    answers: Counter[str] = Counter()
    yield answers
    # Most are meant to be refused, and some must get through, or nothing behind the checks was reached. Of a few kinds of
    # requests, when only some of the tests are run, this need not hold.
    total = answers.total()
    if total > 20 * len(methods()):
        assert total / 10 < answers["OK"] < total * 3 / 4, answers
    check_log(place.log())


@pytest.mark.parametrize("name", methods())
def test_any_request_gets_a_documented_answer(place: Place, answers: Counter[str], name: str) -> None:
    try_requests(Trials(place.world(name), answers), methods()[name], WHOLE)


@pytest.mark.parametrize("name", methods())
def test_a_damaged_request_gets_a_documented_answer(place: Place, answers: Counter[str], name: str) -> None:
    try_damage(Trials(place.world(name), answers), methods()[name], DAMAGED)
