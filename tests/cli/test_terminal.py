"""On a terminal: the live tree, the laid out document, Ctrl-C, and text that would like to control the terminal."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import signal
import termios
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from orcs_client import Event, WatchItem
from orcs_client.v1 import common_pb2, event_pb2, workflow_pb2, workflow_service_pb2
from orcs_server.cli.live import follow_live
from orcs_server.cli.progress import Progress
from tests.cli.command_line import orcs, orcs_on_terminal
from tests.client.scripted_server import ScriptedServer, ScriptedWorkflows
from tests.server_process import ServerProcess

QUERY = "Compare SQLite, PostgreSQL and DuckDB for analytics, then write a recommendation"
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
HOSTILE = "\x1b]0;owned\x07\x1b[2Jred\x1b[31m\x9b5m \u202etxet [link=file:///etc/passwd]click[/link]"


def test_branches_that_run_in_parallel_are_seen_running_and_the_document_follows(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(offline_pace="0.5")
    frames: list[str] = []

    def look(_: int, seen: str) -> None:
        frames.append(ESCAPES.sub("", seen[-4000:]))

    done = orcs_on_terminal("run", QUERY, server=server, watch=look)
    screen = ESCAPES.sub("", done.out)
    assert done.code == 0
    together = r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] t1 Look into SQLite .*\n[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] t2 Look into PostgreSQL .*\n[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] t3 Look into DuckDB .*\n· t4 └ "
    assert any(re.search(together, frame) for frame in frames)
    last = screen[screen.rindex("✔ Compare") :]
    assert re.search(r"completed, .* s, 4 of 4 tasks, [\d,]+ tokens\n", last)
    assert re.search(r"✔ t4 └ Write up .* after t1, t2, t3", last)
    assert "▌ Made offline" in last
    assert "\x1b[?25h" in done.out, "the cursor is shown again"


def test_a_terminal_that_knows_only_plain_text_gets_plain_text(orcs_server_process: ServerProcess) -> None:
    done = orcs_on_terminal("run", QUERY, server=orcs_server_process, TERM="dumb")
    assert "\x1b" not in done.out
    assert "workflow completed" in done.out
    assert "\n# Write up" in done.out


def test_ctrl_c_leaves_the_workflow_running_and_says_how_to_go_on(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server(offline_pace="1")
    interrupted: list[int] = []

    def interrupt(pid: int, seen: str) -> None:
        if "Look into" in seen and not interrupted:
            interrupted.append(pid)
            os.kill(pid, signal.SIGINT)

    done = orcs_on_terminal("run", QUERY, "--id", "mine", server=server, watch=interrupt)
    assert done.code == 130
    assert done.out.endswith("orcs: the workflow mine goes on; watch it with:\n  orcs watch mine\n")
    assert "Traceback" not in done.out
    assert "\x1b[?25h" in done.out, "the cursor is shown again"
    assert orcs("watch", "mine", server=server).code == 0


def test_the_live_tree_says_that_the_server_is_lost_and_goes_on_once_it_is_back(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(offline_pace="1")
    done_so_far: list[str] = []

    def break_and_mend(_: int, seen: str) -> None:
        if "Look into" in seen and not done_so_far:
            done_so_far.append("killed")
            server.kill()
        elif f"connection to {server.address} lost, trying again…" in seen and done_so_far == ["killed"]:
            done_so_far.append("started")
            server.start()

    done = orcs_on_terminal("run", QUERY, server=server, watch=break_and_mend)
    assert done_so_far == ["killed", "started"]
    assert done.code == 0
    screen = ESCAPES.sub("", done.out)
    assert "lost" not in screen[screen.rindex("✔ Compare") :]
    assert "(attempt 2)" in screen


async def test_what_is_typed_is_not_written_into_the_live_tree() -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb"), os.fdopen(follower, "r+b", buffering=0) as raw, io.TextIOWrapper(raw) as terminal:
        echoed: list[bool] = []

        async def items() -> AsyncIterator[WatchItem]:
            echoed.append(bool(termios.tcgetattr(follower)[3] & termios.ECHO))
            yield Event(event_pb2.Event(sequence=1), "c1")

        async def take(item: WatchItem) -> None:
            assert isinstance(item, Event)

        await follow_live(items(), Progress("w"), Console(file=terminal, force_terminal=True), lambda: 0, take)
        echoed.append(bool(termios.tcgetattr(follower)[3] & termios.ECHO))
    assert echoed == [False, True]


def test_a_list_leaves_room_for_titles_on_a_narrow_terminal(orcs_server_process: ServerProcess) -> None:
    title = "Databases for a small team that grows"
    orcs("run", QUERY, "--title", title, "--label", "narrow=yes", server=orcs_server_process)
    options = ("list", "--label", "narrow=yes")
    narrow = orcs_on_terminal(*options, server=orcs_server_process, columns=80)
    assert "Databases for a small" in narrow.out
    assert "TOKENS" not in narrow.out
    assert all(len(line) <= 80 for line in narrow.out.splitlines())
    wide = orcs_on_terminal(*options, server=orcs_server_process, columns=160)
    assert title in wide.out
    assert "TOKENS" in wide.out
    assert title in orcs(*options, server=orcs_server_process).out


@dataclass
class HostileWorkflows(ScriptedWorkflows):
    """Answers with text that a terminal would obey."""

    async def GetWorkflowOutput(self, request: Any, context: Any) -> workflow_service_pb2.GetWorkflowOutputResponse:  # noqa: N802
        media_type = "text/markdown" if request.format == workflow_pb2.OUTPUT_FORMAT_MARKDOWN else "text/plain"
        text = f"{HOSTILE}\n\n[bank](https://evil.example/)"
        return workflow_service_pb2.GetWorkflowOutputResponse(content=common_pb2.Part(media_type=media_type, text=text))

    async def ListWorkflows(self, request: Any, context: Any) -> workflow_service_pb2.ListWorkflowsResponse:  # noqa: N802
        workflow = workflow_pb2.WorkflowSummary(id="w", title=f"{HOSTILE}\nsecond line")
        return workflow_service_pb2.ListWorkflowsResponse(workflows=[workflow])

    async def WatchWorkflow(self, request: Any, context: Any) -> None:  # type: ignore[override] # noqa: N802
        workflow = workflow_pb2.Workflow(id="w", title=HOSTILE, state=workflow_pb2.WORKFLOW_STATE_COMPLETED)
        task = workflow_pb2.Task(id="t1", title=HOSTILE, state=workflow_pb2.TASK_STATE_FAILED)
        task.failure.message = HOSTILE
        snapshot = workflow_service_pb2.WorkflowSnapshot(workflow=workflow, tasks=[task])
        end = workflow_service_pb2.StreamEnd(state=workflow.state)
        await context.write(
            workflow_service_pb2.WatchWorkflowResponse(snapshot=snapshot, snapshot_complete=True, cursor="c1", end=end)
        )


async def test_text_of_models_and_users_cannot_control_the_terminal() -> None:
    async with ScriptedServer(HostileWorkflows()) as server:
        for command in (
            ("list",),
            ("list", "--json"),
            ("output", "w", "--format", "text"),
            ("output", "w", "--format", "markdown"),
            ("watch", "w"),
        ):
            done = await asyncio.to_thread(orcs_on_terminal, *command, ORCS_SERVER=server.address)
            assert "owned" not in done.out or "\\u001b]0;owned" in done.out
            # What is left are the sequences of this program: colours, and moving within its own lines.
            assert not re.search(r"\x1b\]|\x9b|\u202e|\x1b\[2J|\x1b\[31mred", done.out), command
            if command[-1] == "markdown":
                assert "https://evil.example/" in done.out
