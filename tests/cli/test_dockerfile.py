"""The Dockerfile's commands, in a clean environment: no engine is needed, only what it would run, with its paths moved."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.client.certificates import self_signed

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef" * 4
LIMIT_S = 600.0
SYSTEM_ONLY = "useradd"
"""What needs root and changes the machine is read, not run."""


@dataclass
class Stage:
    """What one FROM begins."""

    folder: str = "/"
    environ: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    user: str = "root"
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def instructions() -> Iterator[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest


class Container:
    """A folder in the place of the root of a file system, in which the stages are carried out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages: list[Stage] = []

    @property
    def last(self) -> Stage:
        return self.stages[-1]

    def place(self, text: str) -> str:
        """Return a text with the absolute paths of the image moved into the folder."""
        return re.sub(r"(?<![\w./])/(?=(src|wheels|opt|data|run|home)\b)", f"{self.folder}/", text)

    def build(self) -> None:
        for name, rest in instructions():
            match name:
                case "FROM":
                    self.stages.append(Stage())
                case "WORKDIR":
                    self.last.folder = rest
                    Path(self.place(rest)).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self.copy(rest.split())
                case "ENV":
                    self.last.environ |= dict(pair.split("=", 1) for pair in rest.split())
                case "RUN":
                    self.run(rest)
                case "USER":
                    self.last.user = rest
                case "HEALTHCHECK":
                    self.last.health = json.loads(rest[rest.index("[") :])
                case "ENTRYPOINT" | "CMD":
                    self.last.command += json.loads(rest)

    def copy(self, words: list[str]) -> None:
        if words[0].startswith("--from"):
            return  # all stages share the folder
        *sources, target = words
        for source in sources:
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().split(), (
                f"{source} is not in the build's context"
            )
            goal = Path(self.place(self.last.folder)) / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, goal, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, goal)

    def run(self, command: str) -> None:
        self.last.runs.append(command)
        if command.startswith(SYSTEM_ONLY):
            return
        moved = re.sub(r"^python\b", sys.executable, self.place(command))
        done = subprocess.run(
            ["sh", "-ec", moved],
            cwd=self.place(self.last.folder),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    def environ(self, port: int = 0) -> dict[str, str]:
        path = os.environ["PATH"]
        environ = {name: self.place(value).replace("$PATH", path) for name, value in self.last.environ.items()}
        environ["ORCS_LISTEN"] = "127.0.0.1:0"
        environ["ORCS_SERVER"] = environ["ORCS_SERVER"].replace("50750", str(port))
        return environ | {"HOME": self.place("/home/orcs")}


@pytest.fixture
def container(tmp_path: Path) -> Container:
    reachable = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            str(tmp_path / "probe"),
            "hatchling>=1.27,<2",
        ],
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    if reachable.returncode:
        pytest.skip("the Dockerfile is not tried out: pip reaches no packages here")
    return Container(tmp_path / "root")


def test_what_the_dockerfile_builds_serves_with_token_and_tls_and_is_healthy(container: Container) -> None:
    container.build()
    secrets = container.folder / "run" / "secrets"
    secrets.mkdir(parents=True)
    (container.folder / "data").mkdir()
    key, certificate = self_signed("localhost")
    (secrets / "orcs_token").write_text(f"{TOKEN}\n")
    (secrets / "orcs_tls_key").write_bytes(key)
    (secrets / "orcs_tls_certificate").write_bytes(certificate)

    assert container.last.user == "orcs"
    assert any("useradd" in run and " orcs " in run and "--owner orcs" in run for run in container.last.runs)
    assert {path.name.split("-")[0] for path in (container.folder / "wheels").iterdir()} == {
        "orcs_client",
        "orcs_server",
    }
    home = container.folder / "home" / "orcs"
    command = container.last.command
    with subprocess.Popen(command, env=container.environ(), cwd=home, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert select.select([server.stdout], [], [], 60)[0], "the server did not come up"
            port = int(server.stdout.readline().rpartition(":")[2])
            for words in (container.last.health, ["orcs", "list"], ["orcs", "run", "Compare tea and coffee", "--json"]):
                done = subprocess.run(
                    words, env=container.environ(port), cwd=home, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    unhealthy = subprocess.run(container.last.health, env=container.environ(port), capture_output=True, check=False)
    assert unhealthy.returncode == 3
    assert (container.folder / "data" / "orcs.db").exists()
