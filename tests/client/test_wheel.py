"""The client's wheel works alone: built, installed into an empty environment, and used against a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.client.server_process import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
UNREACHABLE = (
    "No matching distribution found",
    "Could not find a version",
    "Connection",
    "Temporary failure",
    "timed out",
)
PROGRAM = """
import asyncio, sys
import orcs_client
from orcs_client import BlockingOrcsClient, OrcsClient
print(orcs_client.__file__)

async def main():
    async with OrcsClient(sys.argv[1]) as client:
        print(*[item.sequence async for item in client.watch("w")])

asyncio.run(main())
with BlockingOrcsClient(sys.argv[1]) as client:
    print(client.run("compare").output.content.text)
    try:
        client.get_task("w", "t")
    except orcs_client.Unimplemented as error:
        print(error.code)
"""


def pip(python: Path | str, *arguments: str) -> str:
    """Run pip; skip the test, and say so, only where it cannot reach packages."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if any(sign in done.stderr for sign in UNREACHABLE):
            pytest.skip(f"pip cannot reach packages here, so the wheel was not tried alone: {done.stderr[-300:]}")
        pytest.fail(done.stderr)
    return done.stdout


def test_the_wheel_works_alone_in_an_empty_environment(server: ServerProcess, tmp_path: Path) -> None:
    pip(sys.executable, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT / "orcs_client"))
    [wheel] = tmp_path.glob("orcs_client-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"orcs_client/__init__.py", "orcs_client/py.typed", "orcs_client/v1/workflow_pb2.py"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"orcs_client"}

    environment = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip(python, "install", "--quiet", "--no-compile", str(wheel))
    installed = {each["name"].replace("_", "-").lower() for each in json.loads(pip(python, "list", "--format", "json"))}
    allowed = {"orcs-client", "grpcio", "grpcio-status", "googleapis-common-protos", "protobuf", "typing-extensions"}
    assert installed <= allowed | {"types-grpcio", "types-protobuf", "pip", "setuptools", "wheel"}

    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(
        [str(python), "-W", "error", "-c", PROGRAM, server.start()],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=clean,
    )
    assert done.returncode == 0, done.stderr
    where, *lines = done.stdout.splitlines()
    assert Path(where).is_relative_to(environment)
    assert lines == ["1 2 3 4 5", "done", "StatusCode.UNIMPLEMENTED"]
