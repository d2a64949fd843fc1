"""The commands by which people control workflows, and a question that is answered in the midst of the live view."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import PLAN, orcs, orcs_on_terminal
from tests.server_process import ServerProcess

ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


@pytest.fixture
def plan_file(tmp_path: Path) -> str:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(PLAN))
    return str(file)


@pytest.fixture
def ready(orcs_server_process: ServerProcess, plan_file: str) -> str:
    """A workflow that is planned and not started."""
    return orcs("run", "--plan", plan_file, "--no-start", server=orcs_server_process).out.strip()


def test_a_workflow_is_paused_resumed_updated_and_cancelled(ready: str, orcs_server_process: ServerProcess) -> None:
    def said(*words: str) -> str:
        done = orcs(*words, server=orcs_server_process)
        assert done.code == 0, done.err
        return done.out.strip()

    assert said("pause", ready, "--mode", "drain", "--reason", "lunch") == f"{ready} is paused"
    assert said("resume", ready) == f"{ready} is ready"
    assert (
        said("update", ready, "--priority", "5", "--budget-tokens", "1000000", "--budget-time", "2h")
        == f"{ready} updated"
    )
    assert re.search(r"budget +1,000,000 tokens, 2 h 00 min\n", said("show", ready))
    workflow = json.loads(said("show", ready, "--json"))["workflow"]
    assert (workflow["priority"], workflow["budget"]["wall_time"]) == (5, "7200s")
    said("update", ready, "--budget-tokens", "2000000")
    assert re.search(r"budget +2,000,000 tokens, 2 h 00 min\n", said("show", ready)), "what is not named stays"
    assert (
        said("update", ready, "left", "--description", "Look well.", "--timeout", "90s") == f"left of {ready} updated"
    )
    assert said("send", ready, "Be short.", "--task", "left") == f"sent to left of {ready}"
    assert said("skip", ready, "right", "--substitute", '{"known": true}') == f"right of {ready} is skipped"
    assert said("cancel-task", ready, "both", "--reason", "no use") == f"both of {ready} is cancelled"
    assert json.loads(said("cancel", ready, "--json"))["workflow"]["state"] == "WORKFLOW_STATE_CANCELLED"
    refused = orcs("pause", ready, server=orcs_server_process)
    assert (refused.code, refused.out) == (4, "")
    assert "has ended (CANCELLED)" in refused.err


def test_a_retry_is_shown_before_it_is_done(plan_file: str, orcs_server_process: ServerProcess) -> None:
    assert orcs("run", "--plan", plan_file, "--id", "retried", server=orcs_server_process).code == 0
    preview = orcs("retry", "retried", "left", "--dependants", "--preview", server=orcs_server_process)
    assert re.search(r"left +runs .*new conversation", preview.out)
    assert re.search(r"both +runs .*its output is kept if", preview.out)
    assert "2 tasks would run again; so far they have used" in preview.out
    done = orcs("retry", "retried", "left", "--dependants", server=orcs_server_process)
    assert (done.code, done.out.startswith("left of retried is ")) == (0, True)
    assert orcs("watch", "retried", server=orcs_server_process).code == 0


def test_a_plan_is_edited_from_a_file_and_checked_first(
    ready: str, tmp_path: Path, orcs_server_process: ServerProcess
) -> None:
    def edit(*edits: dict[str, Any], flags: tuple[str, ...] = ()) -> Any:
        file = tmp_path / "edits.json"
        file.write_text(json.dumps({"edits": edits}))
        return orcs("edit", ready, str(file), *flags, server=orcs_server_process)

    new = {"id": "up", "title": "Look up\x1b[2J"[:7], "description": "Look up.", "agent_id": "research_agent"}
    checked = edit({"add": {"task": new}}, {"remove": {"task_id": "both"}}, flags=("--check",))
    assert checked.out.splitlines() == [f"the plan of {ready} would be at revision 2", "+ up  Look up", "- both"]
    bad = edit(
        {"remove": {"task_id": "left"}}, {"change": {"task_id": "right", "agent_id": "nobody"}}, flags=("--check",)
    )
    assert bad.code == 2
    assert "edits[0].remove.task_id" in bad.err
    assert "edits[1].change.agent_id" in bad.err
    assert edit({"add": {"task": new}}, flags=("--revision", "1")).code == 0
    stale = edit({"remove": {"task_id": "up"}}, flags=("--revision", "1"))
    assert (stale.code, "revision 2" in stale.err) == (4, True)
    listed = orcs("revisions", ready, server=orcs_server_process)
    assert re.search(r"^2 .*client .* \+1 ~0 -0$", listed.out, re.MULTILINE)
    assert orcs("revisions", ready, "2", server=orcs_server_process).out.splitlines() == [
        "from revision 1 to 2",
        "+ up  Look up",
    ]
    assert [
        one["revision"]
        for one in json.loads(orcs("revisions", ready, "--json", server=orcs_server_process).out)["revisions"]
    ] == ["1", "2"]
    assert orcs("revisions", ready, "--since", "1", server=orcs_server_process).code == 2
    unread = edit({"remov": {}})
    assert (unread.code, "has no field 'remov'" in unread.err) == (2, True)


def test_what_waits_is_listed_shown_approved_and_rejected(plan_file: str, orcs_server_process: ServerProcess) -> None:
    def gated(name: str) -> None:
        made = orcs("run", "--plan", plan_file, "--id", name, "--approve-plan", "--detach", server=orcs_server_process)
        assert made.code == 0, made.err

    gated("gated")
    listed = orcs("inbox", "gated", server=orcs_server_process)
    assert re.search(r"gated +i1 +plan approval +– +", listed.out)
    assert "for people: orcs inbox gated" in orcs("show", "gated", server=orcs_server_process).out
    shown = orcs("inbox", "gated", "i1", "--json", server=orcs_server_process).json["input"]
    assert [task["id"] for task in json.loads(shown["subject"]["json"])] == ["left", "right", "both"]
    unseen = orcs("approve", "gated", "i1", server=orcs_server_process)
    assert (unseen.code, "--sha256" in unseen.err) == (2, True)
    stale = orcs("approve", "gated", "i1", "--sha256", "0" * 64, server=orcs_server_process)
    assert stale.code == 4
    question = orcs("answer", "gated", "i1", "yes", server=orcs_server_process)
    assert (question.code, "no question" in question.err) == (4, True)
    approved = orcs("approve", "gated", "i1", "--sha256", shown["subject_sha256"], server=orcs_server_process)
    assert approved.out == "i1 of gated approved\n"
    assert orcs("watch", "gated", server=orcs_server_process).code == 0
    gated("refused")
    assert orcs("reject", "refused", "i1", "-r", "too dear", server=orcs_server_process).code == 0
    failed = orcs("watch", "refused", server=orcs_server_process)
    assert (failed.code, "too dear" in failed.err) == (1, True)
    settled = orcs("inbox", "refused", "--all", server=orcs_server_process)
    assert re.search(r"i1 .* rejected ", settled.out)


def test_a_namespace_is_frozen_and_thawed(start_server: Callable[..., ServerProcess], plan_file: str) -> None:
    server = start_server()
    orcs("run", "--plan", plan_file, "--id", "w", "--no-start", server=server)
    assert orcs("freeze", "--reason", "maintenance", server=server).out == "1 workflow frozen\n"
    assert orcs("resume", "w", server=server).code == 4
    thawed = orcs("thaw", "--json", server=server).json
    assert (thawed["workflow_count"], bool(thawed["cursor"])) == (1, True)
    assert orcs("resume", "w", server=server).out == "w is ready\n"


def once(sign: str, act: Callable[[], str]) -> Callable[[str], str]:
    """Return what acts once, when this is on the screen, and types what that returns."""
    left = [act]

    def types(seen: str) -> str:
        return left.pop()() if left and sign in seen else ""

    return types


def test_an_approval_is_given_in_the_midst_of_the_live_view(plan_file: str, orcs_server_process: ServerProcess) -> None:
    done = orcs_on_terminal(
        "run",
        *("--plan", plan_file, "--approve-plan"),
        server=orcs_server_process,
        types=once("Approve it?", lambda: "y\n"),
    )
    screen = ESCAPES.sub("", done.out)
    assert done.code == 0, screen
    assert "? the workflow waits (plan approval): Shall the plan with its 3 tasks be carried out?" in screen
    assert "|     Look left." in screen, "what is approved is shown"
    assert "✔ both" in screen


def test_a_refusal_in_the_live_view_asks_why(plan_file: str, orcs_server_process: ServerProcess) -> None:
    refuse, reason = once("Approve it?", lambda: "n\n"), once("Why not", lambda: "too dear\n")
    done = orcs_on_terminal(
        "run",
        *("--plan", plan_file, "--approve-plan"),
        server=orcs_server_process,
        types=lambda seen: refuse(seen) or reason(seen),
    )
    assert done.code == 1
    assert "too dear" in ESCAPES.sub("", done.out).split("Why not")[1]


def test_what_is_settled_elsewhere_is_not_asked_on(plan_file: str, orcs_server_process: ServerProcess) -> None:
    def approve_elsewhere() -> str:
        assert orcs("approve", "else", "i1", "--yes", server=orcs_server_process).code == 0
        return ""

    done = orcs_on_terminal(
        "run",
        *("--plan", plan_file, "--approve-plan", "--id", "else"),
        server=orcs_server_process,
        types=once("Approve it?", approve_elsewhere),
    )
    assert done.code == 0
    assert "settled by somebody else" in done.out


def test_nobody_is_asked_with_no_input(plan_file: str, orcs_server_process: ServerProcess) -> None:
    def approve() -> str:
        assert orcs("approve", "quiet", "i1", "--yes", server=orcs_server_process).code == 0
        return ""

    done = orcs_on_terminal(
        "run",
        *("--plan", plan_file, "--approve-plan", "--id", "quiet", "--no-input"),
        server=orcs_server_process,
        types=once("ready", approve),
    )
    assert done.code == 0
    assert "Approve it?" not in done.out


def test_on_a_terminal_what_is_approved_is_shown_first(plan_file: str, orcs_server_process: ServerProcess) -> None:
    options = ("--plan", plan_file, "--approve-plan", "--id", "shown", "--detach")
    assert orcs("run", *options, server=orcs_server_process).code == 0
    no = orcs_on_terminal(
        "approve", "shown", "i1", server=orcs_server_process, types=once("Approve it?", lambda: "n\n")
    )
    assert no.code != 0
    yes = orcs_on_terminal(
        "approve", "shown", "i1", server=orcs_server_process, types=once("Approve it?", lambda: "y\n")
    )
    assert (
        yes.code,
        "both  Join  (writing_agent, after left, right)" in yes.out,
        "i1 of shown approved" in yes.out,
    ) == (0, True, True)


def test_what_is_too_long_to_be_shown_is_not_approved_by_a_mere_yes(
    tmp_path: Path, orcs_server_process: ServerProcess
) -> None:
    long = tmp_path / "long.json"
    tasks = [
        {"id": f"t{place}", "title": "T", "description": "x" * 32_000, "agent_id": "writing_agent"}
        for place in range(30)
    ]
    long.write_text(json.dumps({"tasks": tasks}))
    options = ("--plan", str(long), "--approve-plan", "--id", "long", "--detach")
    assert orcs("run", *options, server=orcs_server_process).code == 0
    done = orcs_on_terminal(
        "approve", "long", "i1", server=orcs_server_process, types=once("Approve it?", lambda: "y\n")
    )
    assert done.code != 0
    assert "Approve it?" not in done.out
    assert "--sha256" in done.out
    assert orcs("approve", "long", "i1", "--yes", server=orcs_server_process).code == 0
