"""What of a text may reach a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcs_server.outputs.safe_text import one_line, safe_text

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain\ttext\nünïcode 日本 👩‍👩‍👧", "plain\ttext\nünïcode 日本 👩‍👩‍👧"),
        ("\x1b[31mred\x1b[0m \x9b1;2Hhome", "red home"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b\x9d0;t\x9cc", "alinkbc"),
        ("\x1bP1$r\x1b\\a\x1b_apc\x1b\\b\x1b^pm\x1b\\c", "abc"),
        ("\x1b]0;no end, so the text stays\nnext", "0;no end, so the text stays\nnext"),
        ("\x1bcreset\x1b(Bset\x1b7", "resetset"),
        ("\x1b[\x1b[31mtwice\x1b", "twice"),
        ("a\r\nb\rc\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("evil\u202etxt.exe\u2066\u200f\ufeff", "eviltxt.exe"),
        ("bell\x07 back\x08 del\x7f nul\x00", "bell back del nul"),
        ("half \ud800 pair", "half \ufffd pair"),
    ],
)
def test_what_controls_goes_and_what_prints_stays(text: str, kept: str) -> None:
    assert safe_text(text) == kept


@given(st.text(alphabet=st.sampled_from("a;1[]()\\\x1b\x9b\x9d\x90\x9c\x07\n\r\t\u202e\ud800mH")))
def test_nothing_that_controls_is_ever_left(text: str) -> None:
    cleaned = safe_text(text)
    assert not FORBIDDEN.search(cleaned)
    assert safe_text(cleaned) == cleaned


def test_a_long_text_of_unfinished_sequences_keeps_what_prints() -> None:
    # Each of them looks for its end; the search is bounded, or this would not come back.
    cleaned = safe_text("\x1b]" * 200_000 + "\x9d" * 200_000 + "x" * 200_000)
    assert cleaned == "x" * 200_000


def test_a_line_is_one_line_and_cut_with_a_mark() -> None:
    assert one_line("  two\n lines\t\x1b[1m ") == "two lines"
    assert one_line("x" * 300) == "x" * 199 + "…"
    assert len(one_line("ab " * 1_000_000, 50)) <= 50
