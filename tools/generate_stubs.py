"""Generates `orcs_client/v1` from `protos/orcs/v1`, or checks that what is committed is what would be generated.

The generator lives in an environment of its own, `.venv-protos`, because it needs an older protobuf than the server runs on.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
STUBS = ROOT / "orcs_client" / "v1"
ENVIRONMENT = ROOT / ".venv-protos"
REQUIREMENTS = ROOT / "tools" / "protos-requirements.txt"

PACKAGE_DOCSTRING = (
    '"""The messages and stubs of package orcs.v1. Generated from protos/orcs/v1 by `make protos`; do not edit."""\n'
)

# protoc writes absolute imports of the proto package; ours is orcs_client.v1. Names of services and proto files in
# strings are part of the wire contract and stay.
IMPORT = re.compile(r"^(\s*from|\s*import) orcs\.v1\b", re.MULTILINE)
MODULE_NAME = re.compile(r"'orcs\.v1\.(\w+_pb2)'")


class GenerationFailed(Exception):
    """The stubs could not be generated; the message says why."""


def run(*command: str | Path) -> None:
    """Run a command of the generator's environment. Raises GenerationFailed with the command's own words."""
    path = f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    finished = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode:
        message = f"{command[0]} ended with status {finished.returncode}:\n{finished.stdout}"
        raise GenerationFailed(message)


def prepare_environment() -> Path:
    """Give the Python of `.venv-protos`, made anew whenever the requirements have changed."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not (python.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == wanted):
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS)
        stamp.write_text(wanted, encoding="ascii")
    return python


def generate(python: Path) -> dict[str, str]:
    """Give the name and the text of every file that belongs into `orcs_client/v1`."""
    protos = sorted(PROTOS.glob("orcs/v1/*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        run(
            python,
            "-m",
            "grpc_tools.protoc",
            f"--proto_path={PROTOS}",
            f"--python_out={scratch}",
            f"--grpc_python_out={scratch}",
            f"--mypy_out=quiet:{scratch}",
            f"--mypy_grpc_out=quiet,only_async:{scratch}",
            *protos,
        )
        files = {"__init__.py": PACKAGE_DOCSTRING}
        for path in sorted(Path(scratch, "orcs", "v1").iterdir()):
            text = path.read_text(encoding="utf-8")
            service = PROTOS / "orcs" / "v1" / re.sub(r"_pb2.*", ".proto", path.name)
            # A file of stubs for a proto without a service holds nothing but imports.
            if "_pb2_grpc." in path.name and not re.search(r"^service ", service.read_text("utf-8"), re.MULTILINE):
                continue
            text = IMPORT.sub(r"\1 orcs_client.v1", text)
            files[path.name] = MODULE_NAME.sub(r"'orcs_client.v1.\1'", text)
        return files


def committed() -> dict[str, str]:
    """Give the name and the text of every file that is in `orcs_client/v1` now."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(STUBS.glob("*.py*")) if path.is_file()}


def drift(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Give a line of diff for each difference between two sets of files."""
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            lines.append(f"committed/{name} is not generated")
            continue
        before, after = old.get(name, "").splitlines(), new.get(name, "").splitlines()
        lines += difflib.unified_diff(before, after, f"committed/{name}", f"generated/{name}", lineterm="", n=1)
    return lines


def write(files: dict[str, str]) -> None:
    """Make `orcs_client/v1` hold these files and no other stubs."""
    STUBS.mkdir(parents=True, exist_ok=True)
    for name in committed().keys() - files.keys():
        (STUBS / name).unlink()
    for name, text in files.items():
        (STUBS / name).write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the committed stubs differ")
    check: bool = parser.parse_args().check
    try:
        files = generate(prepare_environment())
    except GenerationFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    if not check:
        write(files)
        print(f"wrote {len(files)} files to {STUBS.relative_to(ROOT)}")
        return 0
    differences = drift(committed(), files)
    if differences:
        print(*differences[:40], sep="\n")
        print("The stubs in orcs_client/v1 are not those of protos/orcs/v1: run `make protos` and commit the result.")
        return 1
    print("orcs_client/v1 is what protos/orcs/v1 generates")
    return 0


if __name__ == "__main__":
    sys.exit(main())
