"""The judge of repeated calls sees what it is there to see."""

from __future__ import annotations

from tests.torture.calls import BEGUN, ENDED, MODEL, TOOL, Call
from tests.torture.deaths import Death, End
from tests.torture.repeats import Line, judge

FIRST = Call(MODEL, "w", "a", "", "0")
SECOND = Call(MODEL, "w", "a", "", "1")
LOOK = Call(TOOL, "w", "a", "", "look-0")
PAY = Call(TOOL, "w", "a", "", "pay-0")


def death(
    line: int,
    *finished: Call,
    end: End = End.KILLED,
    settled: tuple[tuple[str, str], ...] = (),
    doubt: tuple[Call, ...] = (),
) -> Death:
    return Death(end, line, frozenset({"w"}), frozenset(settled), frozenset(), frozenset(finished), frozenset(doubt))


def whole(*calls: Call) -> list[Line]:
    return [line for call in calls for line in ((BEGUN, call), (ENDED, call))]


def test_a_stored_call_that_is_made_again_is_seen() -> None:
    lines = [*whole(FIRST), *whole(FIRST)]
    assert judge(lines, [death(2, FIRST), death(4, FIRST)], ()).although_stored == [FIRST]


def test_a_call_for_a_task_that_has_ended_is_seen() -> None:
    lines = [*whole(FIRST), *whole(SECOND)]
    assert judge(lines, [death(2, settled=(("w", "a"),)), death(4)], ()).although_stored == [SECOND]


def test_an_answer_that_a_kill_cut_off_may_be_asked_for_again() -> None:
    found = judge([*whole(FIRST), *whole(FIRST)], [death(2), death(4, FIRST)], ())
    assert (found.although_stored, found.wrong) == ([], [])
    assert found.cut_off == found.again == {FIRST: 1}


def test_an_answer_that_an_orderly_stop_loses_is_seen() -> None:
    assert "lost by an orderly stop" in judge(whole(FIRST), [death(2, end=End.ORDERLY)], ()).wrong[0]


def test_acting_on_what_is_not_stored_is_seen() -> None:
    assert "acts on" in judge([*whole(FIRST), *whole(LOOK)], [death(4, LOOK)], ()).wrong[0]
    assert "acts on" in judge([*whole(LOOK), *whole(SECOND)], [death(4, SECOND)], ()).wrong[0]


def test_a_repetition_within_one_server_is_seen_unless_its_attempt_had_been_given_up() -> None:
    lines = [*whole(FIRST), *whole(FIRST)]
    assert "again within one server" in judge(lines, [death(4, FIRST)], ()).wrong[0]
    assert judge(lines, [death(4, FIRST)], {("w", "a")}).wrong == []


def test_a_tool_that_must_not_run_twice_and_does_is_seen() -> None:
    found = judge([(BEGUN, PAY), *whole(PAY)], [death(1, doubt=(PAY,)), death(3, PAY)], ())
    assert "ran 2 times" in found.wrong[0]
    assert found.in_doubt == {PAY}
