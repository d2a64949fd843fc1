"""Tokens: who may call. `<data>.tokens.json` holds their hashes, `<data>.token` the text of the one that the server
makes for its own user. Both are 0600 files beside the data file, and refused when others could read them.

The registry file is read again when it changes, so `orcs token` commands take effect on a running server within a second.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orcs_server.errors import InvalidArgument, NotFound, StartupError, Unavailable, Violation
from orcs_server.identity.caller import ROLES, Caller
from orcs_server.identity.clock import Clock
from orcs_server.identity.ids import NAMESPACE
from orcs_server.identity.private_files import locked, read_private, replace_private

DEFAULT_NAMESPACE = "default"
FILE_LIMIT = 8 * 1024 * 1024
"""Bytes of a registry file: some 30,000 tokens."""
NOTE_LIMIT = 200
"""Characters in a note and in a principal."""
TOKEN_LIMIT = 512
"""Characters of a token that are looked at; a longer one is not a token."""
LONGEST_GRACE_US = 365 * 86_400_000_000
RECHECK_SECONDS = 1.0
"""How long a registry that was looked at counts as fresh."""
GIVEN_TOKEN = re.compile(r"[!-~]{32,512}")
"""What a token that the operator brings along must look like: 32 to 512 visible ASCII characters."""

_log = logging.getLogger("orcs.identity")
_VISIBLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Retired(Struct, frozen=True, forbid_unknown_fields=True):
    """The hash of a text that was replaced, and until when it still counts."""

    sha256: str
    until_us: int


class TokenEntry(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of one token. The token itself is not: only its SHA-256."""

    id: str
    sha256: str
    principal: str
    namespace: str
    roles: tuple[str, ...]
    created_us: int
    expires_us: int | None = None
    note: str = ""
    own: bool = False
    """The one whose text the server keeps for its own user."""
    retired: tuple[Retired, ...] = ()
    """Texts before the last rotation that are within their period of grace."""


