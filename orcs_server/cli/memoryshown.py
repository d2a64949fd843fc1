"""How entries of memory are written for people, and the options that the commands about them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orcs_client.messages import MemoryEntry

KeyOf = Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)]
ScopeOf = Annotated[
    str,
    typer.Option(
        "--scope",
        "-s",
        metavar="SCOPE",
        help="global, workflow:ID, task:WORKFLOW_ID/TASK_ID, agent:NAME or shared:NAME.",
    ),
]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only keys that begin so.")]
Limit = Annotated[int, typer.Option(min=0, help="The most that are shown; 0: all.")]


def print_entries(entries: Sequence[MemoryEntry], *, as_json: bool) -> None:
    """Print a list of entries."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing
    from orcs_server.cli.wording import local_time

    if as_json:
        printing.print_json({"entries": [message_to_dict(entry) for entry in entries]})
        return
    rows = [
        (
            str(entry.version),
            local_time(entry.create_time.ToMicroseconds()),
            trust_words(entry),
            who_wrote(entry),
            "deleted" if entry.deleted else f"{entry.reference.size_bytes:,} bytes",
            local_time(entry.expire_time.ToMicroseconds()) if entry.HasField("expire_time") else "",
            entry.key,
        )
        for entry in entries
    ]
    printing.print_table(
        ("VERSION", "WRITTEN", "TRUST", "BY", "SIZE", "UNTIL", "KEY"), rows, spare=("SIZE", "WRITTEN", "UNTIL")
    )


def print_entry(entry: MemoryEntry) -> None:
    """Print what is known of an entry beside its value."""
    from orcs_server.cli import printing
    from orcs_server.cli.wording import local_time

    expires = entry.HasField("expire_time")
    shared = entry.origin.shared_from
    printing.print_fields(
        (
            ("key", entry.key),
            ("scope", entry.scope),
            ("version", str(entry.version)),
            ("written", local_time(entry.create_time.ToMicroseconds())),
            ("until", local_time(entry.expire_time.ToMicroseconds()) if expires else ""),
            ("by", who_wrote(entry)),
            ("trust", trust_words(entry)),
            ("type", entry.reference.media_type),
            ("restores", str(entry.origin.restored_version or "")),
            ("copy of", f"version {shared.version} in {shared.scope}" if shared.scope else ""),
            ("made from", _sources(entry)),
        )
    )


def who_wrote(entry: MemoryEntry) -> str:
    """Say who wrote a version."""
    writer = entry.writer
    if not writer.agent:
        return writer.principal
    task = f" in {writer.workflow_id}/{writer.task_id}" if writer.task_id else ""
    return f"{writer.agent}{task}"


def trust_words(entry: MemoryEntry) -> str:
    """Say how far a version may be trusted."""
    from orcs_client.messages import MemoryTrust, short_name

    return short_name(MemoryTrust, entry.trust).lower()


def change_line(entry: MemoryEntry) -> str:
    """Return the line of a watch for a change."""
    from orcs_server.cli.wording import local_time
    from orcs_server.outputs.safe_text import one_line

    done = "deleted" if entry.deleted else f"version {entry.version}"
    when = local_time(entry.create_time.ToMicroseconds())
    return one_line(f"{when}  {entry.scope}  {entry.key}  {done} by {who_wrote(entry)} ({trust_words(entry)})", 1000)


def _sources(entry: MemoryEntry) -> str:
    found = []
    for source in entry.origin.sources:
        match source.WhichOneof("source"):
            case "entry":
                found.append(f"{source.entry.key} (version {source.entry.version} in {source.entry.scope})")
            case "output":
                found.append(f"the output of {source.output.workflow_id}/{source.output.task_id}")
            case _:
                found.append(f"{source.external} (from outside)")
    if entry.origin.left_out_count:
        found.append(f"and {entry.origin.left_out_count} more")
    return ", ".join(found)
