"""The options that commands share, and how what is written in them is read."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from orcs_client import BlockingOrcsClient, OrcsClient
    from orcs_client.messages import Budget, V, WireEnum

T = TypeVar("T")

JSON_LIMIT = 8 * 1024 * 1024
"""Bytes of a JSON file; no server accepts more."""

Server = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", help="The server; else ORCS_SERVER, else 127.0.0.1:50750."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="The file with the token; else ORCS_TOKEN, ORCS_TOKEN_FILE, else that of your own server on this machine.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with the field names of the protos.")]
WorkflowId = Annotated[str, typer.Argument(metavar="ID", help="The workflow.", show_default=False)]
Labels = Annotated[
    list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label; may be repeated.")
]
ReconnectTimeout = Annotated[
    float | None,
    typer.Option(
        "--reconnect-timeout",
        metavar="SECONDS",
        min=0,
        help="Give up, with exit code 3, once the server was away for so long; else it is waited for without end.",
    ),
]

Reason = Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it is stored with the decision.")]
BudgetTokens = Annotated[
    int | None, typer.Option("--budget-tokens", metavar="N", min=1, help="The most tokens, in and out together.")
]
BudgetCost = Annotated[
    float | None,
    typer.Option(
        "--budget-cost", metavar="AMOUNT", min=0, help="The highest cost, in the currency of the server's prices."
    ),
]
BudgetTime = Annotated[
    str | None, typer.Option("--budget-time", metavar="TIME", help="The longest time that it runs, as in 90s or 2h.")
]

Revision = Annotated[
    int | None,
    typer.Option("--revision", metavar="N", help="Only if the plan is still at this revision."),
]
NoInput = Annotated[
    bool, typer.Option("--no-input", help="On a terminal: show what is asked of people, but do not ask it here.")
]

STANDARD_INPUT = "-"
STANDARD_INPUT_FILE = Path("/dev/stdin")
_DURATION = re.compile(r"(?P<count>[0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(?P<unit>s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def connect(server: str | None, token_file: Path | None) -> BlockingOrcsClient:
    """Return a client for one command. Raises `orcs_client.SettingsError`."""
    from orcs_client import BlockingOrcsClient

    return BlockingOrcsClient(server, token_file=token_file)


def connect_async(server: str | None, token_file: Path | None) -> OrcsClient:
    """Return a client for a command that watches. Raises `orcs_client.SettingsError`."""
    from orcs_client import OrcsClient

    return OrcsClient(server, token_file=token_file)


def read_labels(labels: Sequence[str] | None) -> dict[str, str]:
    """Return labels that were written as KEY=VALUE."""
    read: dict[str, str] = {}
    for label in labels or ():
        key, equals, value = label.partition("=")
        if not equals or not key:
            raise typer.TyperException(f"{label[:80]!r} is no label: write it as KEY=VALUE.")
        if read.get(key, value) != value:
            raise typer.TyperException(f"The label {key[:80]!r} is given twice: give it once.")
        read[key] = value
    return read


def read_choices(option: str, enum: WireEnum[V], names: Sequence[str] | None) -> list[V]:
    """Return the values of an enum that are named after an option."""
    from orcs_client import InvalidArgument
    from orcs_client.messages import value_named

    try:
        return [value_named(enum, name) for name in names or ()]
    except InvalidArgument as error:
        raise typer.TyperException(f"Invalid value for '{option}': {error.violations[0].description}.") from None


def read_time(text: str | None, *, ago: bool = False) -> datetime | None:
    """Return the time that is named, or lies this long ahead, or is so long ago, by the clock of this machine."""
    if text is None:
        return None
    now = datetime.now(UTC)
    match = _DURATION.fullmatch(text.strip())
    try:
        if match is not None:
            span = timedelta(seconds=float(match["count"]) * _SECONDS[match["unit"]])
            return now - span if ago else now + span
        moment = datetime.fromisoformat(text.strip())
        # One without a zone is meant as the clock on the wall says.
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.TyperException(
            f"{text[:80]!r} is no time: write how long {'ago' if ago else 'from now'}, as in 90s, 30m, 2h or 7d, or a time, as in "
            f"{now.year + (-1 if ago else 1)}-01-31T18:00."
        ) from None


def read_seconds(text: str) -> float:
    """Return a length of time, such as 90s, 30m, 2h or 7d, in seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.TyperException(f"{text[:80]!r} is no length of time: write it as 90s, 30m, 2h or 7d.")
    return float(match["count"]) * _SECONDS[match["unit"]]


def read_budget(tokens: int | None, cost: float | None, wall_time: str | None) -> Budget | None:
    """Return limits; None where none is given."""
    if tokens is None and cost is None and wall_time is None:
        return None
    from orcs_client import budget

    micros = None if cost is None else round(cost * 1_000_000)
    return budget(tokens=tokens, cost_micros=micros, wall_time=None if wall_time is None else read_seconds(wall_time))


def with_limits(client: BlockingOrcsClient, workflow_id: str, task_id: str, changes: Budget) -> Budget:
    """Return the budget of a workflow, or of its task, with these limits in place of its own."""
    from orcs_client.messages import Budget

    if task_id:
        known = client.get_task(workflow_id, task_id).task.budget
    else:
        known = client.get_workflow(workflow_id).workflow.budget
    whole = Budget()
    whole.CopyFrom(known)
    whole.MergeFrom(changes)
    return whole


def first(found: Generator[T, None, None], limit: int) -> list[T]:
    """Return so many of what is found, 0 for all, and ask for no more; say it where there is more."""
    from orcs_server.cli.exits import tell

    with closing(found):
        shown = list(itertools.islice(found, limit or None))
        if limit and next(found, None) is not None:
            tell(f"these are the first {limit}, and there are more: --limit 0 shows all, --limit N so many")
    return shown


def page_of(limit: int, most: int = 500) -> int:
    """Return the size of pages for `first`, which looks for one item more than it shows."""
    return min(limit + 1, most) if limit else most


def read_said(text: str) -> str:
    """Return a text that is written out, or comes by standard input where it is -."""
    return read_text_file(STANDARD_INPUT_FILE) if text == STANDARD_INPUT else text


def read_given(text: str) -> str:
    """Return a text that is written out, or lies in the file after an @."""
    return read_text_file(Path(text[1:])) if text.startswith("@") else text


def read_json_object(text: str | None) -> dict[str, Any] | None:
    """Return a JSON object that is written out, or lies in the file after an @."""
    if text is None:
        return None
    text = read_given(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.TyperException(f"The context is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise typer.TyperException(
            'The context must be a JSON object, as in \'{"audience": "engineers"}\', or @FILE with one.'
        )
    return value


def read_text_file(path: Path) -> str:
    """Return the text of a file of reasonable size."""
    try:
        with path.open("rb") as file:
            content = file.read(JSON_LIMIT + 1)
    except OSError as error:
        raise typer.TyperException(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > JSON_LIMIT:
        raise typer.TyperException(f"{path} is larger than {JSON_LIMIT} bytes, more than a server accepts.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.TyperException(f"{path} is not UTF-8 text: byte {error.start} does not fit.") from None
