"""The live tree: a workflow and its tasks redrawn in place on a terminal while they run, never higher than it."""

from __future__ import annotations

import asyncio
import os
import termios
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orcs_server.cli.progress import TASK_ENDED, Progress, TaskProgress
from orcs_server.cli.wording import SYMBOLS, count_words, duration_words, ids_words, local_time, state_words
from orcs_server.outputs.safe_text import one_line, safe_text

if TYPE_CHECKING:
    from orcs_client import WatchItem

REDRAW_S = 0.125
LEAST_ROWS = 1
MOST_ROWS = 500
"""Lines of the tree that is left in the end."""
ROWS_AROUND = 6
"""Lines of the terminal that are not for tasks: title, numbers, failure, what is hidden, and room for the cursor."""
NARROW = 80
"""Columns below which agents and notes are left out."""
DEPTH_SHOWN = 6
CHARACTERS_OF_A_TOKEN = 4
_TURNING = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_COLOURS = {
    "RUNNING": "cyan",
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "RETRYING": "yellow",
    "INPUT_REQUIRED": "magenta",
    "PENDING": "dim",
    "SKIPPED": "dim",
}
# What is shown first where not everything fits.
_RANKS = {"RUNNING": 0, "INPUT_REQUIRED": 0, "EVALUATING": 0, "FAILED": 1, "RETRYING": 1, "READY": 2, "PENDING": 3}
_LAST_RANK = 4


async def follow_live(
    items: AsyncIterator[WatchItem],
    progress: Progress,
    console: Console,
    now_us: Callable[[], int],
    take: Callable[[WatchItem], Awaitable[None]],
    asking: Callable[[Callable[[bool], None]], Coroutine[None, None, None]] | None = None,
) -> None:
    """Hand each item to `take`, which keeps `progress` up to date, and redraw the tree until there are no more.

    `asking` runs beside it; it is given what has the tree make room for a question, and come back afterwards.
    """
    with _without_echo(console), Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:

        def draw(frame: int) -> None:
            live.update(draw_tree(progress, now_us(), console.size.width, console.size.height, frame), refresh=True)

        async def keep_drawing() -> None:
            frame = 0
            while True:
                if live.is_started:
                    draw(frame)
                frame += 1
                await asyncio.sleep(REDRAW_S)

        def clear(question: bool) -> None:
            if question:
                live.stop()
            else:
                live.start()

        beside = [keep_drawing(), *(() if asking is None else (asking(clear),))]
        await _take_all(items, take, beside)
        # What is shown last stays and may be as high as it is: it scrolls.
        live.update(draw_tree(progress, now_us(), console.size.width, MOST_ROWS))


async def _take_all(
    items: AsyncIterator[WatchItem],
    take: Callable[[WatchItem], Awaitable[None]],
    beside: Sequence[Coroutine[None, None, None]],
) -> None:
    """Hand over all items while `beside` runs; its failure ends it all."""
    tasks = [asyncio.create_task(one) for one in beside]
    try:
        async for item in items:
            await take(item)
            if any(_failed(task) for task in tasks):
                break
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


