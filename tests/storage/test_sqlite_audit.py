"""The audit log in its file: whatever is changed in it by hand is found, with and without a server; copies carry it on."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import to_builtins

from orcs_server.storage.audit import PRUNE, SERVER, AuditDraft, AuditFilter, details_of
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.sqlite import audit as rows
from orcs_server.storage.sqlite.audit_file import misfits, newest
from orcs_server.storage.sqlite.copies import back_up, restore_copy
from orcs_server.storage.sqlite.examination import examine
from orcs_server.storage.store import Store
from tests.storage.samples import START_US, written_by

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit.md"
COUNT = 12
COLUMNS = (
    *("number", "time_us", "principal", "roles", "operation", "method", "resource", "outcome", "request_id", "peer"),
    *("agent", "workflow_id", "task_id", "details", "previous_hash", "hash"),
)
CHAIN_COLUMNS = ("number", "hash", "removed", "removed_hash")


def drafts() -> list[AuditDraft]:
    return [
        AuditDraft(
            START_US + number, "memory.write", "agent", "ada", ("view", "operate"), "global", "OK", f"r{number}", "ipv4:10.0.0.1",
            "agent", "w1", "t1", details_of({"key": f"k{number}", "text": "é\x7f\u2028"}),
        )
        for number in range(COUNT)
    ]  # fmt: skip


async def filled(path: Path, *, pruned: bool = False) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.audit.append("red", drafts())
    await store.audit.append("blue", drafts())
    if pruned:
        await store.audit.prune("red", START_US + 4, 500, AuditDraft(START_US + 99, PRUNE, "retention", "orcs"))
    await store.close()


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "cut by retention"])
def untouched(request: pytest.FixtureRequest) -> Iterator[bytes]:
    """The bytes of a file with two chains."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orcs.db"
        asyncio.run(filled(path, pruned=request.param))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # So that the bytes are all of it.
        yield path.read_bytes()


def after(content: bytes, *statements: tuple[str, tuple[object, ...]]) -> list[str]:
    """Change a copy of the file; return the namespaces whose chain is found not to fit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orcs.db"
        path.write_bytes(content)
        with closing(sqlite3.connect(path)) as connection:
            for statement, parameters in statements:
                changed = connection.execute(statement, parameters).rowcount
                assert changed > 0, "the tampering itself did nothing"
            connection.commit()
            found = [namespace for namespace, _ in misfits(connection)]
        assert {one.namespace for one in examine(path).findings if one.check == "audit"} == set(found)
        return found


def kept(content: bytes) -> list[int]:
    """Return the numbers of a chain's records."""
    return [row[0] for row in values(content)]


