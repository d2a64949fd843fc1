"""What is shown of a workflow follows from its watch: the same from the first event on as from a snapshot, never too high."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from rich.console import Console

from orcs_client import Delta, Event, OrcsClient, Snapshot, WatchItem
from orcs_client.messages import Task
from orcs_client.v1 import common_pb2, event_pb2, workflow_pb2
from orcs_server.cli.live import draw_tree, follow_live
from orcs_server.cli.progress import Progress, TaskProgress
from orcs_server.cli.wording import duration_words, event_line, local_time
from tests.server_process import ServerProcess

NOW_US = 1_700_000_000_000_000


def picture(progress: Progress, width: int = 100, height: int = 24) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(draw_tree(progress, NOW_US, width, height))
    return out.getvalue().splitlines()


def running(task_id: str = "t1", **more: Any) -> Task:
    return workflow_pb2.Task(id=task_id, title="Look", state=workflow_pb2.TASK_STATE_RUNNING, attempt=1, **more)


async def test_the_events_alone_tell_what_the_server_lists(orcs_server_process: ServerProcess) -> None:
    server = orcs_server_process
    async with OrcsClient(server.address, token=server.token) as client:
        created = await client.create_workflow("Compare SQLite, PostgreSQL and DuckDB, then recommend one")
        told = Progress(created.workflow.id)
        async for item in client.watch(created.workflow.id):
            told.apply(item, NOW_US)
        listed = Progress(created.workflow.id)
        async for item in client.watch(created.workflow.id, snapshot=True):
            listed.apply(item, NOW_US)
    assert told.tasks == listed.tasks
    assert (told.state, told.title, told.tokens, told.ended_us) == (
        listed.state,
        listed.title,
        listed.tokens,
        listed.ended_us,
    )
    assert [task.depth for task in told.tasks.values()] == [0, 0, 0, 1]


@pytest.mark.parametrize(("width", "height"), [(100, 24), (60, 10), (20, 5), (200, 60)])
def test_a_big_plan_fits_the_terminal_and_says_what_is_hidden(width: int, height: int) -> None:
    progress = Progress("w", title="Big " * 50, state="RUNNING", created_us=NOW_US, failure="x" * 500)
    for number in range(5_000):
        state = (
            "RUNNING" if number == 4_321 else "FAILED" if number == 77 else "COMPLETED" if number < 50 else "PENDING"
        )
        progress.tasks[f"t{number}"] = TaskProgress(f"t{number}", f"Task {number}", state=state, dependencies=("t0",))
    lines = picture(progress, width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    assert any("t4321" in line or "t43" in line for line in lines)
    if height > 5:
        assert "more tasks" in lines[-1]


async def test_in_the_end_the_whole_tree_is_left_also_where_it_is_higher_than_the_terminal() -> None:
    progress = Progress("w", state="COMPLETED")
    progress.tasks = {f"t{number}": TaskProgress(f"t{number}", "Look", state="COMPLETED") for number in range(100)}

    async def nothing() -> AsyncIterator[WatchItem]:
        none: tuple[WatchItem, ...] = ()
        for item in none:
            yield item

    async def take(_: WatchItem) -> None: ...

    out = io.StringIO()
    console = Console(file=out, width=100, height=24, force_terminal=True)
    await follow_live(nothing(), progress, console, lambda: NOW_US, take)
    assert {f"t{number}" for number in range(100)} <= set(re.findall(r"t\d+", out.getvalue()))


def test_text_of_an_agent_is_put_where_it_belongs_after_a_cut() -> None:
    progress = Progress("w")
    progress.learn([running()])
    for offset, text in ((0, "The quick "), (10, "brown fix"), (10, "brown fox"), (19, " jumps")):
        progress.apply(Delta(task_id="t1", attempt=1, offset=offset, text=text), NOW_US)
    assert progress.tasks["t1"].text == "The quick brown fox jumps"
    progress.apply(Delta(task_id="t1", attempt=1, offset=25, text="x" * 10_000), NOW_US)
    progress.apply(Delta(task_id="t1", attempt=1, offset=0, text="Again"), NOW_US)
    assert progress.tasks["t1"].text == "Again"


def test_a_server_whose_clock_is_ahead_or_behind_still_gives_true_durations() -> None:
    for skew_us in (-3_600_000_000, 3_600_000_000):
        progress = Progress("w")
        task = running()
        task.attempt_start_time.FromMicroseconds(NOW_US + skew_us - 5_000_000)
        progress.apply(Snapshot(workflow_pb2.Workflow(id="w"), (task,), "c1"), NOW_US)
        event = event_pb2.Event(sequence=1)
        event.time.FromMicroseconds(NOW_US + skew_us)
        event.task_ready.task_id = "t2"
        progress.apply(Event(event, "c2"), NOW_US)
        assert any("5.0 s" in line for line in picture(progress))


def event(time_us: int = NOW_US, **bodies: Any) -> Event:
    message = event_pb2.Event(sequence=1, **bodies)
    message.time.FromMicroseconds(time_us)
    return Event(message, "c")


def lines(progress: Progress, *events: Event) -> list[str]:
    told = []
    for one in events:
        progress.apply(one, NOW_US)
        told.append((event_line(one, progress) or "").partition(" ")[2])
    return told


def test_a_reason_that_was_told_is_not_told_again_and_a_retry_says_when() -> None:
    failure = common_pb2.Failure(message="the model hung up")
    retry = event_pb2.TaskRetryScheduled(task_id="t1")
    retry.retry_time.FromMicroseconds(NOW_US)
    told = lines(
        Progress("w"),
        event(attempt_failed=event_pb2.AttemptFailed(task_id="t1", attempt=1, failure=failure)),
        event(task_retry_scheduled=retry),
        event(task_failed=event_pb2.TaskFailed(task_id="t1", failure=failure)),
        event(task_failed=event_pb2.TaskFailed(task_id="t2", failure=failure)),
    )
    assert told == [
        "t1 failed in this attempt: the model hung up",
        f"t1 will be tried again at {local_time(NOW_US, '%H:%M:%S')}",
        "t1 failed",
        "t2 failed: the model hung up",
    ]


def test_the_time_of_a_task_is_that_of_its_attempts_without_what_lies_between() -> None:
    progress = Progress("w")
    progress.tasks["t1"] = TaskProgress("t1", "Look")
    started, interrupted = event_pb2.AttemptStarted, event_pb2.AttemptInterrupted
    progress.apply(event(attempt_started=started(task_id="t1", attempt=1)), NOW_US)
    progress.apply(event(NOW_US + 3_000_000, attempt_interrupted=interrupted(task_id="t1", attempt=1)), NOW_US)
    later = event(NOW_US + 3_600_000_000, attempt_started=started(task_id="t1", attempt=2))
    assert lines(progress, later)[0].endswith(", attempt 2")
    done = event(NOW_US + 3_602_000_000, task_completed=event_pb2.TaskCompleted(task_id="t1"))
    assert "completed in 5.0 s" in lines(progress, done)[0]
    assert progress.tasks["t1"].took_us(NOW_US + 9_000_000_000) == 5_000_000


def test_a_watch_from_the_middle_leaves_out_sums_that_it_does_not_know() -> None:
    completed = event(workflow_completed=event_pb2.WorkflowCompleted())
    assert lines(Progress("w", whole=False), completed) == ["workflow completed"]
    assert lines(Progress("w"), completed) == ["workflow completed, 0 tokens"]


def test_the_tree_shows_the_id_a_repeated_attempt_and_a_lost_server() -> None:
    progress = Progress("w-1", title="Compare", state="RUNNING")
    progress.learn([running()])
    progress.apply(event(attempt_started=event_pb2.AttemptStarted(task_id="t1", attempt=2)), NOW_US)
    title, numbers, task = picture(progress)
    assert title.endswith("Compare  w-1")
    assert "running" in numbers
    assert "Look (attempt 2)" in task
    progress.lost = "connection to there lost, trying again…"
    assert picture(progress)[1].strip() == progress.lost


def test_an_event_of_a_newer_server_is_passed_over() -> None:
    progress = Progress("w", state="RUNNING")
    progress.apply(Event(event_pb2.Event(sequence=7), "c7"), NOW_US)
    assert (progress.state, progress.tasks) == ("RUNNING", {})


@pytest.mark.parametrize(
    ("us", "words"),
    [
        (-5, "0.0 s"),
        (4_210_000, "4.2 s"),
        (59_960_000, "1 min 00 s"),
        (185_000_000, "3 min 05 s"),
        (3_599_900_000, "1 h 00 min"),
        (7_800_000_000, "2 h 10 min"),
        (200_000_000_000, "2 d 7 h"),
    ],
)
def test_durations_are_written_in_two_units_at_most(us: int, words: str) -> None:
    assert duration_words(us) == words
