"""`orcs why`, as a process of its own, against a real server."""

from __future__ import annotations

import json

import pytest

from tests.cli.command_line import PLAN, orcs
from tests.server_process import ServerProcess


@pytest.fixture(scope="module")
def finished(orcs_server_process: ServerProcess) -> str:
    """The id of a workflow from a plan that has completed."""
    done = orcs("run", "--plan", "-", "--id", "why-finished", server=orcs_server_process, stdin=json.dumps(PLAN))
    assert done.code == 0, done.err
    return "why-finished"


@pytest.fixture(scope="module")
def waiting(orcs_server_process: ServerProcess) -> str:
    """The id of a workflow that is not to start for a long time."""
    options = ("--id", "why-waiting", "--detach", "--not-before", "7d")
    done = orcs("run", "--plan", "-", *options, server=orcs_server_process, stdin=json.dumps(PLAN))
    assert done.code == 0, done.err
    return "why-waiting"


def test_of_a_workflow_that_has_completed_it_says_so_and_what_it_cost(
    orcs_server_process: ServerProcess, finished: str
) -> None:
    done = orcs("why", finished, server=orcs_server_process)
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert lines[1].split() == ["state", "completed"]
    assert any("tokens in 3 calls" in line for line in lines)
    assert any(line.endswith("A plan of 3 tasks was adopted, made by the client.") for line in lines)
    assert lines[-1] == "3 tasks completed."


def test_of_what_waits_it_says_for_what_and_until_when(orcs_server_process: ServerProcess, waiting: str) -> None:
    done = orcs("why", waiting, server=orcs_server_process)
    assert done.code == 0
    assert "It is not to start before its time. (next at " in done.out
    assert "It waits for left (pending) and right (pending)." in done.out


def test_of_one_task_it_tells_the_attempts(orcs_server_process: ServerProcess, finished: str) -> None:
    done = orcs("why", finished, "both", server=orcs_server_process)
    assert "It completed with attempt 1. (at " in done.out
    heads, attempt = done.out.split("Its attempts:\n\n")[1].splitlines()
    assert heads.split() == ["NO", "BEGAN", "TOOK", "END", "TOKENS", "BECAUSE"]
    assert attempt.split()[0] == "1"
    assert "succeeded" in attempt


def test_json_has_the_codes(orcs_server_process: ServerProcess, waiting: str) -> None:
    told = orcs("why", waiting, "both", "--json", server=orcs_server_process).json
    assert [reason["code"] for reason in told["explanation"]["why"]] == ["REASON_CODE_NOT_BEFORE"]
    (task,) = told["tasks"]
    assert task["why"][0]["task_ids"] == ["left", "right"]


def test_a_task_that_is_not_there_is_an_error_in_a_sentence(orcs_server_process: ServerProcess, finished: str) -> None:
    done = orcs("why", finished, "nobody", server=orcs_server_process)
    assert done.code != 0
    assert "has no task 'nobody'" in done.err
    assert not done.out
