"""The README tells the truth: its commands, settings, files and exit codes are there, and its program runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from orcs_server.cli.exits import ExitCode
from orcs_server.cli.main import app
from orcs_server.config import Settings
from orcs_server.config.settings import CLIENT_VARIABLES
from orcs_server.config.sources import variables
from tests.cli.command_line import environ_for, orcs
from tests.server_process import ServerProcess

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    text = "".join(blocks("sh")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    stripped = [[word for word in words if not ASSIGNMENT.fullmatch(word)] for words in lines]
    return [words[1:] for words in stripped if words and words[0] == "orcs"]


def table(first_head: str) -> list[list[str]]:
    rows = README[README.index(f"| {first_head}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_one(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_edits_are_edits_of_the_plan_beside_them(orcs_server_process: ServerProcess, tmp_path: Path) -> None:
    (edits,) = blocks("json")
    file = tmp_path / "edits.json"
    file.write_text(edits)
    plan = str(ROOT / "examples" / "plan.json")
    made = orcs("run", "--plan", plan, "--id", "edited", "--no-start", server=orcs_server_process)
    assert made.code == 0, made.err
    edited = orcs("edit", "edited", str(file), server=orcs_server_process)
    assert (edited.code, edited.out) == (0, "the plan of edited is at revision 2\n"), edited.err
    assert re.search(r"verdict .* tea, coffee, milk ", orcs("show", "edited", server=orcs_server_process).out)


def test_every_setting_is_one() -> None:
    serve: Any = typer.main.get_command(app)
    flags = {name for parameter in serve.commands["serve"].params for name in parameter.opts}
    paths = variables(Settings)
    rows = table("flag of")
    assert len(rows) > 10
    for flag, variable, key, _ in rows:
        assert not flag or flag.strip("`") in flags
        assert key == "never" or paths[variable.strip("`")] == tuple(key.strip("`").split("."))
    named = set(re.findall(r"ORCS_[A-Z_]*[A-Z]", README)) - {"ORCS_A_B"}
    assert named <= {*paths, *CLIENT_VARIABLES}


def test_every_file_and_folder_is_there_and_no_package_is_left_out() -> None:
    folders = {row[0].strip("`") for row in table("folder")}
    assert all((ROOT / folder).exists() for folder in folders)
    packages = {f"orcs_server/{path.parent.name}/" for path in ROOT.glob("orcs_server/*/__init__.py")}
    assert packages <= folders
    examples = set(re.findall(r"`([\w.]+)`", " ".join(row[0] for row in table("file"))))
    assert all((ROOT / "examples" / example).exists() for example in examples)
    for link in re.findall(r"\]\((?!https:)([^)]+)\)", README):
        assert (ROOT / link).exists()
    targets = {word for block in blocks("sh") for word in re.findall(r"^make (\w+)", block, re.MULTILINE)}
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in targets)


def test_every_exit_code_is_explained() -> None:
    assert [int(row[0]) for row in table("code")] == [int(code) for code in ExitCode]


def test_its_program_runs(orcs_server_process: ServerProcess) -> None:
    (program,) = blocks("python")
    command = [sys.executable, "-c", program]
    environ = environ_for(orcs_server_process)
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "workflow_completed" in done.stdout.splitlines()[-1]


def test_the_configuration_file_and_the_plan_among_the_examples_work(
    tmp_path: Path, orcs_server_process: ServerProcess
) -> None:
    settings = Settings.load(config_file=ROOT / "examples" / "orcs.toml", environ={"HOME": str(tmp_path)})
    assert settings.limits.agent_slots == {"translator": 4}
    assert "translator" in settings.agents
    plan = str(ROOT / "examples" / "plan.json")
    assert orcs("run", "--plan", plan, server=orcs_server_process).code == 0
