"""Following a workflow to its end, in one of three views: a live tree, plain lines, JSON lines."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from enum import StrEnum
from typing import TextIO

from orcs_client import Delta, Event, OrcsClient, OrcsError, WatchItem
from orcs_client.messages import Workflow, WorkflowState, short_name, watch_item_to_dict
from orcs_server.cli.exits import ExitCode, tell
from orcs_server.cli.printing import is_terminal, print_json
from orcs_server.cli.progress import Progress, tokens_of
from orcs_server.cli.wording import event_line, state_words


class View(StrEnum):
    """How a workflow is shown while it runs."""

    LIVE = "live"
    PLAIN = "plain"
    JSON = "json"


async def follow(
    client: OrcsClient,
    progress: Progress,
    view: View,
    out: TextIO,
    *,
    after_cursor: str = "",
    snapshot: bool = False,
    deltas: bool = False,
    reconnect_timeout: float | None = None,
    asks: bool = False,
) -> Workflow:
    """Show a workflow on `out` until it ends, and return it as it ended.

    With `asks` whoever sits at the terminal is asked, in the live view, what the workflow asks of people.
    The live view begins with a snapshot, the others with the first event or the one after `after_cursor`. `progress` tells
    meanwhile, and if this is interrupted, how far it came. While the server is away it says so and tries again, for
    `reconnect_timeout` seconds (None: for ever); then it raises what the client does.
    """
    live = view is View.LIVE and not after_cursor
    progress.whole = not after_cursor

    def lose(_: OrcsError) -> None:
        progress.lost = f"connection to {client.address} lost, trying again…"
        if not live:
            tell(progress.lost)

    def find() -> None:
        progress.lost = ""
        if not live:
            tell(f"connected to {client.address} again")

    if after_cursor and view is not View.JSON:
        # The events that said what the tasks are about may lie before the cursor.
        await _learn(client, progress)
    watch = client.watch(
        progress.workflow_id,
        after_cursor=after_cursor,
        snapshot=snapshot or live,
        deltas=deltas or live,
        reconnect_timeout=reconnect_timeout,
        on_disconnect=lose,
        on_reconnect=find,
    )

    async def take(item: WatchItem) -> None:
        progress.apply(item, _now_us())
        if progress.incomplete and view is not View.JSON:
            await _learn(client, progress)

    async with aclosing(watch) as items:
        if live:
            await _show_live(client, items, progress, out, take, asks=asks)
        else:
            show = _json_line if view is View.JSON else _plain_line(progress, out)
            async for item in items:
                await take(item)
                show(item)
                progress.cursor = progress.cursor if isinstance(item, Delta) else item.cursor
    workflow = (await client.get_workflow(progress.workflow_id)).workflow
    progress.tokens = tokens_of(workflow.usage)
    progress.whole = True
    return workflow


async def _show_live(
    client: OrcsClient,
    items: AsyncIterator[WatchItem],
    progress: Progress,
    out: TextIO,
    take: Callable[[WatchItem], Awaitable[None]],
    *,
    asks: bool,
) -> None:
    from rich.console import Console

    from orcs_server.cli.asking import Asker
    from orcs_server.cli.live import follow_live

    if not asks:
        await follow_live(items, progress, Console(file=out), _now_us, take)
        return
    asker = Asker(client, progress.workflow_id, out)

    async def take_and_note(item: WatchItem) -> None:
        await take(item)
        asker.note(item)

    await follow_live(items, progress, Console(file=out), _now_us, take_and_note, asker.serve)


def tell_ending(workflow: Workflow, *, known: bool = False) -> ExitCode:
    """Say why a workflow did not complete, if so; return the exit code. With `known` the line before said why."""
    state = short_name(WorkflowState, workflow.state)
    if state == "COMPLETED":
        return ExitCode.DONE
    why = f": {workflow.failure.message}" if workflow.failure.message and not known else ""
    tell(f"the workflow {workflow.id} {_verb(state)}{why}")
    if workflow.task_counts.completed:
        tell(f"what its tasks have done is kept:\norcs output {workflow.id}")
    return ExitCode.NOT_COMPLETED


def tell_interrupted(progress: Progress, *, resumable: bool) -> ExitCode:
    """Say that the workflow goes on without its watcher, and how to watch it again; return the exit code."""
    if progress.ended:
        tell(
            f"the workflow {progress.workflow_id} has ended; its output is printed by:\n"
            f"orcs output {progress.workflow_id}"
        )
        return ExitCode.INTERRUPTED
    tell(
        f"the workflow {progress.workflow_id} goes on; watch it with:\n{_watch_command(progress, resumable=resumable)}"
    )
    return ExitCode.INTERRUPTED


def tell_given_up(error: OrcsError, progress: Progress, *, resumable: bool) -> ExitCode:
    """Say that the server did not come back, and how to watch on once it is; return the exit code."""
    tell(
        f"gave up waiting for the server: {error}\nOnce it is back, go on with:\n"
        f"{_watch_command(progress, resumable=resumable)}"
    )
    return ExitCode.UNAVAILABLE


def _watch_command(progress: Progress, *, resumable: bool) -> str:
    """Return the command on a line of its own, so that it can be copied."""
    after = f" --after {shlex.quote(progress.cursor)}" if resumable and progress.cursor else ""
    return f"orcs watch {progress.workflow_id}{after}"


def _verb(state: str) -> str:
    return {"FAILED": "failed", "CANCELLED": "was cancelled"}.get(state, f"is {state_words(state)}")


async def _learn(client: OrcsClient, progress: Progress) -> None:
    progress.learn([task async for task in client.list_tasks(progress.workflow_id)])


def _json_line(item: WatchItem) -> None:
    print_json(watch_item_to_dict(item), one_line=True)


def _plain_line(progress: Progress, out: TextIO) -> Callable[[WatchItem], None]:
    def show(item: WatchItem) -> None:
        line = event_line(item, progress) if isinstance(item, Event) else None
        if line is not None:
            out.write(f"{line}\n")
            out.flush()

    return show


def _now_us() -> int:
    return time.time_ns() // 1000


def may_ask(*, no_input: bool) -> bool:
    """Return whether somebody is there to be asked."""
    return not no_input and sys.stdin.isatty() and sys.stdout.isatty()


def choose_view(out: TextIO, *, as_json: bool) -> View:
    """Return the view for a program, a terminal or anything else."""
    if as_json:
        return View.JSON
    return View.LIVE if is_terminal(out) else View.PLAIN
