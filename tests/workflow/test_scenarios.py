"""Each scenario file is a claim about the core: what is said to it, and what it answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workflow.scenario import Scenario, scenarios


@pytest.mark.parametrize("path", scenarios(), ids=lambda path: path.stem)
def test_the_core_answers_as_written(path: Path) -> None:
    transcript = Scenario(path).transcript()
    if os.environ.get("UPDATE_SCENARIOS") == "1":
        path.write_text(transcript, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == transcript


def test_a_line_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text("> SlotGrated a #1\n")
    with pytest.raises(ValueError, match=r"wrong\.txt: cannot make sense of '> SlotGrated a #1'"):
        Scenario(path).transcript()