class _TokenFile(Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    tokens: tuple[TokenEntry, ...]


OnChange = Callable[[TokenEntry, str], None]
_VERSION = 2
"""1: without rotation."""
_Seen = tuple[int, int, int]


def token_file(data: Path) -> Path:
    """Return where the text of the server's own token lies: beside the data file."""
    return data.with_name(f"{data.name}.token")


def registry_file(data: Path) -> Path:
    """Return where the hashes of all tokens lie: beside the data file."""
    return data.with_name(f"{data.name}.tokens.json")


class TokenRegistry:
    """The tokens of one data file, shared safely with other processes that create and revoke them.

    Opening raises `StartupError` if the registry is damaged, or readable by others. Nothing is created by opening.
    """

    def __init__(
        self, data: Path, *, now_us: Callable[[], int] | None = None, recheck_seconds: float = RECHECK_SECONDS
    ) -> None:
        self.path = registry_file(data)
        self.own_token_path = token_file(data)
        self._lock_path = self.path.with_name(f"{self.path.name}.lock")
        self._now_us = now_us or Clock().now_us
        self._recheck_seconds = recheck_seconds
        self._checked = time.monotonic()
        self._entries: dict[str, TokenEntry] = {}
        self._callers: dict[str, Caller] = {}
        self._by_hash: dict[str, TokenEntry] = {}
        self._seen: _Seen | None = None
        self._broken = False
        self.on_change: OnChange | None = None
        """Is told of each token that is `created` or `revoked` from now on, by whichever program."""
        self._load()

    def ensure_own_token(self, given: str | None = None) -> Path | None:
        """Make sure that this operating system user has a token with every role; return the file with its text.

        It is made at the first start, and anew when its file was lost; once revoked it stays revoked. With `given`, a token
        that the operator brings along (a mounted secret), that one takes its place, nothing is written beside the
        data file, and None is returned. Raises `StartupError` if the files cannot be written or `given` is no token.
        """
        if given is not None and not GIVEN_TOKEN.fullmatch(given):
            raise StartupError(
                "the given token must be 32 to 512 visible ASCII characters, for instance `openssl rand -hex 32`"
            )
        try:
            with locked(self._lock_path):
                return self._ensure_own_token(given)
        except OSError as error:
            raise StartupError(f"the token files beside {self.path} cannot be written: {error.strerror}") from error

    def _ensure_own_token(self, given: str | None) -> Path | None:
        self._load()
        first_start = self._seen is None
        entry = next((entry for entry in self._entries.values() if entry.own), None)
        if given is not None:
            if entry is None or not hmac.compare_digest(entry.sha256, _hash(given)):
                self._replace_own(given)
            return None
        if entry is None and not first_start:
            return self.own_token_path if self.own_token_path.exists() else None
        kept = read_private(self.own_token_path, TOKEN_LIMIT)
        text = "" if kept is None else kept[0].decode("ascii", "replace").strip()
        if entry is None or not hmac.compare_digest(entry.sha256, _hash(text)):
            text = _new_token()
            # The registry first: a crash in between leaves a hash without its text, which the next start replaces.
            self._replace_own(text)
            replace_private(self.own_token_path, f"{text}\n".encode())
        return self.own_token_path

    def _replace_own(self, token: str) -> None:
        others = [entry for entry in self._entries.values() if not entry.own]
        principal = _user_name()
        self._write(
            [*others, self._entry(token, principal, DEFAULT_NAMESPACE, ROLES, None, "the server's own user", own=True)]
        )

    def authenticate(self, token: str) -> Caller | None:
        """Return who holds `token`; None if it is unknown, revoked or expired.

        Raises `Unavailable` while the registry cannot be read or trusted: nobody is let in then.
        """
        self._refresh()
        if self._broken:
            raise Unavailable(
                "STORAGE_UNAVAILABLE", "tokens cannot be checked at the moment; the server's log says why"
            )
        if len(token) > TOKEN_LIMIT:
            return None
        digest = _hash(token)
        entry = self._by_hash.get(digest)
        # Only hashes are looked up, so timing tells nothing of the token.
        if entry is None:
            return None
        ends = [entry.expires_us] if entry.sha256 == digest else [entry.expires_us, _until(entry, digest)]
        if any(end is not None and end <= self._now_us() for end in ends):
            return None
        return self._callers[entry.id]

    def create(
        self, principal: str, namespace: str, roles: Sequence[str], expires_us: int | None = None, note: str = ""
    ) -> str:
        """Store a new token's hash and return its text, which nobody can read again later.

        Raises `InvalidArgument` with every violation, and `OSError` if the registry cannot be written.
        """
        violations = _violations(principal, namespace, roles, note)
        if expires_us is not None and expires_us <= self._now_us():
            violations.append(Violation("expires", "it must lie in the future"))
        if violations:
            raise InvalidArgument("FIELD_INVALID", "the token cannot be created as asked", tuple(violations))
        token = _new_token()
        with locked(self._lock_path):
            self._load()
            kept = tuple(role for role in ROLES if role in roles)
            entry = self._entry(token, principal, namespace, kept, expires_us, note)
            self._write([*self._entries.values(), entry])
        return token

    def revoke(self, token_id: str) -> None:
        """Forget a token for good; a running server notices within a second. Raises `NotFound` for an unknown id."""
        with locked(self._lock_path):
            self._load()
            if token_id not in self._entries:
                raise _no_token(token_id)
            self._write([entry for entry in self._entries.values() if entry.id != token_id])

    def rotate(self, token_id: str, grace_us: int = 0) -> str:
        """Give a token a new text and return it; principal, namespace, roles, expiry and id stay. The text before it counts for
        `grace_us` more, not beyond the expiry, and earlier ones no longer than that.

        The text of the server's own user is written into its file. Raises `NotFound`; `InvalidArgument` for a period that is
        negative or longer than a year, and for a token whose text the operator brings along; `OSError`.
        """
        if not 0 <= grace_us <= LONGEST_GRACE_US:
            raise InvalidArgument("FIELD_INVALID", "the period of grace must be 0 seconds to 365 days")
        token = _new_token()
        with locked(self._lock_path):
            self._load()
            entry = self._entries.get(token_id)
            if entry is None:
                raise _no_token(token_id)
            if entry.own and not self._keeps_text_of(entry):
                raise InvalidArgument(
                    "FIELD_INVALID",
                    "the text of this token is brought along by the operator: change it where it comes from, and start again",
                )
            now_us = self._now_us()
            before = Retired(entry.sha256, now_us + grace_us)
            earlier = (replace(one, until_us=min(one.until_us, before.until_us)) for one in entry.retired)
            retired = tuple(one for one in (*earlier, before) if one.until_us > now_us)
            rotated = replace(entry, sha256=_hash(token), retired=retired)
            self._write([rotated if one.id == token_id else one for one in self._entries.values()])
            if entry.own:
                replace_private(self.own_token_path, f"{token}\n".encode())
        return token

    def _keeps_text_of(self, entry: TokenEntry) -> bool:
        kept = read_private(self.own_token_path, TOKEN_LIMIT)
        return kept is not None and _hash(kept[0].decode("ascii", "replace").strip()) == entry.sha256

    def list(self) -> tuple[TokenEntry, ...]:
        """Return every entry in the order of creation, expired ones included."""
        self._refresh()
        return tuple(self._entries.values())

    def _entry(
        self,
        token: str,
        principal: str,
        namespace: str,
        roles: tuple[str, ...],
        expires_us: int | None,
        note: str,
        *,
        own: bool = False,
    ) -> TokenEntry:
        # The id is random: one cut from the hash would tell something of the token.
        return TokenEntry(
            secrets.token_hex(6), _hash(token), principal, namespace, roles, self._now_us(), expires_us, note, own
        )

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._checked < self._recheck_seconds:
            return
        self._checked = now
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            seen = None
        except OSError as error:
            _log.error("%s cannot be read (%s): no token is accepted until it can", self.path, error.strerror)
            self._broken = True
            return
        else:
            seen = _seen(status)
        if seen == self._seen and not self._broken:
            return
        try:
            self._load()
        except StartupError as error:
            _log.error("%s; no token is accepted until then", error)
            self._broken = True

    def _load(self) -> None:
        found = read_private(self.path, FILE_LIMIT)
        if found is None:
            self._adopt((), None)
            return
        content, status = found
        try:
            file = msgspec.json.decode(content, type=_TokenFile)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StartupError(
                f"{self.path} is damaged ({error}): bring it back from a backup, or remove it together with "
                f"{self.own_token_path.name} to start with a new token"
            ) from None
        if not 1 <= file.version <= _VERSION:
            raise StartupError(f"{self.path} was written by a newer version of this program: use that version")
        for entry in file.tokens:
            wrong = _violations(entry.principal, entry.namespace, entry.roles, entry.note)
            hashes = (entry.sha256, *(one.sha256 for one in entry.retired))
            if wrong or not all(_SHA256.fullmatch(one) for one in hashes):
                where = wrong[0].field if wrong else "sha256"
                raise StartupError(
                    f"{self.path}: the token {entry.id[:80]!r} has a bad {where}: correct or remove its entry"
                )
        self._adopt(file.tokens, _seen(status))

    def _write(self, entries: Sequence[TokenEntry]) -> None:
        content = msgspec.json.format(msgspec.json.encode(_TokenFile(_VERSION, tuple(entries))), indent=2) + b"\n"
        if len(content) > FILE_LIMIT:
            raise InvalidArgument("FIELD_INVALID", "there are too many tokens: revoke those that are no longer used")
        replace_private(self.path, content)
        self._load()

    def _adopt(self, entries: tuple[TokenEntry, ...], seen: _Seen | None) -> None:
        before, self._entries = self._entries, {entry.id: entry for entry in entries}
        if self.on_change is not None:
            for entry in self._entries.keys() - before.keys():
                self.on_change(self._entries[entry], "create")
            for entry in before.keys() - self._entries.keys():
                self.on_change(before[entry], "revoke")
            for entry in before.keys() & self._entries.keys():
                if before[entry].sha256 != self._entries[entry].sha256:
                    self.on_change(self._entries[entry], "rotate")
        self._by_hash = {one.sha256: entry for entry in entries for one in entry.retired}
        self._by_hash |= {entry.sha256: entry for entry in entries}
        self._callers = {
            entry.id: Caller(entry.principal, entry.namespace, entry.roles, own=entry.own) for entry in entries
        }
        self._seen = seen
        self._broken = False


def _violations(principal: str, namespace: str, roles: Sequence[str], note: str) -> list[Violation]:
    violations = []
    if not _VISIBLE.fullmatch(principal):
        violations.append(Violation("principal", f"it must be 1 to {NOTE_LIMIT} characters without control characters"))
    if not NAMESPACE.fullmatch(namespace):
        violations.append(
            Violation("namespace", "it must be 1 to 128 letters, digits and ._:-, a letter or digit first")
        )
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        violations.append(Violation("roles", f"they must be one or more of {', '.join(ROLES)}"))
    if note and not _VISIBLE.fullmatch(note):
        violations.append(Violation("note", f"it must be at most {NOTE_LIMIT} characters without control characters"))
    return violations


def _until(entry: TokenEntry, digest: str) -> int:
    """Return until when a text that was replaced counts."""
    return max((one.until_us for one in entry.retired if one.sha256 == digest), default=0)


def _no_token(token_id: str) -> NotFound:
    return NotFound("TOKEN_INVALID", f"there is no token with the id {token_id[:80]!r}: `list` shows them all")


def _seen(status: os.stat_result) -> _Seen:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _new_token() -> str:
    return f"orcs_{secrets.token_urlsafe(32)}"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"
