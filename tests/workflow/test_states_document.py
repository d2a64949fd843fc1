"""docs/states.md says what the tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

from orcs_server.workflow.messages import Request
from orcs_server.workflow.states import WORKFLOW_MOVES, WorkflowStatus
from tools.generate_state_diagrams import render, requests, sample_states

ROOT = Path(__file__).resolve().parents[2]


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "generate_state_diagrams.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_document_is_up_to_date() -> None:
    assert (ROOT / "docs" / "states.md").read_text(encoding="utf-8") == render()


def test_a_document_out_of_date_is_found_and_mended(tmp_path: Path) -> None:
    document = tmp_path / "states.md"
    for text in (None, "Something else.\n"):
        if text is not None:
            document.write_text(text)
        checked = generate("--check", document)
        assert (checked.returncode, checked.stdout) == (1, "")
        assert checked.stderr.endswith("out of date: run `python tools/generate_state_diagrams.py` and commit it.\n")
    assert generate(document).returncode == 0
    assert generate("--check", document).returncode == 0


def test_the_document_knows_every_request_and_every_state_that_can_be_reached() -> None:
    assert set(requests()) == {kind.__name__ for kind in get_args(Request)}
    reached = {after for row in WORKFLOW_MOVES.values() for several in row.values() for after in several} | {
        WorkflowStatus.PLANNING
    }
    assert {state.status for state in sample_states().values() if state is not None} == reached
