"""`orcs audit`: who did what, and whether what is said of it is still what was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orcs_server.cli.options import AsJson, Server, TokenFile, connect, first, read_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orcs_client.messages import AuditRecord

commands = typer.Typer(
    name="audit",
    help="Who did what, and whether the log of it is whole.",
    rich_markup_mode=None,
    invoke_without_command=True,
)
Limit = Annotated[int, typer.Option(min=0, help="The most that are shown; 0: all.")]
_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")
SHOWN = 50


@commands.callback()
def audit(
    context: typer.Context,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the newest records, where no command follows."""
    if context.invoked_subcommand is None:
        list_records(server=server, token_file=token_file, as_json=as_json)
    elif server is not None or token_file is not None or as_json:
        raise typer.TyperException(f"Write the options after `orcs audit {context.invoked_subcommand}`.")


@commands.command("list")
def list_records(
    principal: Annotated[str, typer.Option(metavar="NAME", help="Only of this principal.")] = "",
    operation: Annotated[
        str,
        typer.Option(metavar="NAME", help="Only this operation, such as workflows.pause; memory. is all of a kind."),
    ] = "",
    resource: Annotated[
        str, typer.Option(metavar="ID", help="Only about this workflow and its tasks, WORKFLOW/TASK, or scope.")
    ] = "",
    outcome: Annotated[
        str, typer.Option(metavar="REASON", help="Only with this outcome: OK, or a refusal's reason.")
    ] = "",
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from this time on, or since so long ago, as in 2h.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Only before this time, or so long ago.")] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="The oldest first.")] = False,
    limit: Limit = SHOWN,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List records, the newest first."""
    with connect(server, token_file) as client:
        found = client.list_audit_records(
            principal=principal,
            operation=operation,
            resource=resource,
            outcome=outcome,
            refused_only=refused,
            since=read_time(since, ago=True),
            before=read_time(before, ago=True),
            oldest_first=oldest_first,
            page_size=min(limit, 500),
        )
        records = first(found, limit)
    print_records(records, as_json=as_json)


@commands.command()
def export(
    after: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, help="Only what follows the record with this number.")
    ] = 0,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,  # noqa: ARG001 - it is JSON anyway
) -> None:
    """Print every record in order, a line of JSON for each. docs/audit.md shows how to verify them by yourself."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli.printing import print_json

    with connect(server, token_file) as client:
        for record in client.export_audit(after):
            print_json(message_to_dict(record), one_line=True)


@commands.command()
def verify(
    expect: Annotated[
        str | None,
        typer.Option(metavar="NUMBER:HASH", help="A head that was noted before: so a cut-off end is found, too."),
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Have the server go along all records. Note the head that it prints elsewhere. Exits with 1 where one does not fit."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli.exits import ExitCode
    from orcs_server.cli.printing import print_json

    number, digest = _head(expect)
    with connect(server, token_file) as client:
        reply = client.verify_audit(number, digest)
    if as_json:
        print_json(message_to_dict(reply))
    elif reply.intact:
        kept = f"records {reply.first_number} to {reply.head.number}" if reply.first_number else "no records"
        print(f"intact: {kept}; the head is {reply.head.number}:{reply.head.hash}")
    else:
        print(f"record {reply.misfit_number} does not fit: {reply.misfit_reason}")
    return ExitCode.DONE if reply.intact else ExitCode.NOT_COMPLETED


@commands.command("server")
def server_records(
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's database file; else as for `serve`.")
    ] = None,
    limit: Limit = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List what belongs to no namespace, read from the database file itself: calls without a valid token, restores."""
    from orcs_server.config import Settings
    from orcs_server.rpc.conversion.audit import record
    from orcs_server.storage.audit import SERVER
    from orcs_server.storage.sqlite.audit_file import newest

    path = Settings.load().data if data is None else data
    print_records([record(one) for one in reversed(newest(path, SERVER, limit))], as_json=as_json)


def print_records(records: Sequence[AuditRecord], *, as_json: bool) -> None:
    """Print a list of records."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing
    from orcs_server.cli.wording import local_time

    if as_json:
        printing.print_json({"records": [message_to_dict(record) for record in records]})
        return
    rows = [
        (
            str(record.number),
            local_time(record.time_us),
            _who(record),
            record.operation or record.method,
            record.outcome,
            record.resource,
            record.details,
        )
        for record in records
    ]
    heads = ("NUMBER", "TIME", "WHO", "WHAT", "OUTCOME", "ABOUT", "DETAILS")
    printing.print_table(heads, rows, spare=("TIME", "ABOUT"))


def _who(record: Any) -> str:
    who = record.principal or record.peer or "-"
    return f"agent {record.agent} for {who}" if record.agent else who


def _head(expect: str | None) -> tuple[int, str]:
    if expect is None:
        return 0, ""
    match = _HEAD.fullmatch(expect.strip())
    if match is None:
        raise typer.TyperException(
            f"{expect[:100]!r} is no head: write it as NUMBER:HASH, as `orcs audit verify` prints it."
        )
    return int(match[1]), match[2]
