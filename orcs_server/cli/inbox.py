"""Commands for what waits for people: inbox, answer, approve, reject."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from orcs_server.cli.options import (
    AsJson,
    BudgetCost,
    BudgetTime,
    BudgetTokens,
    Reason,
    Server,
    TokenFile,
    WorkflowId,
    connect,
    first,
    page_of,
    read_budget,
    read_choices,
    read_given,
    read_said,
    with_limits,
)

if TYPE_CHECKING:
    from orcs_client import BlockingOrcsClient
    from orcs_client.messages import PendingInput

InputId = Annotated[
    str, typer.Argument(metavar="INPUT", help="What waits, such as i1; see `orcs inbox`.", show_default=False)
]


def inbox(
    workflow_id: Annotated[str | None, typer.Argument(metavar="ID", help="Only of this workflow.")] = None,
    input_id: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="One of them, with all that is shown.")
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="Only of this kind; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what has come to its end.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="The most that are shown; 0: all.")] = 50,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List what waits for people, the oldest first. Questions, approvals, budgets that are used up."""
    from orcs_client.messages import InputResolution, PendingInputKind, message_to_dict, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.wording import duration_words, state_words

    wanted = read_choices("--kind", PendingInputKind, kinds)
    with connect(server, token_file) as client:
        if workflow_id is not None and input_id is not None:
            reply = client.get_pending_input(workflow_id, input_id)
            if as_json:
                printing.print_json(message_to_dict(reply))
            else:
                print_input(reply.input)
            return
        found = client.list_pending_inputs(
            workflow_id=workflow_id or "", kinds=wanted, include_resolved=everything, page_size=page_of(limit)
        )
        inputs = first(found, limit)
    if as_json:
        printing.print_json({"inputs": [message_to_dict(one) for one in inputs]})
        return
    now_us = time.time_ns() // 1000
    rows = []
    for one in inputs:
        settled = short_name(InputResolution, one.resolution) if one.resolution else ""
        rows.append(
            (
                one.workflow_id,
                one.id,
                state_words(short_name(PendingInputKind, one.kind)),
                one.task_id or "–",
                state_words(settled) if settled else duration_words(now_us - one.create_time.ToMicroseconds()),
                one.prompt,
            )
        )
    printing.print_table(("ID", "INPUT", "KIND", "TASK", "WAITS", "WHAT"), rows, spare=("WAITS", "TASK"))


