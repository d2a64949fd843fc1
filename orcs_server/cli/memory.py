"""`orcs memory`: entries as they are now. `memorypast` holds the commands about their past."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orcs_server.cli import memorypast
from orcs_server.cli.memoryshown import (
    KeyOf,
    Limit,
    Prefix,
    ScopeOf,
    print_entries,
    print_entry,
)
from orcs_server.cli.options import (
    AsJson,
    ReconnectTimeout,
    Server,
    TokenFile,
    connect,
    first,
    page_of,
    read_said,
    read_seconds,
    read_time,
)

if TYPE_CHECKING:
    from orcs_client import BlockingOrcsClient
    from orcs_client.messages import MemoryEntry, Part

commands = typer.Typer(
    name="memory",
    help="What agents and clients remember and share.",
    rich_markup_mode=None,
)
for command in (
    memorypast.history,
    memorypast.revert,
    memorypast.scopes,
    memorypast.snapshot,
    memorypast.snapshots,
    memorypast.diff,
    memorypast.restore,
    memorypast.purge,
    memorypast.rules,
):
    commands.command()(command)
Expected = Annotated[
    int | None,
    typer.Option("--expect", metavar="VERSION", min=0, help="Only if the key is at this version; 0: if it is absent."),
]


@commands.command()
def get(
    key: KeyOf,
    scope: Annotated[
        str, typer.Option("--scope", "-s", metavar="SCOPE", help="The scope; without one, where the others say.")
    ] = "",
    workflow: Annotated[
        str, typer.Option(metavar="ID", help="Look into this workflow's scope before the global one.")
    ] = "",
    task: Annotated[
        str, typer.Option(metavar="TASK", help="Look into the scope of this task of the workflow first.")
    ] = "",
    agent: Annotated[str, typer.Option(metavar="NAME", help="Look into this agent's scope, too.")] = "",
    version: Annotated[int | None, typer.Option(min=1, help="This version of it.")] = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="What it was at this time, or so long ago, as in 2h.")
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Also who wrote it, when, and from what.")] = False,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Print what a key holds."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing

    past = read_time(as_of, ago=True)
    with connect(server, token_file) as client:
        reply = client.get_memory(
            key,
            scope=scope or ("global" if version or past else ""),
            workflow_id=workflow,
            task_id=task,
            agent=agent,
            version=version,
            as_of=past,
        )
    if as_json:
        printing.print_json(message_to_dict(reply))
        return
    if details:
        print_entry(reply.entry)
        print()
    if reply.entry.deleted:
        print("(deleted)")
    else:
        printing.print_part(reply.entry.value)


@commands.command()
def put(
    key: KeyOf,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A text; @FILE: a file's bytes; - is standard input.")],
    scope: ScopeOf = "global",
    is_json: Annotated[bool, typer.Option("--as-json", help="The value is JSON.")] = False,
    media_type: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="Its media type, such as text/markdown.")
    ] = "",
    ttl: Annotated[str | None, typer.Option(metavar="TIME", help="How long it is there, as in 90s, 2h or 7d.")] = None,
    expect: Expected = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Store a value under a key."""
    from orcs_server.cli.printing import print_reply

    part = _part(value, media_type, is_json=is_json)
    seconds = None if ttl is None else read_seconds(ttl)
    with connect(server, token_file) as client:
        reply = client.put_memory(key, part, scope=scope, ttl=seconds, expected_version=expect)
    print_reply(reply, f"version {reply.version}", as_json=as_json)


