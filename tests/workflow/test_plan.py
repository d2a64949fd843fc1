"""What is wrong with a plan is said, all of it, at once."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orcs_server.errors import Violation
from orcs_server.workflow.model import RetryPolicy, TaskSpec, WorkflowSpec
from orcs_server.workflow.plan import VIOLATION_LIMIT, check_plan, check_spec
from tests.workflow.strategies import TEXT, plans


def task(name: str, *dependencies: str, agent: str = "research", title: str = "Look") -> TaskSpec:
    return TaskSpec(name, title, TEXT, agent, dependencies)


def check(*tasks: TaskSpec, max_tasks: int = 10_000, existing: tuple[str, ...] = ()) -> tuple[Violation, ...]:
    return check_plan(tasks, agents=("research", "writing"), max_tasks=max_tasks, existing=existing)


def only(*tasks: TaskSpec) -> tuple[str, str]:
    """Return the one violation of these tasks."""
    (violation,) = check(*tasks)
    return violation.field, violation.description


@given(plans())
def test_a_plan_without_fault_has_no_violation(plan: tuple[TaskSpec, ...]) -> None:
    assert check(*plan) == ()


def test_an_empty_plan_is_none() -> None:
    assert only() == ("plan.tasks", "A plan needs at least one task.")


def test_too_many_tasks_are_refused_together_with_those_that_exist() -> None:
    assert check(task("c"), max_tasks=3, existing=("a", "b")) == ()
    (violation,) = check(task("c"), task("d"), max_tasks=3, existing=("a", "b"))
    assert violation == Violation("plan.tasks", "A plan may have 3 tasks at most, this one would have 4.")


@pytest.mark.parametrize("name", ["", "T1", "1t", "a b", "a" * 64, "a\n", "ä", "a\x00", "a.b", "-a"])
def test_a_task_id_has_its_shape(name: str) -> None:
    field, description = only(task(name))
    assert field == "plan.tasks[0].id"
    assert description.endswith("is no task id: use [a-z][a-z0-9_-]{0,62}.")


def test_task_ids_are_unique_also_against_those_that_exist() -> None:
    assert only(task("a"), task("a"))[0] == "plan.tasks[1].id"
    assert check(task("a"), existing=("a",))[0].description == "'a' is taken: every task needs an id of its own."


@pytest.mark.parametrize(
    "title", ["", " \t ", "x" * 201, "a\x1b[31m", "a\nb", "a\x00", "\x9b2J", "\ud800", "\u202etxt.exe", "a\u2028b"]
)
def test_a_title_has_one_to_two_hundred_printable_characters(title: str) -> None:
    assert only(task("a", title=title))[0] == "plan.tasks[0].title"


@pytest.mark.parametrize("title", ["x" * 200, "Äpfel & Birnen", "家族 👨‍👩‍👧", "عربى", "<b>&amp;`'\""])
def test_titles_of_all_languages_are_welcome(title: str) -> None:
    assert check(task("a", title=title)) == ()


def test_an_unknown_agent_is_named_together_with_the_known_ones() -> None:
    said = only(task("a", agent="nobody"))
    assert said == ("plan.tasks[0].agent_id", "There is no agent 'nobody'; there are: research, writing.")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"priority": 1001}, "priority"),
        ({"priority": -1001}, "priority"),
        ({"timeout_us": 0}, "timeout"),
        ({"timeout_us": -1}, "timeout"),
        ({"timeout_us": 2_592_000_000_001}, "timeout"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 101}, "max_attempts"),
    ],
)
def test_numbers_keep_to_their_bounds(changes: dict[str, int], field: str) -> None:
    assert only(replace(task("a"), **changes))[0] == f"plan.tasks[0].{field}"


@pytest.mark.parametrize(
    ("dependencies", "place", "description"),
    [
        (("a",), 0, "Task 'a' depends on itself."),
        (("z", "b"), 1, "There is no task 'b' to depend on."),
        (("z", "z"), 1, "'z' is named twice."),
    ],
)
def test_dependencies_name_other_tasks_once(dependencies: tuple[str, ...], place: int, description: str) -> None:
    assert only(task("a", *dependencies), task("z")) == (f"plan.tasks[0].dependencies[{place}]", description)


def test_dependencies_may_name_tasks_that_exist() -> None:
    assert check(task("b", "a"), existing=("a",)) == ()


def test_a_cycle_is_shown() -> None:
    field, description = only(task("a", "b"), task("b", "c"), task("c", "a"), task("d", "a"))
    assert field == "plan.tasks"
    assert description == "The dependencies run in a circle: a -> b -> c -> a. Remove one of them."


def test_a_long_cycle_is_cut_short() -> None:
    tasks = [task(f"t{index}", f"t{(index + 1) % 50}") for index in range(50)]
    assert only(*tasks)[1].startswith("The dependencies run in a circle: t0 -> t1 -> ")
    assert "t9 -> …. Remove" in only(*tasks)[1]


def test_every_cycle_is_shown_that_does_not_run_through_the_same_task() -> None:
    found = check(task("a", "b"), task("b", "a"), task("c", "d", "a"), task("d", "c"), task("e"))
    assert [violation.description.split(": ")[1] for violation in found] == [
        "a -> b -> a. Remove one of them.",
        "c -> d -> c. Remove one of them.",
    ]


def test_everything_is_said_at_once() -> None:
    found = check(
        task("A", agent="nobody", title=""),
        task("b", "b", "x"),
        replace(task("c", "d"), priority=5000, timeout_us=0, max_attempts=0),
        task("d", "c"),
        task("d"),
    )
    assert [violation.field for violation in found] == [
        "plan.tasks[0].id",
        "plan.tasks[0].title",
        "plan.tasks[0].agent_id",
        "plan.tasks[2].priority",
        "plan.tasks[2].timeout",
        "plan.tasks[2].max_attempts",
        "plan.tasks[4].id",
        "plan.tasks[1].dependencies[0]",
        "plan.tasks[1].dependencies[1]",
        "plan.tasks",
    ]


def test_a_long_list_of_violations_is_cut_and_counted() -> None:
    found = check(*(task(f"t{index}", agent="nobody") for index in range(VIOLATION_LIMIT + 23)))
    assert len(found) == VIOLATION_LIMIT + 1
    assert found[-1] == Violation("plan.tasks", "23 more violations are not listed.")


def test_a_long_name_is_shown_short_and_harmless() -> None:
    _, description = only(task("a", "\x1b[2J" + "x" * 1000))
    assert len(description) < 150
    assert "\x1b" not in description


@given(st.lists(st.tuples(st.text(), st.text(), st.lists(st.text(), max_size=3), st.text()), max_size=5))
def test_whatever_a_plan_says_the_answer_is_a_bounded_list(
    words: list[tuple[str, str, list[str], str]],
) -> None:
    tasks = [TaskSpec(name, title, TEXT, agent, tuple(after)) for name, title, after, agent in words]
    for violation in check(*tasks):
        assert violation.description.isprintable()
        assert len(violation.description) < 500


@pytest.mark.parametrize("shape", ["wide", "chain", "ring", "rings", "hostile"])
def test_ten_thousand_tasks_are_checked_without_quadratic_work(shape: str) -> None:
    """No clock here: quadratic work, a hundred million turns, would make this the slowest test by far."""
    count = 10_000
    names = [f"t{index}" for index in range(count)]
    shapes: dict[str, list[tuple[str, ...]]] = {
        "wide": [(), *([("t0",)] * (count - 2)), tuple(names[1:-1])],
        "chain": [(), *((name,) for name in names[:-1])],
        "ring": [(names[index - 1],) for index in range(count)],
        "rings": [(names[index ^ 1],) for index in range(count)],
        "hostile": [(*names[index + 1 : index + 40], "nobody" * 40) for index in range(count)],
    }
    found = check(*(task(name, *after) for name, after in zip(names, shapes[shape], strict=True)))
    assert len(found) == {"wide": 0, "chain": 0, "ring": 1}.get(shape, VIOLATION_LIMIT + 1)


GOOD = WorkflowSpec("Fruit")


def test_the_settings_that_come_by_themselves_are_good() -> None:
    assert check_spec(GOOD) == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "a\x1b[31m"}, "title"),
        ({"priority": 1001}, "priority"),
        ({"max_parallel_tasks": 0}, "max_parallel_tasks"),
        ({"max_tasks": 0}, "max_tasks"),
        ({"max_plan_repairs": -1}, "max_plan_repairs"),
        ({"max_losses": -1}, "max_losses"),
        ({"task_timeout_us": 0}, "task_timeout"),
        ({"retry": RetryPolicy(max_attempts=0)}, "retry_policy.max_attempts"),
        ({"retry": RetryPolicy(initial_backoff_us=-1)}, "retry_policy.initial_backoff"),
        ({"retry": RetryPolicy(max_backoff_us=-1)}, "retry_policy.max_backoff"),
        ({"retry": RetryPolicy(multiplier=0.5)}, "retry_policy.multiplier"),
        ({"retry": RetryPolicy(multiplier=math.nan)}, "retry_policy.multiplier"),
        ({"retry": RetryPolicy(multiplier=math.inf)}, "retry_policy.multiplier"),
    ],
)
def test_settings_under_which_a_workflow_would_get_stuck_are_refused(changes: dict[str, object], field: str) -> None:
    (violation,) = check_spec(replace(GOOD, **changes))
    assert violation.field == field
    assert violation.description.startswith("It must be ")
