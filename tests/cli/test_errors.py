"""What goes wrong ends in a sentence that says what to do and in a code that programs can tell apart; never in a traceback."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orcs_server.cli.exits import tell
from tests.cli.command_line import COMMAND, PLAN, environ_for, orcs
from tests.server_process import ServerProcess


def the_only_line(text: str) -> str:
    (line,) = text.splitlines()
    assert line.startswith("orcs: ")
    return line.removeprefix("orcs: ")


def test_a_server_that_is_not_there_says_how_to_start_one() -> None:
    for command in (("list",), ("run", "compare a and b"), ("watch", "some-id")):
        done = orcs(*command, "--server", "127.0.0.1:1")
        assert (done.code, done.out) == (3, "")
        assert "start it with `orcs serve`" in the_only_line(done.err)


def test_every_violation_of_a_request_is_listed(orcs_server_process: ServerProcess) -> None:
    plan = {
        "tasks": [
            {"id": "a", "title": "A", "agent_id": "nobody", "description": "a"},
            {"id": "b", "title": "B", "agent_id": "writing_agent", "description": "b", "dependencies": ["c"]},
        ]
    }
    done = orcs("run", "--plan", "-", "--priority", "5000", server=orcs_server_process, stdin=json.dumps(plan))
    first, *violations = done.err.splitlines()
    assert done.code == 2
    assert first == "orcs: 3 things are wrong with the request:"
    assert [line.split(":")[0] for line in violations] == [
        "  priority",
        "  plan.tasks[0].agent_id",
        "  plan.tasks[1].dependencies[0]",
    ]


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (("run",), 'Give either a query, as in `orcs run "compare A and B"`, or --plan FILE. See `orcs run --help`.'),
        (("run", "a", "--plan", "b"), "Give either a query"),
        (("run", "a", "--format", "pdf"), "--format"),
        (("run", "a", "--label", "red"), "write it as KEY=VALUE"),
        (("run", "a", "--context", "[1]"), "must be a JSON object"),
        (("run", "a", "--context", "@/no/such/file"), "/no/such/file cannot be read"),
        (("run", "a", "--deadline", "soon"), "30m, 2h or 7d"),
        (("run", "--plan", "/no/such/plan"), "/no/such/plan"),
        (("run", "a", "--server", "nowhere"), "write HOST:PORT"),
        (("list", "--state", "happy"), "'--state': 'happy' is none of planning, ready, running"),
        (("inbox", "--kind", "happy"), "'--kind': 'happy' is none of question, plan_approval"),
        (("pause", "w", "--mode", "happy"), "'--mode': 'happy' is not one of"),
        (("list", "--token-file", "/no/such/file"), "/no/such/file"),
        (("watch", "a", "--deltas"), "go with --json"),
        (("show",), "See `orcs show --help`"),
        (("runn", "a"), "runn"),
        (("token", "list", "--data", "/no/such/orcs.db"), "--data"),
    ],
)
def test_a_wrong_command_is_explained_in_one_line(command: tuple[str, ...], advice: str) -> None:
    done = orcs(*command)
    assert (done.code, done.out) == (2, "")
    assert advice in the_only_line(done.err)


def test_whatever_the_server_refuses_has_a_code_of_its_own(orcs_server_process: ServerProcess, tmp_path: Path) -> None:
    server = orcs_server_process
    missing = orcs("show", "no-such-workflow", server=server)
    unheard = orcs("list", server=server, XDG_STATE_HOME=str(tmp_path))
    wrong = orcs("list", server=server, ORCS_TOKEN="x" * 40)
    assert (missing.code, unheard.code, wrong.code) == (4, 4, 4)
    assert "no-such-workflow" in the_only_line(missing.err)
    assert "token" in the_only_line(unheard.err)
    assert "token" in the_only_line(wrong.err)
    assert "x" * 40 not in wrong.err
    given = tmp_path / "token"
    given.write_text(server.token)
    assert orcs("list", "--token-file", str(given), server=server, XDG_STATE_HOME=str(tmp_path)).code == 0


def test_a_workflow_that_fails_says_why(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server(offline_pace="30")
    done = orcs("run", "compare a and b", "--id", "late", "--deadline", "1s", server=server)
    assert (done.code, done.out) == (1, "")
    *_, said, last = done.err.splitlines()
    assert "workflow failed in " in said
    assert "deadline" in said
    assert last == "orcs: the workflow late failed"
    watched = orcs("watch", "late", "--json", server=server)
    assert watched.code == 1
    assert the_only_line(watched.err).startswith("the workflow late failed: ")


@pytest.mark.parametrize("words", [("run",), ("run", "a", "--title"), ("run", "a", "--label"), ("show",)])
def test_what_is_not_utf_8_is_refused_before_anything_is_done(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*COMMAND, *words, b"bad=\xff\xfe utf8"], capture_output=True, text=True, env=environ_for(), check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not UTF-8 text" in the_only_line(done.stderr)
    context = orcs("run", "a", "--context", '{"a": "\\ud800"}')
    assert context.code == 2
    assert "not Unicode text" in the_only_line(context.err)


def test_a_message_of_several_lines_keeps_them_and_cannot_pose_as_another(capsys: pytest.CaptureFixture[str]) -> None:
    tell("2 settings are wrong:\n  listen: a\x1b[2J b\r\norcs: all is well\n\n")
    assert capsys.readouterr().err == "orcs: 2 settings are wrong:\n  listen: a b\n  orcs: all is well\n"


def test_a_tls_mistake_is_one_line(orcs_server_process: ServerProcess) -> None:
    done = orcs("list", "--server", f"https://{orcs_server_process.address}")
    assert done.code == 3
    assert "answers without TLS" in the_only_line(done.err)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_watch_tells_that_its_server_is_away_and_goes_on_once_it_is_back(
    start_server: Callable[..., ServerProcess], *, as_json: bool
) -> None:
    server = start_server(offline_pace="1")
    workflow_id = orcs("run", "compare a and b", "--detach", server=server).out.strip()
    command = [*COMMAND, "watch", workflow_id, *(["--json"] if as_json else [])]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ_for(server)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        server.kill()
        assert process.stderr.readline() == f"orcs: connection to {server.address} lost, trying again…\n"
        server.start()
        assert process.stderr.readline() == f"orcs: connected to {server.address} again\n"
        *_, last = process.stdout
        assert "completed" in last
        assert process.wait() == 0


def test_a_watch_gives_up_after_the_reconnect_timeout_and_says_how_to_go_on(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(offline_pace="30")
    command = [*COMMAND, "run", "compare a and b", "--id", "left", "--reconnect-timeout", "0.5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ_for(server)) as process:
        assert process.stderr is not None
        process.stderr.readline()
        server.kill()
        rest = process.stderr.read().splitlines()
        assert process.wait() == 3
    assert f"orcs: connection to {server.address} lost, trying again…" in rest
    assert rest[-3].startswith("orcs: gave up waiting for the server: ")
    assert rest[-2:] == ["  Once it is back, go on with:", "  orcs watch left"]


def test_a_reader_that_goes_away_is_no_fault(orcs_server_process: ServerProcess) -> None:
    orcs("run", "--plan", "-", "--id", "read", server=orcs_server_process, stdin=json.dumps(PLAN))
    command = [*COMMAND, "watch", "read", "--json"]
    environ = environ_for(orcs_server_process)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_an_interrupted_watch_says_after_which_cursor_to_go_on(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server(offline_pace="1")
    workflow_id = orcs("run", "compare a and b", "--detach", server=server).out.strip()
    command = [*COMMAND, "watch", workflow_id, "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ_for(server)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        seen = [json.loads(line) for line in (first, *process.stdout)]
        err = process.stderr.read()
        assert process.wait() == 130
    said, advice = err.splitlines()
    assert said == f"orcs: the workflow {workflow_id} goes on; watch it with:"
    assert advice.startswith(f"  orcs watch {workflow_id} --after ")
    rest = orcs(*shlex.split(advice)[1:], "--json", server=server)
    every = orcs("watch", workflow_id, "--json", server=server)
    assert [line["events"] for line in [*seen, *rest.json_lines]] == [line["events"] for line in every.json_lines]