@commands.command()
def delete(
    key: KeyOf,
    scope: ScopeOf = "global",
    expect: Expected = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete a key. Its history stays, see `orcs memory purge`."""
    from orcs_server.cli.printing import print_reply

    with connect(server, token_file) as client:
        reply = client.delete_memory(key, scope=scope, expected_version=expect)
    print_reply(
        reply,
        f"deleted by version {reply.version}" if reply.version else "there was nothing to delete",
        as_json=as_json,
    )


@commands.command("list")
def list_entries(
    scope: ScopeOf = "global",
    prefix: Prefix = "",
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="What was there at this time, or so long ago, as in 2h.")
    ] = None,
    unread: Annotated[bool, typer.Option("--unread", help="Only what was never read.")] = False,
    limit: Limit = 50,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List a scope's keys, without their values."""
    past = read_time(as_of, ago=True)
    if unread and (past or prefix):
        raise typer.TyperException("--unread goes with neither --as-of nor --prefix.")
    with connect(server, token_file) as client:
        if unread:
            entries = first(_never_read(client, scope, page_of(limit)), limit)
        else:
            entries = first(client.list_memory(scope, prefix=prefix, as_of=past, page_size=page_of(limit)), limit)
    print_entries(entries, as_json=as_json)


@commands.command()
def search(
    query: Annotated[str, typer.Argument(metavar="WORDS", help="What the entries hold.", show_default=False)],
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", "-s", metavar="SCOPE", help="Only in this scope; may be repeated.")
    ] = None,
    any_word: Annotated[bool, typer.Option("--any", help="Entries that hold any of the words, not only all.")] = False,
    limit: Limit = 20,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Find entries by the words that they hold, the best first."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing

    with connect(server, token_file) as client:
        found = client.search_memory(query, scopes=scopes or (), any_word=any_word, page_size=page_of(limit, 100))
        hits = first(found, limit)
    if as_json:
        printing.print_json({"hits": [message_to_dict(hit) for hit in hits]})
        return
    rows = [(hit.entry.scope, hit.entry.key, hit.snippet) for hit in hits]
    printing.print_table(("SCOPE", "KEY", "TEXT"), rows, spare=("SCOPE",))


@commands.command()
def share(
    key: KeyOf,
    target: Annotated[str, typer.Argument(metavar="SCOPE", help="Where a copy is put.", show_default=False)],
    scope: ScopeOf = "global",
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a copy of an entry into another scope."""
    from orcs_server.cli.printing import print_reply

    with connect(server, token_file) as client:
        reply = client.share_memory(key, target, scope=scope)
    print_reply(reply, f"version {reply.version} in the other scope", as_json=as_json)


@commands.command()
def watch(
    scope: Annotated[str, typer.Option("--scope", "-s", metavar="SCOPE", help="Only this scope.")] = "",
    prefix: Prefix = "",
    after: Annotated[str, typer.Option(metavar="CURSOR", help="Only what came after this place in the log.")] = "",
    reconnect_timeout: ReconnectTimeout = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Watch what is written, until interrupted: a line for each change.

    While the server is away, the watch says so and tries again.
    """
    from orcs_client.messages import message_to_dict
    from orcs_server.cli.exits import tell
    from orcs_server.cli.memoryshown import change_line
    from orcs_server.cli.printing import print_json

    with connect(server, token_file) as client:
        updates = client.watch_memory(
            scope,
            prefix=prefix,
            after_cursor=after,
            reconnect_timeout=reconnect_timeout,
            on_disconnect=lambda _: tell(f"connection to {client.address} lost, trying again…"),
            on_reconnect=lambda: tell(f"connected to {client.address} again"),
        )
        for update in updates:
            for entry in update.entries:
                if as_json:
                    print_json(message_to_dict(entry), one_line=True)
                else:
                    print(change_line(entry), flush=True)


@commands.command()
def hot(server: Server = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """List the keys that are read most, of all scopes that you may read. `orcs memory list --unread` lists those never read."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing
    from orcs_server.cli.wording import local_time

    with connect(server, token_file) as client:
        found = client.get_memory_statistics().hot
    if as_json:
        printing.print_json({"hot": [message_to_dict(one) for one in found]})
        return
    rows = [
        (f"{one.read_count:,}", local_time(one.last_read_time.ToMicroseconds()), one.scope, one.key) for one in found
    ]
    printing.print_table(("READS", "LAST", "SCOPE", "KEY"), rows, spare=("LAST",))


def _never_read(client: BlockingOrcsClient, scope: str, page_size: int) -> Generator[MemoryEntry, None, None]:
    token = ""
    while True:
        reply = client.get_memory_statistics(scope, page_size=page_size, page_token=token)
        yield from reply.never_read
        token = reply.next_page_token
        if not token:
            return


def _part(value: str, media_type: str, *, is_json: bool) -> Part:
    from orcs_client.messages import Part

    if value.startswith("@"):
        try:
            content = Path(value[1:]).read_bytes()
        except OSError as error:
            raise typer.TyperException(f"{value[1:]} cannot be read: {error.strerror}") from None
        if not is_json:
            return Part(data=content, media_type=media_type)
        return Part(json=content.decode("utf-8", "replace"), media_type=media_type)
    text = read_said(value)
    return Part(json=text, media_type=media_type) if is_json else Part(text=text, media_type=media_type)
