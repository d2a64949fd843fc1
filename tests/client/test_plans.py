"""Plans from files and from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orcs_client import InvalidArgument, load_plan, parse_plan, plan
from orcs_client.requests import creation

if TYPE_CHECKING:
    from pathlib import Path


def test_a_plan_file_may_use_either_spelling_of_names(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(
        '{"tasks": [{"id": "a", "title": "Größe", "agent_id": "research", "timeout": "1.5s"},'
        ' {"title": "B", "agentId": "writing", "dependencies": ["a"]}]}',
        "utf-8-sig",
    )
    first, second = load_plan(file).tasks
    assert (first.title, first.agent_id, first.timeout.ToMilliseconds()) == ("Größe", "research", 1500)
    assert (second.agent_id, list(second.dependencies)) == ("writing", ["a"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no plan"),
        ("[]", "must be a JSON object"),
        ("3", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("{}", "no tasks"),
        ('{"tasks": [{"titel": "a"}]}', "tasks\\[0\\] has no field 'titel'; it may have id, .*agent_id, "),
        ('{"tasks": [{"priority": "high"}]}', "priority"),
        ('{"tasks": [], "tasks": []}', "duplicate key"),
        ('{"tasks": [{"timeout": 5}]}', r"not a string: 5 at tasks\[0\]\.timeout$"),
        ('{"tasks": [{"title": "\\ud800"}]}', "surrogate at tasks"),
        ("[" * 100_000, "no plan"),
        ('{"tasks": [{"title": ' + '{"a":' * 50_000, "no plan"),
    ],
)
def test_what_is_no_plan_gets_an_error_that_says_where(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        parse_plan(text, "mine.json")
    assert caught.value.reason == "PLAN_INVALID"
    assert caught.value.violations[0].field == "mine.json"


@pytest.mark.parametrize("options", [{"title": "\ud800"}, {"labels": {"a": "\ud800"}}, {"context": {"a": "\ud800"}}])
def test_text_that_is_not_unicode_is_refused_with_its_field(options: Any) -> None:
    with pytest.raises(InvalidArgument, match="not Unicode text") as caught:
        creation("compare a and b", None, options)
    assert [one.field for one in caught.value.violations] == list(options)


def test_a_file_that_is_missing_too_large_or_no_text_gets_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read: No such file"):
        load_plan(tmp_path / "missing")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load_plan(tmp_path)
    large = tmp_path / "large"
    large.write_bytes(b" " * (8 * 1024 * 1024 + 1))
    with pytest.raises(InvalidArgument, match="larger than 8388608 bytes"):
        load_plan(large)
    large.write_bytes(b'{"\xff')
    with pytest.raises(InvalidArgument, match="not UTF-8 text: byte 2"):
        load_plan(large)


def test_a_plan_is_put_together_in_python() -> None:
    made = plan(
        [
            {"id": "a", "title": "A", "agent_id": "x", "timeout": 2.5},
            {"title": "B", "agent_id": "y", "dependencies": ["a"]},
        ]
    )
    assert made.tasks[0].timeout.ToMilliseconds() == 2500
    assert list(made.tasks[1].dependencies) == ["a"]


@pytest.mark.parametrize(
    "task", [{"titel": "a"}, {"title": 3}, {"timeout": -1}, {"timeout": "1s"}, {"priority": 2**40}]
)
def test_a_wrong_field_is_an_error_that_names_the_task(task: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan([{"title": "fine", "agent_id": "x"}, task])
    assert caught.value.violations[0].field == "plan.tasks[1]"
