"""`orcs usage`, as a process of its own, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.command_line import PLAN, orcs
from tests.server_process import ServerProcess


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose namespaces may consume one token a day, on which a workflow has done so."""
    server = ServerProcess(
        tmp_path_factory.mktemp("usage"),
        namespace_defaults_tokens_per_day="1",
        namespace_defaults_max_workflows="5",
        namespace_defaults_cost_per_day="2500000",
        prices='{"offline": {"input": 1000000, "output": 1000000}}',
    )
    server.start()
    try:
        options = ("--id", "held", "--detach")
        done = orcs("run", "--plan", "-", *options, server=server, stdin=json.dumps(PLAN))
        assert done.code == 0, done.err
        yield server
    finally:
        server.kill()


def test_what_is_used_up_is_named_with_when_it_is_free_again(limited: ServerProcess) -> None:
    told = ""
    for _ in range(20):
        told = orcs("why", "held", server=limited).out
        if "tokens_per_day" in told:
            break
    assert "and its quota tokens_per_day is 1: it goes on at midnight UTC. (next at " in told
    shown = orcs("usage", server=limited)
    assert (shown.code, shown.err) == (0, "")
    lines = {line.split("  ")[0]: line.split() for line in shown.out.splitlines() if line}
    assert lines["workflows that have not ended"][-2:] == ["1", "5"]
    assert lines["bytes stored"][-1] == "none"
    assert "at midnight UTC (" in next(line for line in shown.out.splitlines() if line.startswith("tokens today"))
    assert lines["cost today"][-1] == "2.500000"
    days = shown.out.split("\n\n")[-1].splitlines()
    assert days[0].split()[:3] == ["DAY", "(UTC)", "TOKENS"]
    assert len(days) == 2


def test_json_is_the_reply(limited: ServerProcess) -> None:
    told = orcs("usage", "--days", "2", "--json", server=limited).json
    assert told["namespace"] == "default"
    assert [quota["kind"].removeprefix("QUOTA_KIND_") for quota in told["quotas"]] == [
        "WORKFLOWS", "RUNNING_TASKS", "WATCHES", "TOKENS_PER_DAY", "COST_PER_DAY", "BYTES",
    ]  # fmt: skip
    assert told["days"][0]["workflows_created"] == "1"


def test_a_creation_that_is_refused_says_why(limited: ServerProcess) -> None:
    refused = orcs("run", "Another one", server=limited)
    assert refused.code != 0
    assert "its quota tokens_per_day is 1: go on after midnight UTC" in refused.err


def test_days_out_of_range_are_refused(limited: ServerProcess) -> None:
    assert orcs("usage", "--days", "401", server=limited).code == 2
