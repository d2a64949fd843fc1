"""What namespaces share, and their turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orcs_server.identity.fairness import Shares, Turns


def taken(shares: Shares, namespace: str) -> int:
    """Take as much as there is; return how much that was."""
    count = 0
    while shares.take(namespace):
        count += 1
    return count


def test_one_namespace_gets_half_and_there_is_something_left_for_whoever_comes_next() -> None:
    shares = Shares(64)
    assert [taken(shares, name) for name in ("a", "b", "c", "d")] == [32, 16, 8, 4]
    shares.give("a", 32)
    assert taken(shares, "b") == 10
    assert (shares.held("b"), shares.free) == (26, 26)


def test_what_exists_already_counts_whatever_the_share_is() -> None:
    shares = Shares(4)
    shares.hold("a", 6)
    assert not shares.take("b")
    shares.give("a", 6)
    assert (shares.free, shares.held("a")) == (4, 0)
    assert shares.take("b", 4)


def test_namespaces_take_turns_and_each_keeps_its_order() -> None:
    turns: Turns[str] = Turns()
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        turns.put(item[0], item)
    turns.drop("c", "c1")
    turns.drop("c", "c1")
    assert [turns.take() for _ in range(len(turns))] == ["a1", "b1", "c2", "a2", "a3"]
    assert turns.take() is None
    assert not turns.waits("a")


def test_a_namespace_that_may_not_have_a_turn_holds_nobody_up() -> None:
    turns: Turns[str] = Turns()
    for item in ("a1", "a2", "b1"):
        turns.put(item[0], item)
    assert turns.take(lambda namespace: namespace != "a") == "b1"
    assert turns.take(lambda namespace: namespace != "a") is None
    assert (turns.take(), len(turns), turns.waits("a")) == ("a1", 1, True)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_nobody_is_overtaken_more_than_once_by_each_other_namespace(moves: list[tuple[str, bool]]) -> None:
    turns: Turns[int] = Turns()
    first: dict[str, int] = {}
    queues: dict[str, list[int]] = {name: [] for name in "abc"}
    for number, (name, put) in enumerate(moves):
        if put:
            turns.put(name, number)
            queues[name].append(number)
            first.setdefault(name, 0)
            continue
        item = turns.take()
        if item is None:
            assert not any(queues.values())
            continue
        served = next(name for name, queue in queues.items() if queue and queue[0] == item)
        queues[served].pop(0)
        for waiting, overtaken in tuple(first.items()):
            if waiting != served and queues[waiting]:
                first[waiting] = overtaken + 1
                assert first[waiting] <= 2
        first.pop(served)
        if queues[served]:
            first[served] = 0
