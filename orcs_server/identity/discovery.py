"""How programs of the same user on the same machine find a running server's token by themselves.

While it runs, a server keeps one file for its address,

    $XDG_STATE_HOME/orcs/servers/HOST_PORT.json      (~/.local/state where XDG_STATE_HOME is unset or not absolute)

mode 0600, in a folder of mode 0700, with one JSON object:

    {"address": "127.0.0.1:50750", "token_file": "/absolute/path/orcs.db.token", "pid": 4711}

HOST is the host part in lower case without brackets, each character other than a-z, 0-9, "." and "-" replaced by "-":
`[::1]:50750` lies in `--1_50750.json`. `token_file` is null where the server asks for no token. The named file holds the token's
text, maybe followed by white space.

A client that is to reach HOST:PORT and was given no token reads the first file that exists of:
1. HOST_PORT.json;
2. if HOST is `localhost`, in 127.0.0.0/8 or ::1, the same PORT under 127.0.0.1, localhost, ::1, 0.0.0.0 and ::, in this order
   (a server that listens on all addresses, or on loopback by another name).
It uses a file only if folder and file belong to its own user and nobody else may read them, and if `pid` is a live process
that it may signal (`kill(pid, 0)`): otherwise the server is gone, and a token would go to whoever took its port.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

from orcs_server.identity.private_files import PRIVATE_FOLDER_MODE, replace_private

_log = logging.getLogger("orcs.identity")
_UNSAFE = re.compile(r"[^a-z0-9.-]")


def servers_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the files that announce servers."""
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        home = environ.get("HOME")
        state = (Path(home) if home else Path.home()) / ".local" / "state"
    return state / "orcs" / "servers"


class Announcement:
    """The file by which programs of the same user find this server: written by `publish`, removed by `withdraw`."""

    def __init__(self, host: str, port: int, token_file: Path | None, environ: Mapping[str, str]) -> None:
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._token_file = None if token_file is None else str(token_file.absolute())
        self.path = servers_folder(environ) / f"{_UNSAFE.sub('-', host.lower())}_{port}.json"

    def publish(self) -> bool:
        """Write the file; False, with a warning in the log, where there is no place for it, as in a bare container."""
        body = {"address": self._address, "token_file": self._token_file, "pid": os.getpid()}
        try:
            self.path.parent.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
            # mkdir leaves an existing folder's mode alone.
            self.path.parent.chmod(PRIVATE_FOLDER_MODE)
            replace_private(self.path, json.dumps(body).encode() + b"\n")
        except OSError as error:
            _log.warning(
                "%s cannot be written (%s): clients must be given the token in ORCS_TOKEN", self.path, error.strerror
            )
            return False
        return True

    def withdraw(self) -> None:
        """Remove the file, unless another server has taken over the address meanwhile. Safe to call at any time."""
        try:
            if json.loads(self.path.read_bytes())["pid"] == os.getpid():
                self.path.unlink()
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s was left behind: %s", self.path, error)
