"""The same messages lead to the same events in the same order, in whatever process (rule 2 of the core)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLAY = """
from tests.workflow.scenario import Scenario, scenarios
for path in scenarios():
    print(path.stem, Scenario(path).transcript())
"""


def test_the_order_of_events_does_not_depend_on_the_hashes_of_strings() -> None:
    transcripts = [
        subprocess.run(
            [sys.executable, "-c", PLAY],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    ]
    assert transcripts[0].count("WorkflowCreated w") > 20
    assert transcripts[0] == transcripts[1] == transcripts[2]
