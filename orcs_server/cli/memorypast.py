"""The commands of `orcs memory` about the past, about erasing, and about access rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orcs_server.cli.memoryshown import KeyOf, Limit, ScopeOf, print_entries
from orcs_server.cli.options import (
    AsJson,
    Server,
    TokenFile,
    connect,
    first,
    page_of,
)

Number = Annotated[int, typer.Argument(metavar="SNAPSHOT", min=1, help="The snapshot's number.", show_default=False)]


def history(
    key: KeyOf,
    scope: ScopeOf = "global",
    limit: Limit = 50,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List a key's versions, the newest first. Each with who wrote it."""
    with connect(server, token_file) as client:
        found = client.list_memory_versions(key, scope=scope, page_size=page_of(limit))
        entries = first(found, limit)
    print_entries(entries, as_json=as_json)


def revert(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="The key.")] = None,
    version: Annotated[int | None, typer.Argument(metavar="VERSION", min=1, help="The version to go back to.")] = None,
    scope: ScopeOf = "global",
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Instead of a key: all that this workflow wrote, in any scope.")
    ] = None,
    task: Annotated[str, typer.Option(metavar="TASK", help="With --run: only what this task wrote.")] = "",
    attempt: Annotated[int, typer.Option(min=0, help="With --task: only what this attempt of it wrote.")] = 0,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Go back to a version of a key, or take back all that a run wrote. Always by new versions."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing

    if (run is None) == (key is None) or (key is not None and version is None):
        raise typer.TyperException("Name a key and its version, or a workflow with --run.")
    with connect(server, token_file) as client:
        if run is not None:
            reply = client.revert_memory_of_run(run, task_id=task, attempt=attempt)
        else:
            reply = client.revert_memory(key or "", version or 0, scope=scope)
    if as_json:
        printing.print_json(message_to_dict(reply))
        return
    if run is None:
        print(f"version {reply.version}")
        return
    if not reply.key_count:
        print("that run has written nothing that is kept")
        return
    print(
        f"{reply.reverted_count} keys reverted; {reply.forgotten_count} deleted whose earlier value is no longer kept; "
        f"{reply.overwritten_count} written by others since and left alone"
    )
    rows = [(one.scope, one.key) for one in reply.overwritten]
    if rows:
        printing.print_table(("SCOPE", "LEFT ALONE"), rows)
    made = [(one.scope, one.key) for one in reply.derived]
    if reply.derived_count:
        print(f"{reply.derived_count} made by others from what the run wrote, and left alone: look at them")
        printing.print_table(("SCOPE", "MADE FROM IT"), made)


def scopes(
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Only scopes that begin so, such as workflow:")
    ] = "",
    limit: Limit = 50,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the scopes that hold anything, be it only history."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing
    from orcs_server.cli.wording import local_time

    with connect(server, token_file) as client:
        found = client.list_memory_scopes(prefix, page_size=page_of(limit))
        listed = first(found, limit)
    if as_json:
        printing.print_json({"scopes": [message_to_dict(one) for one in listed]})
        return
    rows = [
        (
            f"{one.entry_count:,}",
            local_time(one.change_time.ToMicroseconds()) if one.HasField("change_time") else "–",
            one.scope,
        )
        for one in listed
    ]
    printing.print_table(("KEYS", "CHANGED", "SCOPE"), rows, spare=("CHANGED",))


