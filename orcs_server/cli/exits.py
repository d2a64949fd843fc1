"""How the command line ends: its exit codes, and how an error becomes one.

0    done; the workflow that was followed completed
1    the workflow failed or was cancelled; `health`: the server is there, but does not receive work; `doctor`: findings
2    the command, a setting or the request is wrong; the server cannot start
3    the server cannot be reached, does not answer in time, or failed; a watch was given up after --reconnect-timeout
4    the server refused: no or wrong token, not allowed, not found, exists already, wrong state, a limit
70   a fault in this program
130  interrupted (Ctrl-C); a workflow that was followed goes on
141  whoever read the output has gone
"""

from __future__ import annotations

import sys
from enum import IntEnum

from orcs_server.outputs.safe_text import one_line, safe_text

MESSAGE_LIMIT = 4_000
"""Characters of a line of a message that are shown."""
LINES_LIMIT = 100
"""Lines of a message that are shown."""


class ExitCode(IntEnum):
    """See the table above."""

    DONE = 0
    NOT_COMPLETED = 1
    WRONG = 2
    UNAVAILABLE = 3
    REFUSED = 4
    FAULT = 70
    INTERRUPTED = 130
    READER_GONE = 141


def tell(message: str) -> None:
    """Write a message to standard error, after the name of this program; its further lines are indented."""
    lines = [one_line(line, MESSAGE_LIMIT) for line in safe_text(message[: MESSAGE_LIMIT * LINES_LIMIT]).splitlines()]
    first, *more = [line for line in lines if line][:LINES_LIMIT] or [""]
    sys.stderr.write("".join([f"orcs: {first}\n", *(f"  {line}\n" for line in more)]))
    sys.stderr.flush()


def report(error: Exception) -> ExitCode:
    """Tell what is wrong and what to do, every violation in a line of its own; return the exit code."""
    violations = getattr(error, "violations", ())
    if len(violations) > 1:
        places = [f"{one.field}: {one.description}" if one.field else one.description for one in violations]
        tell(
            "\n".join(
                [
                    f"{len(violations)} things are wrong with the request:",
                    *(one_line(place, MESSAGE_LIMIT) for place in places),
                ]
            )
        )
    elif violations and not _names(str(error), violations[0].field):
        tell(f"{str(error).rstrip('.: ')}:\n{violations[0].field}: {violations[0].description}")
    else:
        tell(str(error))
    return code_of(error)


def code_of(error: Exception) -> ExitCode:
    """Return the exit code that an error of the client, or of the server's own files, stands for."""
    import orcs_client
    from orcs_server import errors

    match error:
        case (
            orcs_client.InvalidArgument()
            | orcs_client.SettingsError()
            | errors.InvalidArgument()
            | errors.StartupError()
        ):
            return ExitCode.WRONG
        case (
            orcs_client.Unavailable()
            | orcs_client.DeadlineExceeded()
            | orcs_client.InternalError()
            | orcs_client.GapError()
        ):
            return ExitCode.UNAVAILABLE
        case orcs_client.OrcsError() | errors.OrcsError():
            return ExitCode.REFUSED
        case OSError():
            return ExitCode.WRONG
        case _:
            return ExitCode.FAULT


def _names(message: str, field: str) -> bool:
    return not field or field in message