def answer(
    workflow_id: WorkflowId,
    input_id: InputId,
    text: Annotated[
        str, typer.Argument(metavar="ANSWER", help="The answer, a text or JSON; - reads it from standard input.")
    ],
    share: Annotated[bool, typer.Option("--share", help="Later tasks and the planner see it, too.")] = False,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question."""
    from orcs_server.cli.printing import print_reply

    said = read_said(text)
    with connect(server, token_file) as client:
        reply = client.answer_input(workflow_id, input_id, said, share=share)
    print_reply(reply, f"{input_id} of {workflow_id} answered", as_json=as_json)


def approve(
    workflow_id: WorkflowId,
    input_id: InputId,
    reason: Reason = "",
    edit: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT|@FILE",
            help="Approve this instead: arguments of a tool, or its result, as JSON; a task's description.",
        ),
    ] = None,
    budget_tokens: BudgetTokens = None,
    budget_cost: BudgetCost = None,
    budget_time: BudgetTime = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="That of what you have seen, as `orcs inbox ID INPUT` prints it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve what is asked now, whatever it is.")] = False,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Approve what waits for approval. On a terminal it is shown, and you are asked.

    Elsewhere say what you have seen with --sha256, or --yes. A budget that is used up gets as much again, or what
    you give; limits that you leave out stay.
    """
    from orcs_client.messages import Decision, value_named
    from orcs_server.cli.printing import print_reply

    budget = read_budget(budget_tokens, budget_cost, budget_time)
    content = None
    if edit is not None:
        content = read_given(edit)
    if content is not None and budget is not None:
        raise typer.TyperException("Give --edit or a budget, not both.")
    with connect(server, token_file) as client:
        shown = sha256 or _seen(client, workflow_id, input_id, yes=yes)
        if budget is not None:
            task_id = client.get_pending_input(workflow_id, input_id).input.task_id
            budget = with_limits(client, workflow_id, task_id, budget)
        changed = content is not None or budget is not None
        reply = client.resolve_approval(
            workflow_id,
            input_id,
            value_named(Decision, "edit" if changed else "approve"),
            subject_sha256=shown,
            reason=reason,
            content=content,
            budget=budget,
        )
    print_reply(reply, f"{input_id} of {workflow_id} approved{' with changes' if changed else ''}", as_json=as_json)


def reject(
    workflow_id: WorkflowId,
    input_id: InputId,
    reason: Reason = "",
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Reject what waits for approval. With a reason a plan goes back to the planner; an agent reads it."""
    from orcs_client.messages import Decision, value_named
    from orcs_server.cli.printing import print_reply

    with connect(server, token_file) as client:
        shown = client.get_pending_input(workflow_id, input_id).input.subject_sha256
        reply = client.resolve_approval(
            workflow_id, input_id, value_named(Decision, "reject"), subject_sha256=shown, reason=reason
        )
    print_reply(reply, f"{input_id} of {workflow_id} rejected", as_json=as_json)


def _seen(client: BlockingOrcsClient, workflow_id: str, input_id: str, *, yes: bool) -> str:
    """Return the SHA-256 of what is approved, once whoever approves it has seen it, or wants to approve it unseen."""
    asked = client.get_pending_input(workflow_id, input_id).input
    if yes:
        return asked.subject_sha256
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.TyperException(
            "Say what you have seen with --sha256, or approve what is asked now with --yes; on a terminal you are asked."
        )
    print_input(asked)
    if asked.subject_incomplete:
        raise typer.TyperException("A mere yes is not enough for what is not shown as a whole.")
    typer.confirm("\nApprove it?", abort=True)
    return asked.subject_sha256


def print_input(asked: PendingInput) -> None:
    """Print a pending input with all that is shown of it, and how it is settled."""
    from orcs_client.messages import InputResolution, PendingInputKind, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.subjects import incomplete_words, subject_lines
    from orcs_server.cli.wording import local_time, state_words

    place = f"{asked.workflow_id} {asked.id}"
    question = asked.kind == PendingInputKind.PENDING_INPUT_KIND_QUESTION
    settle = f"orcs answer {place} ANSWER" if question else f"orcs approve {place}, or orcs reject {place}"
    has_end = asked.HasField("deadline_time")
    settled = state_words(short_name(InputResolution, asked.resolution)) if asked.resolution else ""
    printing.print_fields(
        (
            ("input", f"{asked.id} of {asked.workflow_id} ({asked.workflow_title})"),
            ("kind", state_words(short_name(PendingInputKind, asked.kind))),
            ("task", asked.task_id),
            ("asked", local_time(asked.create_time.ToMicroseconds())),
            ("until", local_time(asked.deadline_time.ToMicroseconds()) if has_end else ""),
            ("settled", f"{settled} by {asked.principal or 'nobody'}" if settled else ""),
            ("reason", asked.reason),
            ("what", asked.prompt),
            ("answer fits", asked.answer_schema),
            ("default", asked.default_answer.text or asked.default_answer.json),
            ("answer", asked.answer.text or asked.answer.json),
            ("sha256", asked.subject_sha256),
            ("settle it", "" if settled else settle),
        )
    )
    lines = list(subject_lines(asked))
    for line in lines:
        print(line)
    if asked.subject_incomplete:
        print(f"\n{incomplete_words(asked)}")
    if asked.HasField("subject") and not lines:
        print()
        printing.print_part(asked.subject)
