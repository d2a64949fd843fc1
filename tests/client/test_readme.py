"""The programs in the client's README run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.client.server_process import ServerProcess

README = Path(__file__).resolve().parents[2] / "orcs_client" / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_readme_prints_the_output(program: str, server: ServerProcess) -> None:
    environ = {**os.environ, "ORCS_SERVER": server.start()}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environ)
    assert (done.stderr, done.stdout.splitlines()[-1:]) == ("", ["done"])
