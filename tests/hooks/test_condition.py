"""What is known of failing hooks: each namespace learns of its own."""

from __future__ import annotations

import pytest

from orcs_server.hooks import condition
from orcs_server.hooks.condition import Condition


def names(found: tuple[condition.Failing, ...]) -> list[tuple[str, int]]:
    return [(one.hook, one.calls) for one in found]


def test_a_namespace_learns_of_its_own_hooks_and_nobody_elses_answers_clear_them() -> None:
    known = Condition()
    known.failed("context", "raised", "red")
    known.failed("context", "hung", "red")
    known.answered("context", "blue")
    assert names(known.failing_for("red")) == [("context", 2)]
    assert known.failing_for("blue") == known.failing_for("re") == ()
    known.answered("context", "red")
    assert known.failing == ()
    assert known.failures["context", "raised"] == 1


def test_a_caller_whose_namespace_is_not_known_yet_counts_for_the_one_of_its_token() -> None:
    known = Condition()
    known.failed("factory", "nonsense", "red/ann")
    assert names(known.failing_for("red")) == [("factory", 1)]
    assert known.failing_for("ann") == ()


def test_of_very_many_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition, "KEPT", 2)
    known = Condition()
    for name in ("a", "b", "c"):
        known.failed("context", "raised", name)
    assert len(known.failing) == 2
    assert known.failing_for("a") == ()
