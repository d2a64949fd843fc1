"""Log lines, with hostile text in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from orcs_server.telemetry import configure_logging
from orcs_server.telemetry.logs import CHATTY, escape

HOSTILE = "a\n2026-01-01T00:00:00Z INFO orcs: forged\x1b[2J\x9b31m\u202e\r\u2028\ud800"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    kept = root.handlers[:], root.level, logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in ("orcs", "orcs_server", *CHATTY)}
    yield
    root.handlers[:], _, logging.raiseExceptions = kept
    root.setLevel(kept[1])
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_plain_record_is_one_line_whatever_it_holds() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "plain", stream)
    logging.getLogger("orcs.test").info("title %s", HOSTILE, extra={"workflow": "w1", "note": 'two "words"\n'})
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.isprintable() or line[:-1].isprintable()
    assert " INFO orcs.test: title a\\n2026" in line
    assert line.endswith(' workflow=w1 note="two \\"words\\"\\\\n"\n')


def test_a_traceback_cannot_forge_a_line() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "plain", stream)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("orcs.test").exception("failed", stack_info=True)
    first, *others = stream.getvalue().rstrip("\n").split("\n")
    assert first.endswith("ERROR orcs.test: failed")
    assert len(others) > 2
    assert all(line.startswith("  | ") and line.isprintable() for line in others)


def test_a_json_record_is_one_object_a_line() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "json", stream)
    logging.getLogger("orcs.test").warning("title %s", HOSTILE, extra={"attempt": 3, "agent": object, "none": None})
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("orcs.test").exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["level"], first["logger"], first["attempt"], first["none"]) == ("WARNING", "orcs.test", 3, None)
    assert first["message"].startswith("title a\\n2026")
    assert first["agent"] == "<class 'object'>"
    assert first["time"].endswith("Z")
    assert any("ValueError" in line for line in second["exception"])


def test_levels_hold_for_ours_and_libraries_stay_quiet() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "plain", stream)
    logging.getLogger("orcs.test").debug("too fine")
    logging.getLogger("orcs_server.agents").info("ours")
    logging.getLogger("httpx").info("theirs")
    logging.getLogger("httpx").warning("their warning")
    assert [line.rsplit(": ", 1)[1] for line in stream.getvalue().splitlines()] == ["ours", "their warning"]
    configure_logging("DEBUG", "plain", stream)
    logging.getLogger("somebodys.agents").info("asked for")
    assert "asked for" in stream.getvalue()
    assert len(logging.getLogger().handlers) == 1


@pytest.mark.parametrize("name", ["aiosqlite", "grpc._cython", "httpx2", "openai.agents", "httpcore2.connection"])
def test_chatty_libraries_stay_quiet_even_at_debug_unless_they_have_a_level_of_their_own(name: str) -> None:
    stream = io.StringIO()
    configure_logging("DEBUG", "plain", stream)
    logging.getLogger(name).info("chatter")
    assert stream.getvalue() == ""
    logging.getLogger(name.partition(".")[0]).setLevel("DEBUG")
    configure_logging("DEBUG", "plain", stream)
    logging.getLogger(name).info("asked for")
    assert "asked for" in stream.getvalue()


def test_a_long_text_is_cut_and_says_so() -> None:
    assert escape("x" * 10_000).endswith("… (1808 characters more)")
    assert escape("plain ünïcode ✓") == "plain ünïcode ✓"
