"""From a reference to a factory."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcs_server.errors import StartupError
from orcs_server.hooks import load_factory, null_factory


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hooks_raise.py").write_text("raise OSError('no database')")
    (tmp_path / "hooks_lack.py").write_text("import no_such_module_at_all")
    (tmp_path / "hooks_plain.py").write_text("class Site:\n    factory = len\nvalue = 3\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_factory_is_found_by_its_reference() -> None:
    assert load_factory("orcs_server.hooks:null_factory") is null_factory
    assert callable(load_factory("hooks_plain:Site.factory"))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("", "write package.module:factory"),
        ("module", "write package.module:factory"),
        ("a b:c", "write package.module:factory"),
        ("a:", "write package.module:factory"),
        ("no_such_module_here:x", "no module 'no_such_module_here'"),
        ("orcs_server.nothing.deep:x", "no module 'orcs_server.nothing'"),
        ("hooks_lack:x", "hooks_lack needs the module 'no_such_module_at_all'"),
        ("hooks_raise:x", "importing hooks_raise failed: OSError: no database"),
        ("hooks_plain:missing", "hooks_plain has nothing named 'missing'"),
        ("hooks_plain:Site.missing", "hooks_plain.Site has nothing named 'missing'"),
        ("hooks_plain:value", "is int, but must be a function"),
    ],
)
def test_each_wrong_part_of_a_reference_is_named(reference: str, message: str) -> None:
    with pytest.raises(StartupError, match=message):
        load_factory(reference)
