"""Commands for plans: edit, replan, revisions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orcs_server.cli.controlling import print_state
from orcs_server.cli.options import AsJson, Revision, Server, TokenFile, WorkflowId, connect, read_said

if TYPE_CHECKING:
    from orcs_client.messages import PlanChanges


def edit(
    workflow_id: WorkflowId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A JSON file with the edits; - is standard input.")],
    check: Annotated[bool, typer.Option("--check", help="Only say what would come of it; store nothing.")] = False,
    revision: Revision = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Change a workflow's plan, all of it or nothing. A file has {"edits": [{"add": {"task": {...}}}, {"remove": {"task_id": "b"}}]}.

    Others are {"change": {"task_id": "c", "description": "..."}} and {"set_dependencies": {"task_id": "d", "dependencies": ["c"]}};
    a task that is added has the fields of one in a plan. Tasks that have begun cannot be changed. With --check the exit code is 2 if the edits break rules.
    """
    from orcs_client import load_edits
    from orcs_client.messages import message_to_dict
    from orcs_server.cli.exits import ExitCode, tell
    from orcs_server.cli.printing import print_json

    edits = load_edits("/dev/stdin" if str(file) == "-" else file)
    with connect(server, token_file) as client:
        reply = client.edit_plan(workflow_id, edits, plan_revision=revision, validate_only=check)
    if as_json:
        print_json(message_to_dict(reply))
    elif not reply.violations:
        verb = "would be" if check else "is"
        waits = f", and {'would wait' if check else 'waits'} for approval" if reply.needs_approval else ""
        print(f"the plan of {workflow_id} {verb} at revision {reply.plan_revision}{waits}")
        _print_changes(reply.changes)
    for one in reply.violations:
        tell(f"{one.field}: {one.description}" if one.field else one.description)
    return ExitCode.WRONG if reply.violations else ExitCode.DONE


def replan(
    workflow_id: WorkflowId,
    instructions: Annotated[
        str, typer.Argument(metavar="TEXT", help="What the new plan is to bring; - reads it from standard input.")
    ],
    revision: Revision = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Have the planner plan anew what has not begun.

    A workflow that has completed or failed goes on again with what is new.
    """
    said = read_said(instructions)
    with connect(server, token_file) as client:
        reply = client.replan(workflow_id, said, plan_revision=revision)
    print_state(reply, as_json=as_json)


def revisions(
    workflow_id: WorkflowId,
    later: Annotated[
        int | None, typer.Argument(metavar="N", min=1, help="Show what this revision changed.", show_default=False)
    ] = None,
    since: Annotated[
        int, typer.Option("--since", metavar="M", min=0, help="With N: what has changed since this one.")
    ] = 0,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the revisions of a plan, or show what one changed."""
    from orcs_client.messages import PlanSource, message_to_dict, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.wording import count_words, local_time

    if since and later is None:
        raise typer.TyperException("--since goes with a revision: name it after the workflow.")
    with connect(server, token_file) as client:
        if later is not None:
            reply = client.compare_plan_revisions(workflow_id, from_revision=since, to_revision=later)
            if as_json:
                printing.print_json(message_to_dict(reply))
                return
            print(f"from revision {reply.from_revision} to {reply.to_revision}")
            _print_changes(reply.changes)
            return
        found = list(client.list_plan_revisions(workflow_id))
    if as_json:
        printing.print_json({"revisions": [message_to_dict(one) for one in found]})
        return
    rows = [
        (
            str(one.revision),
            local_time(one.create_time.ToMicroseconds()),
            short_name(PlanSource, one.source).lower(),
            one.actor or one.proposer_task_id,
            count_words(one.task_count, "task"),
            f"+{one.added_count} ~{one.changed_count} -{one.removed_count}",
        )
        for one in found
    ]
    printing.print_table(("REVISION", "WHEN", "BY", "WHO", "PLAN", "CHANGES"), rows, spare=("WHO",))


def _print_changes(changes: PlanChanges) -> None:
    from orcs_server.outputs.safe_text import one_line

    for sign, tasks in (("+", changes.added), ("~", changes.changed)):
        for task in tasks:
            print(f"{sign} {one_line(task.id)}  {one_line(task.title)}")
    for name in changes.removed_task_ids:
        print(f"- {one_line(name)}")
