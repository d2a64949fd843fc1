"""The commands `token create`, `token list`, `token rotate` and `token revoke`: they work on the files beside a data file, not over the wire."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orcs_server.cli.options import read_seconds, read_time

if TYPE_CHECKING:
    from orcs_server.identity.tokens import TokenRegistry

commands = typer.Typer(
    name="token", help="Create, list, rotate and revoke this server's tokens.", rich_markup_mode=None
)

Database = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The server's database file, beside which the tokens lie; else as for `serve`."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@commands.command()
def create(
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Who uses it.", show_default=False)],
    namespace: Annotated[str, typer.Option(help="The namespace that it opens.")] = "default",
    roles: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="view, operate, answer, approve, administer; may be repeated."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="When it becomes invalid: 12h, 30d or a time.")
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    data: Database = None,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it: it cannot be read again. Without --role it may view and operate.

    A running server knows it within a second.
    """
    from orcs_server.cli.printing import print_json

    until = read_time(expires)
    expires_us = None if until is None else int(until.timestamp() * 1_000_000)
    token = _registry(data, new=True).create(principal, namespace, roles or ("view", "operate"), expires_us, note)
    if as_json:
        print_json({"token": token})
    else:
        print(token)


@commands.command("list")
def list_tokens(data: Database = None, as_json: AsJson = False) -> None:
    """List the tokens: who has them, what they allow, until when. The tokens themselves are not stored."""
    from orcs_server.cli.printing import print_json, print_table
    from orcs_server.cli.wording import local_time

    entries = _registry(data).list()
    if as_json:
        print_json({"tokens": [_fields(entry) for entry in entries]})
        return
    now_us = time.time_ns() // 1000
    rows = []
    for entry in entries:
        until = "" if entry.expires_us is None else local_time(entry.expires_us)
        if entry.expires_us is not None and entry.expires_us <= now_us:
            until = f"{until} (expired)"
        kept_us = max((one.until_us for one in entry.retired), default=0)
        if kept_us > now_us:
            until = f"{until} (old text until {local_time(kept_us)})".strip()
        rows.append((entry.id, entry.principal, entry.namespace, ",".join(entry.roles), until, entry.note))
    print_table(("ID", "PRINCIPAL", "NAMESPACE", "ROLES", "UNTIL", "NOTE"), rows)


@commands.command()
def rotate(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it.", show_default=False)],
    grace: Annotated[
        str, typer.Option(metavar="PERIOD", help="How long the old text is still accepted: 90s, 12h, 30d.")
    ] = "0s",
    data: Database = None,
    as_json: AsJson = False,
) -> None:
    """Give a token a new text and print it; who has it and what it allows stays. Without --grace the old text ends at once.

    A running server knows it within a second.
    """
    from orcs_server.cli.printing import print_json

    token = _registry(data).rotate(token_id, round(read_seconds(grace) * 1_000_000))
    if as_json:
        print_json({"token": token})
    else:
        print(token)


@commands.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it.", show_default=False)],
    data: Database = None,
) -> None:
    """Make a token invalid for good. A running server knows it within a second."""
    _registry(data).revoke(token_id)
    print(f"{token_id} revoked")


def _registry(data: Path | None, *, new: bool = False) -> TokenRegistry:
    from orcs_server.identity.tokens import TokenRegistry, registry_file

    if data is None:
        from orcs_server.config import Settings

        data = Settings.load().data
    if not new and not registry_file(data).exists():
        raise typer.TyperException(f"There are no tokens beside {data}: name the server's database file with --data.")
    if new and not data.absolute().parent.is_dir():
        raise typer.TyperException(f"The folder of {data} does not exist: name the server's database file with --data.")
    return TokenRegistry(data)


def _fields(entry: Any) -> dict[str, Any]:
    return {
        "id": entry.id,
        "principal": entry.principal,
        "namespace": entry.namespace,
        "roles": list(entry.roles),
        "created_us": entry.created_us,
        "expires_us": entry.expires_us,
        "note": entry.note,
        "own": entry.own,
        "old_texts_until_us": [one.until_us for one in entry.retired],
    }
