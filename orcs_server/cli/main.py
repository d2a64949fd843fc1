"""The entry point: the tree of commands, and how whatever they raise becomes one line and an exit code."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from orcs_server.cli import (
    agents,
    audit,
    care,
    controlling,
    inbox,
    memory,
    plans,
    reading,
    retrying,
    running,
    serving,
    tokens,
    usage,
    why,
)
from orcs_server.cli.exits import ExitCode, report, tell

app = typer.Typer(
    name="orcs",
    help="ORCS, a durable agent orchestrator: start a server with `orcs serve`, give it work with `orcs run`.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serving.serve)
app.command()(running.run)
app.command("list")(reading.list_workflows)
for command in (
    reading.show,
    running.watch,
    reading.output,
    reading.graph,
    running.start,
    inbox.inbox,
    inbox.answer,
    inbox.approve,
    inbox.reject,
    controlling.pause,
    controlling.resume,
    controlling.cancel,
    retrying.retry,
    retrying.skip,
    retrying.cancel_task,
    controlling.send,
    plans.edit,
    plans.replan,
    plans.revisions,
    controlling.update,
    controlling.freeze,
    controlling.thaw,
    running.delete,
    why.why,
    usage.usage,
    reading.info,
    reading.health,
    care.backup,
    care.restore,
    care.doctor,
):
    app.command()(command)
app.add_typer(agents.commands)
app.add_typer(audit.commands)
app.add_typer(memory.commands)
app.add_typer(tokens.commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        print(importlib.metadata.version("orcs-server"))
        raise typer.Exit


@app.callback()
def orcs(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take what is said before the command."""


def main() -> NoReturn:
    """Carry out the command that the program was started with, and exit."""
    sys.exit(carry_out(sys.argv[1:]))


def carry_out(arguments: Sequence[str]) -> int:
    """Carry out a command and return its exit code; see `orcs_server.cli.exits` for what they mean."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    for argument in arguments:
        # How Python hands over bytes that are not UTF-8.
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            tell(f"{argument[:80]!a} is not UTF-8 text: write it in UTF-8, or give it in a file or by standard input.")
            return ExitCode.WRONG
    try:
        code = typer.main.get_command(app).main(
            args=list(arguments) or ["--help"], prog_name="orcs", standalone_mode=False
        )
        sys.stdout.flush()
    except typer.TyperException as error:
        return _misused(error, arguments)
    except (typer.Abort, KeyboardInterrupt, asyncio.CancelledError):
        return ExitCode.INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer exits by itself where it meets a broken pipe
        # Otherwise the interpreter would try to write what is left, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.READER_GONE
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets a sentence and a code
        code = report(error)
        if code is ExitCode.FAULT:
            place = traceback.extract_tb(error.__traceback__)[-1]
            tell(
                f"this is a fault in the program ({type(error).__name__} at {Path(place.filename).name}:{place.lineno})"
            )
        return code
    return code if isinstance(code, int) else ExitCode.DONE


def _misused(error: typer.TyperException, arguments: Sequence[str]) -> ExitCode:
    context = getattr(error, "ctx", None)
    path = f"orcs {arguments[0]}" if context is None else context.command_path
    message = error.format_message().rstrip().replace("Value error, ", "")
    tell(f"{message}{'' if message.endswith(('.', '?')) else '.'} See `{path} --help`.")
    return ExitCode.WRONG
