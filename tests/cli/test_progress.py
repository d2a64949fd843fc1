"""What is shown of a workflow follows from its watch: the same from the first event on as from a snapshot, never too high."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from orcs_client import Delta, Event, OrcsClient, Snapshot
from orcs_client.messages import Task
from orcs_client.v1 import event_pb2, workflow_pb2
from orcs_server.cli.live import draw_tree
from orcs_server.cli.progress import Progress, TaskProgress
from orcs_server.cli.wording import duration_words
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
        task.start_time.FromMicroseconds(NOW_US + skew_us - 5_000_000)
        progress.apply(Snapshot(workflow_pb2.Workflow(id="w"), (task,), "c1"), NOW_US)
        event = event_pb2.Event(sequence=1)
        event.time.FromMicroseconds(NOW_US + skew_us)
        event.task_ready.task_id = "t2"
        progress.apply(Event(event, "c2"), NOW_US)
        assert any("5.0 s" in line for line in picture(progress))


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
