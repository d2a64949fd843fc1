"""Commands that control single tasks: retry, skip, cancel-task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orcs_server.cli.options import (
    AsJson,
    Reason,
    Server,
    TokenFile,
    WorkflowId,
    connect,
    read_given,
    read_said,
)

if TYPE_CHECKING:
    from orcs_client.messages import RetryTaskResponse

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task.", show_default=False)]


def retry(
    workflow_id: WorkflowId,
    task_id: TaskId,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the agent is to do instead; - is standard input.")
    ] = None,
    dependants: Annotated[
        bool, typer.Option("--dependants", help="Also what rests on its output, where that changes.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show what would run again, and what it has cost so far.")
    ] = False,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Carry a task out again. One that has ended, or that waits for its retry."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli.printing import print_json

    said = None if description is None else read_said(description)
    with connect(server, token_file) as client:
        reply = client.retry_task(
            workflow_id, task_id, description=said, include_dependants=dependants, validate_only=preview
        )
    if as_json:
        print_json(message_to_dict(reply))
    elif preview:
        _print_preview(reply)
    else:
        _print_task(reply)


def skip(
    workflow_id: WorkflowId,
    task_id: TaskId,
    reason: Reason = "",
    substitute: Annotated[
        str | None,
        typer.Option(metavar="TEXT|@FILE", help="An output in place of the task's own; JSON is taken as such."),
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Go on without a task, or with a substitute for its output."""
    import json

    from orcs_client.messages import Part, message_to_dict
    from orcs_server.cli.printing import print_json

    part = None
    if substitute is not None:
        text = read_given(substitute)
        part = Part(text=text)
        if text.lstrip()[:1] in {"{", "["}:
            try:
                json.loads(text)
                part = Part(json=text)
            except (ValueError, RecursionError):
                pass  # A text that begins like JSON is a text.
    with connect(server, token_file) as client:
        reply = client.skip_task(workflow_id, task_id, reason=reason, substitute=part)
    if as_json:
        print_json(message_to_dict(reply))
    else:
        _print_task(reply)


def cancel_task(
    workflow_id: WorkflowId,
    task_id: TaskId,
    reason: Reason = "",
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """End one task; what depends on it is skipped."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli.printing import print_json

    with connect(server, token_file) as client:
        reply = client.cancel_task(workflow_id, task_id, reason=reason)
    if as_json:
        print_json(message_to_dict(reply))
    else:
        _print_task(reply)


def _print_task(reply: Any) -> None:
    from orcs_client.messages import TaskState, short_name
    from orcs_server.cli.wording import state_words

    task = reply.task
    print(f"{task.id} of {task.workflow_id} is {state_words(short_name(TaskState, task.state))}")


def _print_preview(reply: RetryTaskResponse) -> None:
    from orcs_server.cli import printing
    from orcs_server.cli.progress import tokens_of
    from orcs_server.cli.wording import cost_words, count_words

    rows = [
        (
            one.task_id,
            "stays" if one.stale_only else "runs",
            f"{tokens_of(one.usage):,}",
            cost_words(one.usage.cost_micros),
            f"{one.title}: {one.reason}",
        )
        for one in reply.reruns
    ]
    printing.print_table(("TASK", "", "TOKENS", "COST", "WHY"), rows, spare=("COST",))
    cost = cost_words(reply.usage.cost_micros)
    print(
        f"\n{count_words(reply.rerun_count, 'task')} would run again; so far "
        f"{'it has' if reply.rerun_count == 1 else 'they have'} used {count_words(tokens_of(reply.usage), 'token')}"
        f"{f', {cost}' if cost else ''}"
    )