def snapshot(
    scope: ScopeOf = "global",
    title: Annotated[str, typer.Option(metavar="TEXT", help="What it is called.")] = "",
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Remember a scope as it is now. It costs nothing: no value is copied."""
    from orcs_server.cli.printing import print_reply

    with connect(server, token_file) as client:
        reply = client.create_snapshot(scope, title=title)
    print_reply(reply, f"snapshot {reply.snapshot.snapshot}", as_json=as_json)


def snapshots(
    scope: Annotated[str, typer.Option("--scope", "-s", metavar="SCOPE", help="Only of this scope.")] = "",
    forget: Annotated[
        int | None, typer.Option(metavar="SNAPSHOT", min=1, help="Forget this one of the scope, and list no others.")
    ] = None,
    limit: Limit = 50,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List snapshots, the newest first."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing
    from orcs_server.cli.wording import local_time

    with connect(server, token_file) as client:
        if forget is not None:
            reply = client.delete_snapshot(forget, scope=scope or "global")
            printing.print_reply(reply, f"snapshot {forget} forgotten", as_json=as_json)
            return
        found = client.list_snapshots(scope, page_size=page_of(limit))
        listed = first(found, limit)
    if as_json:
        printing.print_json({"snapshots": [message_to_dict(one) for one in listed]})
        return
    rows = [
        (str(one.snapshot), one.scope, local_time(one.create_time.ToMicroseconds()), one.principal, one.title)
        for one in listed
    ]
    printing.print_table(("SNAPSHOT", "SCOPE", "MADE", "BY", "TITLE"), rows, spare=("BY", "MADE"))


def diff(
    before: Number,
    after: Annotated[int, typer.Argument(metavar="LATER", min=0, help="The later snapshot; 0: now.")] = 0,
    scope: ScopeOf = "global",
    limit: Limit = 0,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two snapshots of a scope, or between one and now."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing

    with connect(server, token_file) as client:
        found = client.compare_snapshots(before, after, scope=scope)
        differences = first(found, limit)
    if as_json:
        printing.print_json({"differences": [message_to_dict(one) for one in differences]})
        return
    rows = []
    for one in differences:
        was = f"version {one.before.version}" if one.HasField("before") else "absent"
        became = f"version {one.after.version}" if one.HasField("after") else "absent"
        rows.append((was, became, one.key))
    printing.print_table(("BEFORE", "AFTER", "KEY"), rows)


def restore(
    number: Number,
    scope: ScopeOf = "global",
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a scope what it was in a snapshot. By new versions, so that this can be taken back, too."""
    from orcs_server.cli.printing import print_reply
    from orcs_server.cli.wording import count_words

    with connect(server, token_file) as client:
        reply = client.restore_snapshot(number, scope=scope)
    print_reply(reply, f"{count_words(reply.changed_count, 'key')} changed", as_json=as_json)


def purge(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="The key.")] = None,
    scope: ScopeOf = "global",
    prefix: Annotated[str | None, typer.Option(metavar="TEXT", help="All keys that begin so.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All keys of the scope.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Erase entries for good, with their history and what snapshots hold of them. Needs the role administer."""
    from orcs_server.cli.printing import print_reply
    from orcs_server.cli.wording import count_words

    if [key is not None, bool(prefix), everything].count(True) != 1:
        raise typer.TyperException("Name a key, --prefix or --all: one of them.")
    if not yes:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise typer.TyperException(
                "Nothing brings it back: say --yes if that is meant; on a terminal you are asked."
            )
        typer.confirm("Nothing brings it back. Erase it?", abort=True)
    with connect(server, token_file) as client:
        reply = client.purge_memory(scope, key=key, prefix=None if key is not None else prefix or "")
    print_reply(reply, f"{count_words(reply.erased_count, 'version')} erased", as_json=as_json)


def rules(
    new: Annotated[
        Path | None,
        typer.Option(
            "--set", metavar="FILE", help='Replace them by those of this file: {"rules": […]}, as --json prints.'
        ),
    ] = None,
    version: Annotated[int, typer.Option(min=0, help="Those of this version; 0: the newest.")] = 0,
    expect: Annotated[
        int | None, typer.Option(metavar="VERSION", min=0, help="With --set: only if they are at this version.")
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show who may do what with memory beyond what is so by default, or set it."""
    from orcs_client import load_access_rules
    from orcs_client.messages import MemoryPermission, message_to_dict, short_name
    from orcs_server.cli import printing

    replacing = None if new is None else load_access_rules(new)

    with connect(server, token_file) as client:
        if replacing is not None:
            reply: Any = client.set_access_rules(replacing, expected_version=expect)
            printing.print_reply(reply, f"version {reply.version}", as_json=as_json)
            return
        reply = client.get_access_rules(version)
    if as_json:
        printing.print_json(message_to_dict(reply))
        return
    rows = [
        (
            "forbids" if one.deny else "grants",
            one.subject,
            ", ".join(short_name(MemoryPermission, permission).lower() for permission in one.permissions),
            one.scope,
            one.prefix or "–",
        )
        for one in reply.rules
    ]
    printing.print_table(("RULE", "WHOM", "WHAT", "SCOPE", "KEYS"), rows)
