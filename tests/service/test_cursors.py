"""A cursor leads back to its own place, and to no other log, namespace or workflow."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcs_server.errors import InvalidArgument
from orcs_server.service.cursors import NamespaceCursors, WorkflowCursors

EPOCH = "0123456789abcdef"
OWN = WorkflowCursors(EPOCH, "default", "w1")
ALPHABET = string.ascii_letters + string.digits + "-_"


@given(st.integers(0, 2**63 - 1))
def test_a_cursor_leads_back_to_its_place(seq: int) -> None:
    assert OWN.seq(OWN.at(seq)) == seq


@given(st.integers(0, 35), st.sampled_from(ALPHABET + "=é \x00"), st.integers(0, 10**9))
def test_a_cursor_with_another_character_is_refused(place: int, character: str, seq: int) -> None:
    cursor = OWN.at(seq)
    changed = cursor[:place] + character + cursor[place + 1 :]
    if changed != cursor:
        with pytest.raises(InvalidArgument):
            OWN.seq(changed)


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="no cursor"):
        OWN.seq(text)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (WorkflowCursors(EPOCH, "default", "w2"), "CURSOR_INVALID"),
        (WorkflowCursors(EPOCH, "other", "w1"), "CURSOR_INVALID"),
        (NamespaceCursors(EPOCH, "default"), "CURSOR_INVALID"),
        (WorkflowCursors("f" * 16, "default", "w1"), "CURSOR_FOREIGN_EPOCH"),
    ],
)
def test_a_cursor_given_out_for_something_else_is_refused(
    other: WorkflowCursors | NamespaceCursors, reason: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        OWN.seq(other.at(7))
    assert caught.value.reason == reason
