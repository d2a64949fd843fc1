"""Tokens get a new text: who has them stays, and the old text counts for as long as was said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from orcs_server.errors import InvalidArgument, NotFound
from orcs_server.identity.tokens import LONGEST_GRACE_US, TokenRegistry, registry_file, token_file

START_US = 1_000_000_000


class Now:
    def __init__(self) -> None:
        self.us = START_US

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def registry(tmp_path: Path, now: Now) -> TokenRegistry:
    return TokenRegistry(tmp_path / "orcs.db", now_us=now, recheck_seconds=0)


def id_of(registry: TokenRegistry, principal: str) -> str:
    return next(entry.id for entry in registry.list() if entry.principal == principal)


def test_without_grace_the_old_text_ends_at_once_and_the_new_one_is_the_same_caller(registry: TokenRegistry) -> None:
    old = registry.create("ann", "red", ("view", "answer"))
    caller, entry = registry.authenticate(old), registry.list()[0]
    new = registry.rotate(entry.id)
    assert registry.authenticate(old) is None
    assert registry.authenticate(new) == caller
    assert (registry.list()[0].id, registry.list()[0].created_us) == (entry.id, entry.created_us)


def test_with_grace_both_texts_count_until_it_has_passed(registry: TokenRegistry, now: Now) -> None:
    old = registry.create("ann", "red", ("view",))
    new = registry.rotate(id_of(registry, "ann"), 1_000)
    now.us = START_US + 999
    assert registry.authenticate(old) == registry.authenticate(new) is not None
    now.us = START_US + 1_000
    assert registry.authenticate(old) is None
    assert registry.authenticate(new) is not None


def test_rotating_again_gives_no_earlier_text_more_time(registry: TokenRegistry, now: Now) -> None:
    first = registry.create("ann", "red", ("view",))
    second = registry.rotate(id_of(registry, "ann"), 1_000)
    now.us += 500
    third = registry.rotate(id_of(registry, "ann"), 10_000)
    assert all(registry.authenticate(text) for text in (first, second, third))
    now.us += 500
    assert registry.authenticate(first) is None
    assert registry.authenticate(second) is not None
    now.us += 20_000
    registry.rotate(id_of(registry, "ann"))
    assert registry.list()[0].retired == ()


def test_rotating_without_grace_ends_the_texts_that_had_some(registry: TokenRegistry) -> None:
    first = registry.create("ann", "red", ("view",))
    second = registry.rotate(id_of(registry, "ann"), 1_000_000)
    third = registry.rotate(id_of(registry, "ann"))
    assert [registry.authenticate(text) is not None for text in (first, second, third)] == [False, False, True]


def test_revoking_ends_all_texts_and_expiry_ends_those_in_grace_too(registry: TokenRegistry, now: Now) -> None:
    old = registry.create("ann", "red", ("view",), expires_us=START_US + 100)
    new = registry.rotate(id_of(registry, "ann"), 1_000)
    now.us += 100
    assert registry.authenticate(old) is None
    assert registry.authenticate(new) is None
    old = registry.create("bob", "red", ("view",))
    new = registry.rotate(id_of(registry, "bob"), 1_000)
    registry.revoke(id_of(registry, "bob"))
    assert registry.authenticate(old) is None
    assert registry.authenticate(new) is None


def test_the_text_of_the_servers_own_user_is_written_where_clients_find_it(tmp_path: Path) -> None:
    data = tmp_path / "orcs.db"
    registry = TokenRegistry(data)
    registry.ensure_own_token()
    new = registry.rotate(registry.list()[0].id)
    assert token_file(data).read_text() == f"{new}\n"
    assert token_file(data).stat().st_mode & 0o777 == 0o600
    again = TokenRegistry(data)
    again.ensure_own_token()
    assert again.authenticate(new) is not None


def test_a_text_that_the_operator_brings_along_is_not_replaced_behind_their_back(tmp_path: Path) -> None:
    registry = TokenRegistry(tmp_path / "orcs.db")
    given = "x" * 40
    registry.ensure_own_token(given)
    with pytest.raises(InvalidArgument, match="brought along"):
        registry.rotate(registry.list()[0].id)
    assert registry.authenticate(given) is not None


@pytest.mark.parametrize("grace_us", [-1, LONGEST_GRACE_US + 1])
def test_a_period_that_is_none_is_refused(registry: TokenRegistry, grace_us: int) -> None:
    registry.create("ann", "red", ("view",))
    with pytest.raises(InvalidArgument, match="365 days"):
        registry.rotate(id_of(registry, "ann"), grace_us)


def test_an_unknown_token_cannot_be_rotated(registry: TokenRegistry) -> None:
    with pytest.raises(NotFound):
        registry.rotate("none")


def test_another_process_notices_and_only_hashes_are_stored(tmp_path: Path, registry: TokenRegistry) -> None:
    server = TokenRegistry(tmp_path / "orcs.db", recheck_seconds=0)
    old = registry.create("ann", "red", ("view",))
    new = registry.rotate(id_of(registry, "ann"))
    assert server.authenticate(old) is None
    assert server.authenticate(new) is not None
    stored = registry_file(tmp_path / "orcs.db").read_text()
    assert old not in stored
    assert new not in stored


def test_a_registry_of_before_rotation_is_read_and_a_forged_retired_hash_is_not(tmp_path: Path) -> None:
    data = tmp_path / "orcs.db"
    text = TokenRegistry(data).create("ann", "red", ("view",))
    file = msgspec.json.decode(registry_file(data).read_bytes())
    file["version"] = 1
    registry_file(data).write_bytes(msgspec.json.encode(file))
    registry = TokenRegistry(data)
    assert registry.authenticate(text) is not None
    file["version"] = 2
    file["tokens"][0]["retired"] = [{"sha256": "", "until_us": 2**62}]
    registry_file(data).write_bytes(msgspec.json.encode(file))
    with pytest.raises(Exception, match="bad sha256"):
        TokenRegistry(data)
