"""The commands `backup`, `restore` and `doctor`: care for a data file on this machine, not over the wire."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from orcs_server.cli.checkup import Answer
    from orcs_server.storage.sqlite.copies import Copied
    from orcs_server.storage.sqlite.examination import Examination, Obstacles

Database = Annotated[Path | None, typer.Option(metavar="FILE", help="The server's database file; else as for `serve`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def backup(
    copy: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to be made.", show_default=False)],
    data: Database = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database into a new file, also beside a server. Tokens are not in it."""
    from orcs_server.storage.sqlite.copies import back_up

    copied = back_up(_file(data), copy)
    if as_json:
        _print_json(_fields(copied))
    else:
        print(f"{copy}: {copied.size:,} bytes, up to event {copied.position}")


def restore(
    copy: Annotated[Path, typer.Argument(metavar="FILE", help="A copy made by `backup`.", show_default=False)],
    data: Database = None,
    as_json: AsJson = False,
) -> None:
    """Put a copy in the place of the database; no server may run. What was there is kept under another name.

    Clients that go on after a cursor from before are told to start again from a snapshot.
    """
    from orcs_server.storage.sqlite.copies import restore_copy

    path = _file(data)
    restored = restore_copy(copy, path)
    if as_json:
        aside = None if restored.aside is None else str(restored.aside)
        _print_json({**_fields(restored.copied), "replaced": aside})
        return
    print(f"{path} restored, up to event {restored.copied.position}")
    if restored.aside is not None:
        print(f"what was there before is kept as {restored.aside}")


def doctor(
    data: Database = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's configuration file; else ORCS_CONFIG.")
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option("--agents", "--agent-registry", metavar="MODULE:NAME", help="The server's registry of agents."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Ask this server, which may be elsewhere, instead of reading a file."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --server: a file with an administrator's token.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Tell what is wrong with a database and its server.

    All of the database is read, and its server, if one runs, is asked. Also told is which workflows a server with these settings could not continue. Nothing is changed, and a server may be
    using it. Exits with 0 if all is well and 1 if not.
    """
    from orcs_server.cli import checkup

    if server is not None:
        answer = checkup.ask(server, token_file)
        return _tell(None, answer, as_json=as_json)
    from orcs_server.config import Settings
    from orcs_server.storage.sqlite.examination import examine

    settings = Settings.load({"data": data, "agent_registry": agents}, config)
    found = examine(settings.data, _obstacles(settings))
    beside = checkup.server_of(settings.data)
    return _tell(found, None if beside is None else checkup.ask(*beside), as_json=as_json)


def _tell(found: Examination | None, answer: Answer | None, *, as_json: bool) -> int:
    """Print what was found in the file and what the server said; return the exit status."""
    from orcs_server.cli import checkup
    from orcs_server.cli.exits import ExitCode

    healthy = (found is None or found.well) and (answer is None or answer.healthy)
    if as_json:
        import msgspec

        from orcs_client.messages import message_to_dict

        told: dict[str, Any] = {} if found is None else msgspec.to_builtins(found)
        if answer is not None:
            problems = [message_to_dict(one) for one in answer.problems]
            told["server"] = {"address": answer.address, "problems": problems, "silence": answer.silence}
        _print_json({**told, "healthy": healthy})
    else:
        if found is not None:
            _print_examination(found)
        if found is not None and answer is not None:
            print()
        if answer is not None:
            checkup.print_answer(answer)
    return ExitCode.DONE if healthy else ExitCode.NOT_COMPLETED


def _obstacles(settings: Any) -> Obstacles:
    from orcs_server.agents.catalog import AgentCatalog
    from orcs_server.executor.configuration import obstacles, unpack
    from orcs_server.service.nameable import tooling

    _, known, _ = tooling(settings)
    catalog = AgentCatalog.build(settings.agents, settings.agent_registry, settings.prompts.planner, known)
    return lambda state, packed: obstacles(None if packed is None else unpack(packed), catalog, state)


def _print_examination(found: Examination) -> None:
    from orcs_server.cli.printing import print_fields, print_table

    unused = f", {found.unused_blobs} of them unused ({found.unused_bytes:,} bytes)" if found.unused_blobs else ""
    older = "" if found.version == found.newest_version else f"; a server brings it up to {found.newest_version}"
    print_fields(
        (
            ("file", found.path),
            ("version", f"{found.version}{older}"),
            ("log epoch", found.epoch),
            ("workflows", f"{found.workflows:,}, {found.live:,} of them not finished"),
            ("events", f"{found.events:,}"),
            ("texts", f"{found.blobs:,}{unused}"),
            ("findings", "none" if found.healthy else f"{len(found.findings) + sum(found.omitted.values()):,}"),
        )
    )
    if found.well:
        return
    print()
    print_table(
        ("CHECK", "NAMESPACE", "WORKFLOW", "FINDING"),
        [(each.check, each.namespace, each.workflow_id, each.message) for each in (*found.findings, *found.warnings)],
    )
    for check, count in found.omitted.items():
        print(f"and {count:,} more of {check}")


def _file(data: Path | None) -> Path:
    if data is not None:
        return data
    from orcs_server.config import Settings

    return Settings.load().data


def _fields(copied: Copied) -> dict[str, Any]:
    return {**copied._asdict(), "path": str(copied.path)}


def _print_json(fields: dict[str, Any]) -> None:
    from orcs_server.cli.printing import print_json

    print_json(fields)
