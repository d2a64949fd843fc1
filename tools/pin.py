"""Writes `constraints.txt`: the newest versions that the ranges of both `pyproject.toml` allow, as pip resolves them today."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-constraints"
HEADER = """\
# The exact versions, of dependencies of dependencies too, that `make setup` installs and the tests ran with.
# Made by `make constraints`; do not edit.
"""


def main() -> int:
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "-e", "./orcs_client", "-e", ".[dev]"], cwd=ROOT, check=True)
    listed = subprocess.run(
        [*pip, "freeze", "--exclude-editable"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    pins = listed.stdout.splitlines()
    # A package that did not come from an index is listed by its address, which is of no use on another machine.
    placed = [pin for pin in pins if "==" not in pin]
    if placed:
        print("These packages come from a file or an address, not from an index:", *placed, sep="\n  ", file=sys.stderr)
        return 1
    (ROOT / "constraints.txt").write_text(HEADER + "".join(f"{pin}\n" for pin in pins), encoding="ascii")
    print(f"pinned {len(pins)} packages in constraints.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
