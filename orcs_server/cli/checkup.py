"""What `orcs doctor` learns from a running server: whether it has trouble of its own, such as a model server that is down."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orcs_client.messages import Problem

MOST_FILES = 1_000
"""Announcements that are looked at."""


class Answer(NamedTuple):
    """What a server said of itself."""

    address: str
    problems: Sequence[Problem] = ()
    silence: str = ""
    """Why it said nothing."""

    @property
    def healthy(self) -> bool:
        return not self.problems and not self.silence


def ask(server: str | None, token_file: Path | None) -> Answer:
    """Ask a server what is wrong with it. One that cannot be reached, or tells this caller nothing, is told of as well."""
    from orcs_client import OrcsError
    from orcs_server.cli.options import connect

    with connect(server, token_file) as client:
        try:
            return Answer(client.address, client.list_problems())
        except OrcsError as error:
            return Answer(client.address, silence=str(error))


def server_of(data: Path) -> tuple[str, Path] | None:
    """Return address and token file of the server of this user that says that it runs on a data file."""
    from orcs_server.identity.discovery import servers_folder
    from orcs_server.identity.tokens import token_file

    own = str(token_file(data).absolute())
    for _, path in zip(range(MOST_FILES), sorted(servers_folder(os.environ).glob("*.json")), strict=False):
        try:
            said = json.loads(path.read_bytes())
            if said["token_file"] == own and _lives(said["pid"]):
                return str(said["address"]), Path(own)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # Not one of ours, or gone by now.
    return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def print_answer(answer: Answer) -> None:
    """Print what a server said."""
    from orcs_client.messages import ProblemCode, short_name
    from orcs_server.cli.printing import print_fields, print_table
    from orcs_server.cli.wording import local_time

    said = answer.silence or (f"{len(answer.problems)} problems" if answer.problems else "no problems")
    print_fields((("server", answer.address), ("it says", said)))
    if answer.problems:
        print()
        print_table(
            ("PROBLEM", "SINCE", "WHAT"),
            [
                (
                    short_name(ProblemCode, one.code),
                    local_time(one.since_time.ToMicroseconds()) if one.HasField("since_time") else "",
                    one.text,
                )
                for one in answer.problems
            ],
            spare=("SINCE",),
        )
