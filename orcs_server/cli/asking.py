"""Asking, in the midst of a live view, what a workflow asks of people: whoever sits at the terminal may answer at once."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from orcs_client import DeadlineExceeded, Event, InvalidArgument, OrcsError, Snapshot, Unavailable
from orcs_client.messages import Decision, PendingInput, PendingInputKind, short_name, value_named
from orcs_server.cli.subjects import incomplete_words, subject_lines
from orcs_server.outputs.safe_text import one_line, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orcs_client import OrcsClient, WatchItem

SHOWN_LINES = 40
"""Lines of what is to be approved that are shown."""
SHOWN_WIDTH = 400
"""Characters of each of them."""
READ_BYTES = 4096
AGAIN_S = 1.0
"""After how long a server that was away is asked again what waits."""
TRIES = 5
"""How often an answer that does not fit is asked for again."""


class Asker:
    """Asks what waits in one workflow, one after the other. Feed it each item of the watch with `note`."""

    def __init__(self, client: OrcsClient, workflow_id: str, out: TextIO) -> None:
        self._client = client
        self._workflow_id = workflow_id
        self._out = out
        self._asked: set[str] = set()
        self._news = asyncio.Event()
        self._settled: set[str] = set()
        self._changed = asyncio.Event()
        self._given_up = False

    def note(self, item: WatchItem) -> None:
        """Take note of what is asked, and of what has been settled elsewhere."""
        match item:
            case Snapshot() if item.workflow.pending_input_count:
                self._news.set()
            case Event():
                match item.message.WhichOneof("body"):
                    case "input_requested":
                        self._news.set()
                    case "input_resolved":
                        self._settled.add(item.message.input_resolved.input_id)
                        self._changed.set()
            case _:
                pass

    async def serve(self, clear: Callable[[bool], None]) -> None:
        """Ask until this is cancelled; `clear` is called with True before a question and with False afterwards."""
        while not self._given_up:
            await self._news.wait()
            self._news.clear()
            try:
                waiting = [one async for one in self._client.list_pending_inputs(workflow_id=self._workflow_id)]
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(AGAIN_S)
                self._news.set()
                continue
            for one in waiting:
                if one.id in self._asked or one.id in self._settled or self._given_up:
                    continue
                self._asked.add(one.id)
                clear(True)
                try:
                    with _attended(sys.stdin.fileno()):
                        await self._ask(one.id)
                finally:
                    clear(False)

    async def _ask(self, input_id: str) -> None:
        try:
            asked = (await self._client.get_pending_input(self._workflow_id, input_id)).input
            if asked.resolution:
                return
            if asked.kind == value_named(PendingInputKind, "question"):
                await self._question(asked)
            else:
                await self._approval(asked)
        except OrcsError as error:
            # Not allowed, settled by somebody else, the server is away: the workflow is watched on all the same.
            self._say(f"{error}")

    async def _question(self, asked: PendingInput) -> None:
        self._say(f"? {_whose(asked)} asks: {asked.prompt}", "\n")
        if asked.answer_schema:
            self._say(f"The answer fits {one_line(asked.answer_schema)}")
        default = asked.default_answer.text or asked.default_answer.json
        if default:
            self._say(f"In the end, without an answer, it is: {default}")
        for _ in range(TRIES):
            answer = await self._line(asked.id, "Your answer (Enter leaves it): ")
            if not answer:
                self._left(asked, "answer", " ANSWER")
                return
            try:
                await self._client.answer_input(self._workflow_id, asked.id, answer)
            except InvalidArgument as error:
                self._say(f"{error}")
            else:
                return
        self._left(asked, "answer", " ANSWER")

    async def _approval(self, asked: PendingInput) -> None:
        kind = short_name(PendingInputKind, asked.kind).lower().replace("_", " ")
        self._say(f"? {_whose(asked)} waits ({kind}): {asked.prompt}", "\n")
        lines = list(subject_lines(asked))[1:]
        lines = lines or safe_text(asked.subject.text or asked.subject.json).splitlines()
        for line in lines[:SHOWN_LINES]:
            self._show(line[:SHOWN_WIDTH])
        cut = len(lines) > SHOWN_LINES or any(len(line) > SHOWN_WIDTH for line in lines)
        if cut or (asked.subject_sha256 and not lines):
            self._say(f"… all of it: orcs inbox {asked.workflow_id} {asked.id}")
        if asked.subject_incomplete:
            self._say(incomplete_words(asked))
            return
        for _ in range(TRIES):
            said = (await self._line(asked.id, "Approve it? [y/n, Enter leaves it]: ")).lower()
            if not said:
                break
            if said in {"y", "yes", "n", "no"}:
                approves = said.startswith("y")
                reason = "" if approves else await self._line(asked.id, "Why not (may be empty): ")
                decision = value_named(Decision, "approve" if approves else "reject")
                await self._client.resolve_approval(
                    self._workflow_id, asked.id, decision, subject_sha256=asked.subject_sha256, reason=reason
                )
                return
        self._left(asked, "approve", "")

    def _show(self, line: str) -> None:
        self._out.write(f"  | {safe_text(line)}\n")
        self._out.flush()

    def _left(self, asked: PendingInput, verb: str, more: str) -> None:
        if asked.id not in self._settled:
            self._say(f"left as it is; later: orcs {verb} {asked.workflow_id} {asked.id}{more}")

    def _say(self, text: str, indent: str = "  ") -> None:
        self._out.write(f"{indent}{one_line(text, 2_000)}\n")
        self._out.flush()

    async def _line(self, input_id: str, prompt: str) -> str:
        """Return what is typed; "" for an empty line, at the end of the input, and once the question was settled elsewhere."""
        self._out.write(f"  {prompt}")
        self._out.flush()
        loop = asyncio.get_running_loop()
        terminal = sys.stdin.fileno()
        typed: asyncio.Future[bytes] = loop.create_future()

        def read() -> None:
            # A terminal hands over whole lines. No thread waits for them: it could not be called back.
            if not typed.done():
                typed.set_result(os.read(terminal, READ_BYTES))

        settled = asyncio.create_task(self._until_settled(input_id))
        loop.add_reader(terminal, read)
        try:
            await asyncio.wait((typed, settled), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(terminal)
            settled.cancel()
        if not typed.done():
            self._out.write("\n")
            self._say("It has been settled by somebody else.")
            return ""
        line = typed.result()
        self._given_up = not line  # Nobody is there any more.
        return line.decode("utf-8", "replace").strip()

    async def _until_settled(self, input_id: str) -> None:
        while input_id not in self._settled:
            self._changed.clear()
            await self._changed.wait()


def _whose(asked: PendingInput) -> str:
    return asked.task_id or "the workflow"


@contextmanager
def _attended(terminal: int) -> Iterator[None]:
    """Let the terminal write what is typed, and forget what was typed before anything was asked."""
    before = termios.tcgetattr(terminal)
    shown = termios.tcgetattr(terminal)
    shown[3] |= termios.ECHO | termios.ICANON
    termios.tcsetattr(terminal, termios.TCSADRAIN, shown)
    termios.tcflush(terminal, termios.TCIFLUSH)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
