"""Commands that control workflows: pause, resume, cancel, freeze, thaw, send, update."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from orcs_server.cli.options import (
    AsJson,
    BudgetCost,
    BudgetTime,
    BudgetTokens,
    Labels,
    Reason,
    Revision,
    Server,
    TokenFile,
    WorkflowId,
    connect,
    read_budget,
    read_labels,
    read_said,
    read_seconds,
    with_limits,
)


class StopChoice(StrEnum):
    """How what runs comes to its stop."""

    DRAIN = "drain"
    AFTER_TURN = "after-turn"
    IMMEDIATE = "immediate"


class MessageChoice(StrEnum):
    """How a message reaches what runs."""

    QUEUE = "queue"
    INTERRUPT = "interrupt"
    REPLAN = "replan"


Stop = Annotated[
    StopChoice,
    typer.Option(
        "--mode",
        help="drain: tasks end by themselves; after-turn: agents stop before their next model call; immediate: cut off.",
    ),
]


def pause(
    workflow_id: WorkflowId,
    mode: Stop = StopChoice.AFTER_TURN,
    reason: Reason = "",
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Pause a workflow; `orcs resume` lets it go on."""
    from orcs_client.messages import StopMode, value_named

    with connect(server, token_file) as client:
        reply = client.pause_workflow(workflow_id, mode=value_named(StopMode, mode), reason=reason)
    print_state(reply, as_json=as_json)


def resume(
    workflow_id: WorkflowId, server: Server = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Let a paused workflow go on."""
    with connect(server, token_file) as client:
        reply = client.resume_workflow(workflow_id)
    print_state(reply, as_json=as_json)


def cancel(
    workflow_id: WorkflowId,
    immediate: Annotated[bool, typer.Option("--immediate", help="Cut off what runs.")] = False,
    reason: Reason = "",
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """End a workflow for good. Finished outputs stay readable."""
    with connect(server, token_file) as client:
        reply = client.cancel_workflow(workflow_id, immediate=immediate, reason=reason)
    print_state(reply, as_json=as_json)


def freeze(
    mode: Stop = StopChoice.AFTER_TURN,
    reason: Reason = "",
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Pause every workflow of your namespace, new ones too. `orcs thaw` takes it back."""
    from orcs_client.messages import StopMode, message_to_dict, value_named
    from orcs_server.cli.printing import print_json
    from orcs_server.cli.wording import count_words

    with connect(server, token_file) as client:
        reply = client.freeze_namespace(mode=value_named(StopMode, mode), reason=reason)
    if as_json:
        print_json({"workflow_count": 0, **message_to_dict(reply)})
    else:
        print(f"{count_words(reply.workflow_count, 'workflow')} frozen")


def thaw(server: Server = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Take `orcs freeze` back. What somebody paused stays paused."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli.printing import print_json
    from orcs_server.cli.wording import count_words

    with connect(server, token_file) as client:
        reply = client.thaw_namespace()
    if as_json:
        print_json({"workflow_count": 0, **message_to_dict(reply)})
    else:
        print(f"{count_words(reply.workflow_count, 'workflow')} thawed")


def send(
    workflow_id: WorkflowId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is said; - reads it from standard input.")],
    task: Annotated[
        str, typer.Option(metavar="TASK", help="The task whose agent reads it; else all, and the planner.")
    ] = "",
    mode: Annotated[
        MessageChoice,
        typer.Option(
            help="queue: read at the next turn; interrupt: the model call under way is made anew; replan: the plan changes."
        ),
    ] = MessageChoice.QUEUE,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Say something to what runs."""
    from orcs_client.messages import MessageMode, value_named
    from orcs_server.cli.printing import print_reply

    said = read_said(text)
    with connect(server, token_file) as client:
        reply = client.send_message(workflow_id, said, task_id=task, mode=value_named(MessageMode, mode))
    print_reply(reply, f"sent to {f'{task} of ' if task else ''}{workflow_id}", as_json=as_json)


def update(
    workflow_id: WorkflowId,
    task_id: Annotated[str | None, typer.Argument(metavar="TASK", help="One of its tasks that has not begun.")] = None,
    priority: Annotated[int | None, typer.Option(help="-1000 to 1000; the higher goes first.")] = None,
    labels: Labels = None,
    budget_tokens: BudgetTokens = None,
    budget_cost: BudgetCost = None,
    budget_time: BudgetTime = None,
    no_budget: Annotated[bool, typer.Option("--no-budget", help="Take all limits away.")] = False,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="Of a task: what the agent is to do.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of a task: how long an attempt may take, as in 90s.")
    ] = None,
    revision: Revision = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Change a workflow's budget, labels or priority. With a task: its priority, description or timeout. Labels are given whole.

    Limits of the budget that you leave out stay; --no-budget takes all away.
    """
    from orcs_client import budget as no_limits
    from orcs_server.cli.printing import print_reply

    budget = read_budget(budget_tokens, budget_cost, budget_time)
    if task_id is None and (description is not None or timeout is not None or revision is not None):
        raise typer.TyperException(
            "--description, --timeout and --revision are for a task: name it after the workflow."
        )
    if task_id is not None and (labels or budget is not None or no_budget):
        raise typer.TyperException("Labels and budgets are the workflow's: leave the task out.")
    if no_budget and budget is not None:
        raise typer.TyperException("Give limits or --no-budget, not both.")
    reply: Any
    with connect(server, token_file) as client:
        if budget is not None:
            budget = with_limits(client, workflow_id, "", budget)
        if task_id is None:
            reply = client.update_workflow(
                workflow_id,
                budget=no_limits() if no_budget else budget,
                labels=read_labels(labels) if labels else None,
                priority=priority,
            )
        else:
            reply = client.update_task(
                workflow_id,
                task_id,
                priority=priority,
                description=description,
                timeout=None if timeout is None else read_seconds(timeout),
                plan_revision=revision,
            )
    print_reply(reply, f"{f'{task_id} of ' if task_id else ''}{workflow_id} updated", as_json=as_json)


def print_state(reply: Any, *, as_json: bool) -> None:
    from orcs_client.messages import WorkflowState, message_to_dict, short_name
    from orcs_server.cli.printing import print_json
    from orcs_server.cli.wording import state_words

    if as_json:
        print_json(message_to_dict(reply))
        return
    workflow = reply.workflow
    print(f"{workflow.id} is {state_words(short_name(WorkflowState, workflow.state))}")
