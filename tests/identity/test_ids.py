"""Ids and the clock."""

from __future__ import annotations

import uuid

import pytest

from orcs_server.identity import WORKFLOW_ID, Clock, new_workflow_id


def test_a_workflow_id_is_a_uuid_of_version_7_and_a_valid_id() -> None:
    made = new_workflow_id()
    assert uuid.UUID(made).version == 7
    assert uuid.UUID(made).variant == uuid.RFC_4122
    assert WORKFLOW_ID.fullmatch(made)


def test_ids_made_in_later_milliseconds_sort_later(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for milliseconds in (1, 2, 1_700_000_000_000, 2**47):
        monkeypatch.setattr("time.time_ns", lambda ms=milliseconds: ms * 1_000_000)
        made.append(new_workflow_id())
    assert made == sorted(made)


def test_the_clock_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("time.time_ns", lambda: 5_000_000)
    assert clock.now_us() == 5_000
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000)
    assert clock.now_us() >= 5_000


def test_a_clock_that_was_set_back_is_waited_for_at_half_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    passed_ns, wall_ns = 0, 5_000_000_000
    monkeypatch.setattr("time.monotonic_ns", lambda: passed_ns)
    monkeypatch.setattr("time.time_ns", lambda: wall_ns + passed_ns)
    clock = Clock()
    assert clock.now_us() == 5_000_000
    wall_ns = 4_000_000_000
    shown = []
    for passed_ns in (500_000_000, 2_000_000_000, 3_000_000_000):  # noqa: B007 - the patched clock reads it
        shown.append(clock.now_us())  # noqa: PERF401
    assert shown == [5_250_000, 6_000_000, 7_000_000]