def values(content: bytes) -> list[tuple[Any, ...]]:
    """Return the rows of a chain."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        columns = ", ".join(COLUMNS)
        return connection.execute(f"SELECT {columns} FROM audit_records WHERE namespace = 'red' ORDER BY 1").fetchall()


def test_what_nobody_touched_fits(untouched: bytes) -> None:
    assert after(untouched) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_field_of_any_record_that_is_changed_is_found(untouched: bytes, data: st.DataObject) -> None:
    column = data.draw(st.sampled_from(range(len(COLUMNS))))
    row = data.draw(st.sampled_from(values(untouched)))
    if COLUMNS[column] in ("number", "time_us"):
        value: object = data.draw(st.integers(START_US + 500, 2**60))
    else:
        value = data.draw(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20))
    assume(value != row[column])
    statement = f"UPDATE audit_records SET {COLUMNS[column]} = ? WHERE namespace = 'red' AND number = ?"
    assert after(untouched, (statement, (value, row[0]))) == ["red"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_record_that_is_removed_is_found(untouched: bytes, data: st.DataObject) -> None:
    number = data.draw(st.sampled_from(kept(untouched)))
    assert after(untouched, ("DELETE FROM audit_records WHERE namespace = 'red' AND number = ?", (number,))) == ["red"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_records_that_change_places_are_found(untouched: bytes, data: st.DataObject) -> None:
    pair = st.lists(st.sampled_from(kept(untouched)), min_size=2, max_size=2, unique=True)
    one, other = data.draw(pair)
    move = "UPDATE audit_records SET number = ? WHERE namespace = 'red' AND number = ?"
    assert after(untouched, (move, (1000, one)), (move, (one, other)), (move, (other, 1000))) == ["red"]


@pytest.mark.parametrize("column", CHAIN_COLUMNS)
def test_the_note_of_where_a_chain_begins_and_ends_is_looked_at(untouched: bytes, column: str) -> None:
    value = "f" * 64 if column.endswith("hash") else 3
    assert after(untouched, (f"UPDATE audit_chains SET {column} = ? WHERE namespace = 'red'", (value,))) == ["red"]


def test_a_chain_without_its_note_is_found(untouched: bytes) -> None:
    assert after(untouched, ("DELETE FROM audit_chains WHERE namespace = 'red'", ())) == ["red"]


def test_a_record_of_another_namespace_fits_nowhere(untouched: bytes) -> None:
    columns = ", ".join(COLUMNS)
    copy = (
        f"INSERT INTO audit_records SELECT 'blue', {columns} FROM audit_records WHERE namespace = 'red' AND number = ?"
    )
    assert after(
        untouched,
        ("DELETE FROM audit_records WHERE namespace = 'blue' AND number = ?", (COUNT,)),
        (copy, (COUNT,)),
    ) == ["blue"]


def test_the_beginning_cannot_be_cut_off_as_if_by_retention(untouched: bytes) -> None:
    number = kept(untouched)[2]
    last = "SELECT hash FROM audit_records WHERE namespace = 'red' AND number = ?"
    assert after(
        untouched,
        (f"UPDATE audit_chains SET removed = ?, removed_hash = ({last}) WHERE namespace = 'red'", (number, number)),
        ("DELETE FROM audit_records WHERE namespace = 'red' AND number <= ?", (number,)),
    ) == ["red"]


async def test_an_export_is_verified_by_the_ten_lines_of_the_document(tmp_path: Path) -> None:
    program = tmp_path / "verify.py"
    text = DOCUMENT.read_text(encoding="utf-8")
    program.write_text(text.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    await filled(tmp_path / "orcs.db")
    records = []
    for one in newest(tmp_path / "orcs.db", "red", 0):
        fields = {
            **to_builtins(one.draft),
            "namespace": "red",
            "number": str(one.number),
            "time_us": str(one.draft.time_us),
            "previous_hash": one.previous_hash,
            "hash": one.hash,
        }
        records.append({name: value for name, value in fields.items() if value})

    def verified(change: Callable[[list[dict[str, object]]], object]) -> subprocess.CompletedProcess[str]:
        copies = [dict(record) for record in records]
        change(copies)
        export = tmp_path / "export.jsonl"
        export.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in copies), encoding="utf-8")
        return subprocess.run(
            [sys.executable, program, export], capture_output=True, text=True, timeout=30, check=False
        )

    whole = verified(lambda _: None)
    assert (whole.returncode, whole.stdout.split()) == (0, ["intact", "up", "to", str(COUNT), str(records[-1]["hash"])])
    assert verified(lambda copies: copies[3].update(principal="eve")).returncode == 1
    assert verified(lambda copies: copies.pop(3)).returncode == 1
    assert verified(lambda copies: copies[3].pop("outcome")).returncode == 1


async def test_a_restore_goes_on_with_every_chain_and_is_recorded_in_each(tmp_path: Path) -> None:
    path, copy = tmp_path / "orcs.db", tmp_path / "copy.db"
    await filled(path)
    back_up(path, copy)
    assert [one.number for one in newest(copy, "red", 0)] == list(range(1, COUNT + 1))
    restore_copy(copy, path)
    for namespace, number in (("red", COUNT + 1), ("blue", COUNT + 1), (SERVER, 1)):
        (last,) = newest(path, namespace, 1)
        assert (last.number, last.draft.operation, last.draft.method) == (number, "system.restore", "file")
    assert examine(path).findings == []


def test_a_copy_from_before_there_was_an_audit_log_is_restored_as_it_is(tmp_path: Path) -> None:
    copy = written_by(6, tmp_path / "copy.db")
    restore_copy(copy, tmp_path / "orcs.db")
    assert newest(tmp_path / "orcs.db", SERVER, 0) == []


async def test_a_look_at_many_records_that_do_not_fit_ends_with_a_place_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LOOKED_AT", 3)
    monkeypatch.setattr(rows, "PIECES", 2)
    await filled(tmp_path / "orcs.db")
    store: Store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    nobody = AuditFilter(principal="nobody")
    for oldest_first, places in ((True, [7, None]), (False, [6, None])):
        page = await store.audit.find("red", nobody, None, 10, oldest_first=oldest_first)
        following = await store.audit.find("red", nobody, page.following, 10, oldest_first=oldest_first)
        assert [page.following, following.following] == places
        assert page.records == following.records == []
    await store.close()


def test_details_leave_out_what_does_not_fit() -> None:
    assert details_of({}) == ""
    assert details_of({"a": None, "b": "", "c": 0, "d": False}) == '{"c":0,"d":false}'
    said = json.loads(details_of({"key": "k" * 5_000, "n": 1}))
    assert said == {"n": 1, "left_out": True}
