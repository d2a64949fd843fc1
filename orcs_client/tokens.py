"""Which token goes with a call: a given one, or the one that a server of the same user on the same machine left to find.

A server announces itself in `$XDG_STATE_HOME/orcs/servers/HOST_PORT.json` (`~/.local/state` where XDG_STATE_HOME is unset or not
absolute), mode 0600 in a folder of mode 0700, with the keys `address`, `token_file` and `pid`. Such a file counts only if it
and its folder belong to this user alone and its process lives: otherwise the token would go to whoever took the port.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from orcs_client.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcs_client.address import Address

_TOKEN = re.compile(r"[!-~]{1,512}")
_UNSAFE = re.compile(r"[^a-z0-9.-]")
_FILE_LIMIT = 64 * 1024
_LOCAL_NAMES = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::")  # noqa: S104 - names of files, nothing listens


class TokenSource:
    """The token for one server, read when first needed and again when the server refused it.

    In this order: the given token (an empty one: send none), the given file, ORCS_TOKEN, the file that ORCS_TOKEN_FILE names,
    and what the server announced.
    """

    def __init__(
        self,
        address: Address,
        token: str | None,
        token_file: str | Path | None,
        environ: Mapping[str, str],
        *,
        insecure: bool,
    ) -> None:
        if token is not None and token_file is not None:
            raise SettingsError("give the client a token or a token file, not both")
        if token is None and token_file is None:
            token = environ.get("ORCS_TOKEN") or None
            if token is None:
                token_file = environ.get("ORCS_TOKEN_FILE") or None
        self._address = address
        self._environ = environ
        self._insecure = insecure
        self._given = None if token is None else _checked(token.strip(), "the given token")
        self._file = None if token_file is None else Path(token_file)
        self._known = False
        self._token = ""

    def current(self) -> str:
        """Return the token, or "" for none. Raises `SettingsError` if a named file cannot be read, or if the token would travel
        unencrypted to another machine and that was not explicitly allowed.
        """
        if not self._known:
            self._token = self._read()
            self._known = True
        return self._token

    def changed(self) -> bool:
        """Look again, after a refusal; return whether there is another token now, as after the server was set up anew."""
        before = self._token
        self._known = False
        return self.current() != before

    def _read(self) -> str:
        if self._given is not None:
            token = self._given
        elif self._file is not None:
            token = _read_token(self._file)
        else:
            token = self._announced()
        if token and not (self._address.tls or self._address.loopback or self._insecure):
            raise SettingsError(
                f"the token would travel unencrypted to {self._address.target}: use https:// or root certificates, or, if the network "
                "between is your own, allow it with allow_insecure_token=True or ORCS_ALLOW_INSECURE_TOKEN=1"
            )
        return token

    def _announced(self) -> str:
        if os.name != "posix":  # servers run there only, and kill(pid, 0) is no question elsewhere
            return ""
        state = Path(self._environ.get("XDG_STATE_HOME", ""))
        if not state.is_absolute():
            home = self._environ.get("HOME")
            state = (Path(home) if home else Path.home()) / ".local" / "state"
        folder = state / "orcs" / "servers"
        if not _private(folder, stat.S_ISDIR):
            return ""
        hosts = [self._address.host]
        if self._address.loopback:
            hosts += _LOCAL_NAMES
        for host in hosts:
            path = folder / f"{_UNSAFE.sub('-', host.lower())}_{self._address.port}.json"
            if path.exists():
                return _token_of(path)
        return ""


def _token_of(announcement: Path) -> str:
    """Return the token of a live server of this user; "" if it asks for none, or if the file is not to be trusted."""
    if not _private(announcement, stat.S_ISREG):
        return ""
    try:
        body = json.loads(announcement.read_bytes()[:_FILE_LIMIT])
        pid, token_file = body["pid"], body["token_file"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if not isinstance(pid, int) or not isinstance(token_file, str) or not _alive(pid):
        return ""
    return _read_token(Path(token_file))


def _private(path: Path, is_kind: Callable[[int], bool]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return is_kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return False
    return True


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_LIMIT)
    except OSError as error:
        raise SettingsError(f"the token file {path} cannot be read: {error.strerror}") from error
    text = content.decode("ascii", "replace").strip()
    if not text:
        raise SettingsError(f"the token file {path} is empty")
    return _checked(text, f"the token in {path}")


def _checked(token: str, what: str) -> str:
    if token and not _TOKEN.fullmatch(token):
        raise SettingsError(f"{what} is none: a token is up to 512 visible ASCII characters")
    return token
