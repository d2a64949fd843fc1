"""From the planner's answer to tasks, and what is told to the planner where that cannot be done."""

from __future__ import annotations

from typing import Any

import pytest

from orcs_server.agents.planner import PlannerOutput, PlannerTask
from orcs_server.executor.planning import DESCRIPTION_LIMIT, PlanTexts, planning_run, problems_of, to_tasks
from orcs_server.storage.store import blob_of
from orcs_server.workflow.model import TITLE_LIMIT, Planning


def planned(**fields: Any) -> PlannerTask:
    usual = {"title": "Title", "description": "Do it", "agent_id": "worker", "dependencies": []}
    return PlannerTask.model_validate({**usual, **fields})


def test_positions_become_ids_and_texts_become_blobs() -> None:
    texts = PlanTexts()
    answer = PlannerOutput(
        tasks=[
            planned(),
            planned(),
            planned(dependencies=[0, 1, 0], priority=3, timeout_seconds=1.5, max_attempts=2, optional=True),
        ]
    )
    assert problems_of(answer) == ()
    first, _, last = to_tasks(answer, texts)
    assert (first.id, first.title, first.description) == ("t1", "Title", blob_of("Do it").digest)
    assert last.dependencies == ("t1", "t2")
    assert (last.priority, last.timeout_us, last.max_attempts, last.optional) == (3, 1_500_000, 2, True)
    assert [blob.data for blob in texts.blobs] == [b"Do it"]


def test_an_output_schema_is_kept_as_a_text() -> None:
    texts = PlanTexts()
    (task,) = to_tasks(PlannerOutput(tasks=[planned(output_schema='{"type": "object"}')]), texts)
    assert task.output_schema == blob_of('{"type": "object"}').digest


def test_a_long_title_is_cut_to_one_line() -> None:
    (task,) = to_tasks(PlannerOutput(tasks=[planned(title="many\n words " * 100)]), PlanTexts())
    assert len(task.title) == TITLE_LIMIT
    assert task.title.endswith("…")
    assert "\n" not in task.title


def test_a_text_that_is_not_valid_unicode_does_not_stop_the_plan() -> None:
    texts = PlanTexts()
    to_tasks(PlannerOutput(tasks=[planned().model_copy(update={"description": "a\ud800b"})]), texts)
    assert texts.blobs[0].data == b"a?b"


def test_an_empty_plan_is_a_problem() -> None:
    assert problems_of(PlannerOutput(tasks=[])) == ("tasks: a plan needs at least one task",)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"dependencies": [1]}, "tasks[0].dependencies: 1 is not the position"),
        ({"dependencies": [-1]}, "tasks[0].dependencies: -1 is not the position"),
        ({"dependencies": [0]}, "cannot depend on itself"),
        ({"title": " "}, "needs a title"),
        ({"description": ""}, "needs a description"),
        ({"description": "ä" * DESCRIPTION_LIMIT}, "at most"),
        ({"timeout_seconds": 0}, "timeout"),
        ({"timeout_seconds": float("nan")}, "timeout"),
        ({"timeout_seconds": float("inf")}, "timeout"),
        ({"timeout_seconds": 1e308}, "timeout"),
        ({"output_schema": "[]"}, "must be a JSON object"),
        ({"output_schema": "{"}, "no JSON schema"),
        ({"output_schema": "[" * 100_000}, "no JSON schema"),
        ({"output_schema": '{"type": "array"}'}, "output_schema: the schema's root"),
    ],
)
def test_each_mistake_is_told_in_the_planners_own_terms(fields: dict[str, Any], problem: str) -> None:
    assert any(problem in one for one in problems_of(PlannerOutput(tasks=[planned(**fields)])))


def test_every_mistake_is_told_not_the_first() -> None:
    answer = PlannerOutput(tasks=[planned(title=""), planned(description="", dependencies=[7])])
    assert len(problems_of(answer)) == 3


def test_new_tasks_are_numbered_on_from_all_that_ever_were() -> None:
    answer = PlannerOutput(tasks=[planned(), planned(dependencies=[0], builds_on=["t2", "mine"])])
    assert problems_of(answer, ["t2", "mine"]) == ()
    first, last = to_tasks(answer, PlanTexts(), ["t2", "mine", "t11", "t07", "t1a", "t99999999999"])
    assert (first.id, last.id, last.dependencies) == ("t12", "t13", ("t2", "mine", "t12"))


def test_what_does_not_stay_cannot_be_built_on() -> None:
    answer = PlannerOutput(tasks=[planned(builds_on=["t1", "t2"])])
    assert problems_of(answer, ["t1"]) == (
        "tasks[0].builds_on: 't2' is none of the tasks that stay; the tasks that stay are t1",
    )
    assert len(problems_of(answer)) == 2


def test_every_planning_and_every_repair_is_a_conversation_of_its_own() -> None:
    runs = {
        planning_run(Planning(replans=replans, rejected=rejected)) for replans in range(50) for rejected in range(50)
    }
    assert len(runs) == 2_500
    assert planning_run(Planning()) == 1