@contextmanager
def _without_echo(console: Console) -> Iterator[None]:
    """Keep the terminal from writing what is typed, such as ^C, into the tree: it would be drawn at the wrong place."""
    terminal = console.file.fileno() if console.is_terminal and console.file.isatty() else None
    if terminal is None or not _in_foreground(terminal):
        yield
        return
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        if _in_foreground(terminal):
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _in_foreground(terminal: int) -> bool:
    """Whether this process may change the terminal; one in the background would be stopped for it."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not the terminal that controls this process: nobody stops it
        return True


def draw_tree(progress: Progress, now_us: int, width: int, height: int, frame: int = 0) -> RenderableType:
    """Return the picture of a workflow for a terminal of this size; `frame` turns the marks of running tasks."""
    now_us = progress.server_now_us(now_us)
    if progress.lost:
        frame = 0  # nobody knows whether anything moves
    room = max(LEAST_ROWS, height - ROWS_AROUND)
    shown, hidden = _choose(list(progress.tasks.values()), room)
    table = Table.grid(padding=(0, 1), expand=width >= NARROW)
    wide = width >= NARROW
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(4, width // 6))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=6 if wide else None)
    if wide:
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=18, style="dim")
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, justify="right")
    if wide:
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=5, style="dim")
    for task in shown:
        table.add_row(*_row(task, now_us, frame, wide=wide))
    parts: list[RenderableType] = [*_headline(progress, now_us, frame)]
    if shown:
        parts.append(table)
    if hidden:
        counts = Counter(task.state for task in hidden)
        words = ", ".join(f"{count:,} {state_words(state)}" for state, count in counts.items())
        parts.append(Text(f"… and {count_words(len(hidden), 'more task')}: {words}", style="dim", no_wrap=True))
    return Group(*parts)


def _headline(progress: Progress, now_us: int, frame: int) -> Iterator[Text]:
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(f"{_symbol(progress.state, frame)} ", _COLOURS.get(progress.state, ""))
    title.append(one_line(progress.title) or progress.workflow_id, "bold")
    if progress.title:
        title.append(f"  {one_line(progress.workflow_id)}", "dim")
    yield title
    if progress.lost:
        yield Text(f"  {one_line(progress.lost)}", style="yellow", no_wrap=True, overflow="ellipsis")
        return
    parts = [state_words(progress.state)]
    if progress.created_us is not None:
        ended_us = progress.ended_us if progress.ended_us is not None else now_us
        parts.append(duration_words(ended_us - progress.created_us))
    if progress.tasks:
        done = sum(task.state in TASK_ENDED for task in progress.tasks.values())
        parts.append(f"{done:,} of {count_words(len(progress.tasks), 'task')}")
    parts.append(count_words(progress.tokens, "token"))
    yield Text(f"  {', '.join(parts)}", style="dim", no_wrap=True, overflow="ellipsis")
    if progress.failure:
        yield Text(f"  {one_line(progress.failure)}", style="red", no_wrap=True, overflow="ellipsis")


def _row(task: TaskProgress, now_us: int, frame: int, *, wide: bool) -> list[Text]:
    colour = _COLOURS.get(task.state, "")
    depth = min(task.depth, DEPTH_SHOWN)
    branch = f"{'  ' * (depth - 1)}└ " if depth else ""
    again = f" (attempt {task.attempt})" if task.attempt > 1 else ""
    cells = [
        Text(_symbol(task.state, frame), colour),
        Text(one_line(task.id), "dim"),
        Text(f"{branch}{one_line(task.title)}{again}", "dim" if colour == "dim" else ""),
        Text(one_line(task.agent_id)),
        Text(duration_words(task.took_us(now_us))),
        Text(_tokens(task)),
        Text(_note(task), "red" if task.state == "FAILED" else ""),
    ]
    return cells if wide else [*cells[:3], *cells[4:6]]


def _tokens(task: TaskProgress) -> str:
    """Return the tokens so far; what is being written is estimated from its length until the model server has counted it."""
    estimated = task.uncounted // CHARACTERS_OF_A_TOKEN if task.state == "RUNNING" else 0
    if not task.tokens and not estimated:
        return ""
    return f"{'~' if estimated else ''}{count_words(task.tokens + estimated, 'token')}"


def _note(task: TaskProgress) -> str:
    match task.state:
        case "RUNNING":
            return _last_words(task.text)
        case "PENDING" if task.dependencies:
            return f"after {ids_words(task.dependencies)}"
        case "RETRYING" if task.retry_us is not None:
            return f"again at {local_time(task.retry_us, '%H:%M:%S')}: {one_line(task.failure)}"
        case "COMPLETED":
            return f"after {ids_words(task.dependencies)}" if task.dependencies else ""
        case _:
            return one_line(task.failure) or state_words(task.state)


def _last_words(text: str) -> str:
    """Return the end of a text, from the beginning of a word on."""
    words = safe_text(text).split()
    kept: list[str] = []
    room = 48
    for word in reversed(words):
        room -= len(word) + 1
        if room < 0 and kept:
            break
        kept.append(word)
    return f"…{' '.join(reversed(kept))[-48:]}" if kept else ""


def _symbol(state: str, frame: int) -> str:
    return _TURNING[frame % len(_TURNING)] if state in {"RUNNING", "PLANNING"} else SYMBOLS.get(state, " ")


def _choose(tasks: list[TaskProgress], room: int) -> tuple[list[TaskProgress], list[TaskProgress]]:
    """Return the tasks that are shown, in the order of the plan, and those for which there is no room.

    What runs or failed comes first, then what is next, then what ended last.
    """
    if len(tasks) <= room:
        return tasks, []

    def importance(task: TaskProgress) -> tuple[int, int]:
        return _RANKS.get(task.state, _LAST_RANK), -(task.ended_us or 0)

    chosen = {task.id for task in sorted(tasks, key=importance)[:room]}
    return [task for task in tasks if task.id in chosen], [task for task in tasks if task.id not in chosen]
