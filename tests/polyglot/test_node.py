"""A real client in another language, which has nothing but the .proto files, gets through the main job."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.server_process import ServerProcess

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CANCELLED, UNAUTHENTICATED = 1, 16


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The client's two packages, installed once for each content of package-lock.json."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed, so the client in another language was not tried")
    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = ROOT / ".cache" / f"node-{digest}"
    modules = folder / "node_modules"
    if not modules.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(folder)
            if any(sign in done.stderr for sign in ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "E404")):
                pytest.skip(
                    f"npm cannot reach packages here, so the client in another language was not tried: {done.stderr[-300:]}"
                )
            pytest.fail(done.stderr)
    return modules


def test_a_node_client_creates_watches_resumes_after_a_cut_and_reads_the_output(
    node_modules: Path, orcs_server_process: ServerProcess
) -> None:
    done = subprocess.run(
        ["node", str(HERE / "client.js"), str(ROOT / "protos"), orcs_server_process.address],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NODE_PATH": str(node_modules), "ORCS_TOKEN": orcs_server_process.token},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["refused"] == UNAUTHENTICATED
    assert seen["cut"] == CANCELLED
    assert seen["ended"] == 0
    assert seen["end"]["state"] == "WORKFLOW_STATE_COMPLETED"
    assert len(seen["before"]) >= 1
    assert len(seen["after"]) >= 1
    both = seen["before"] + seen["after"]
    assert both == list(range(1, len(both) + 1))
    assert seen["bodies"].count("task_completed") == 3
    assert seen["complete"] is True
    assert seen["output"]
