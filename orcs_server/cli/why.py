"""The command that says why things are as they are: `orcs why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orcs_server.cli.options import AsJson, Server, TokenFile, WorkflowId, connect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcs_client.messages import AttemptSummary, Cost, Explanation, Reason, TaskExplanation, Usage

TASKS = 500
"""Tasks that are told of at once; any other one can be asked for by its id."""

_NEXT = frozenset({"PLAN_RETRY", "NOT_BEFORE", "RETRY", "MODEL_OUTAGE", "QUOTA"})
"""Reasons whose time lies ahead."""
_SINCE = frozenset(
    {"PAUSED", "FROZEN", "CANCELLING", "RESOURCES", "RESOURCES_RETURN", "RUNNING", "QUESTION", "PLAN_APPROVAL"}
    | {"STORAGE_TROUBLE", "HOOK_TROUBLE", "TASK_APPROVAL", "TOOL_APPROVAL", "BUDGET", "UNSAFE_RERUN"}
)
"""Reasons that have been there since their time."""
_DONE = frozenset({"COMPLETED"})
"""Reasons of tasks that need no word where nothing else is to be said of them."""


def why(
    workflow_id: WorkflowId,
    task_id: Annotated[
        str | None, typer.Argument(metavar="TASK", help="One of its tasks, with its attempts.", show_default=False)
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Say why a workflow and its tasks stand where they stand. With what they have cost."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing
    from orcs_server.cli.exits import tell

    with connect(server, token_file) as client:
        reply = client.explain_workflow(workflow_id, task_id or "", page_size=TASKS)
    if as_json:
        printing.print_json(message_to_dict(reply))
        return
    if task_id is not None:
        _print_task(reply.tasks[0])
    else:
        _print_workflow(workflow_id, reply.explanation)
        _print_tasks(reply.tasks)
    if reply.next_page_token:
        tell("there are more tasks: ask for one of them with `orcs why ID TASK`")
    if reply.events_omitted:
        tell(f"the log is very long: its first {reply.events_omitted:,} events were not looked at")


def _print_workflow(workflow_id: str, told: Explanation) -> None:
    from orcs_client.messages import WorkflowState, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.wording import state_words

    printing.print_fields(
        (
            ("workflow", workflow_id),
            ("state", state_words(short_name(WorkflowState, told.state))),
            *(("why", _sentence(reason)) for reason in told.why),
            *_cost_fields(told.cost),
        )
    )
    _print_past(told.past, told.past_omitted)
    if any(attempt.HasField("failure") for attempt in told.planner_attempts):
        _print_attempts("The planner's attempts", told.planner_attempts, told.planner_attempts_omitted)


def _print_tasks(tasks: Iterable[TaskExplanation]) -> None:
    from orcs_client.messages import ReasonCode, TaskState, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.wording import count_words, state_words

    rows: list[tuple[str, str, str]] = []
    plain = 0
    for task in tasks:
        if not task.past and {short_name(ReasonCode, reason.code) for reason in task.why} <= _DONE:
            plain += 1
            continue
        state = state_words(short_name(TaskState, task.state))
        rows.append((task.task_id, state, " ".join(_sentence(reason) for reason in task.why)))
    if rows:
        print()
        printing.print_table(("TASK", "STATE", "WHY"), rows)
    if plain:
        print(f"\n{count_words(plain, 'more task' if rows else 'task')} completed.")


def _print_task(task: TaskExplanation) -> None:
    from orcs_client.messages import TaskState, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.wording import count_words, duration_words, state_words

    lost = f", {task.lost_attempts} lost in a row" if task.lost_attempts else ""
    printing.print_fields(
        (
            ("task", task.task_id),
            ("title", task.title),
            ("state", state_words(short_name(TaskState, task.state))),
            *(("why", _sentence(reason)) for reason in task.why),
            ("failed", f"{task.failed_attempts} of {count_words(task.max_attempts, 'attempt')}{lost}"),
            ("used", _usage_words(task.usage)),
            ("ran", duration_words(task.run_time.ToMicroseconds())),
            *(
                ("message", f"{one.id} by {one.actor or 'nobody'}, {'read' if one.counted else 'not read yet'}")
                for one in task.messages
            ),
        )
    )
    _print_past(task.past, task.past_omitted)
    if task.attempts:
        _print_attempts("Its attempts", task.attempts, task.attempts_omitted)


def _print_past(past: Iterable[Reason], omitted: int) -> None:
    from orcs_server.cli.wording import local_time
    from orcs_server.outputs.safe_text import one_line

    lines = [f"{local_time(reason.time.ToMicroseconds())}  {one_line(reason.text, 400)}" for reason in past]
    if lines:
        print("\nWhat happened:\n")
        if omitted:
            print(f"(earlier: {omitted:,})")
        print("\n".join(lines))


def _print_attempts(title: str, attempts: Iterable[AttemptSummary], omitted: int) -> None:
    from orcs_client.messages import AttemptEnding, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.progress import tokens_of
    from orcs_server.cli.wording import duration_words, local_time, state_words

    rows = []
    for attempt in attempts:
        took = attempt.end_time.ToMicroseconds() - attempt.start_time.ToMicroseconds()
        ended = attempt.HasField("end_time")
        rows.append(
            (
                str(attempt.number),
                local_time(attempt.start_time.ToMicroseconds()),
                duration_words(took) if ended else "",
                state_words(short_name(AttemptEnding, attempt.ending)) if ended else "running",
                f"{tokens_of(attempt.usage):,}",
                attempt.failure.message or ", ".join(attempt.input_ids),
            )
        )
    print(f"\n{title}{f' (earlier: {omitted:,})' if omitted else ''}:\n")
    printing.print_table(("NO", "BEGAN", "TOOK", "END", "TOKENS", "BECAUSE"), rows, spare=("BEGAN", "TOOK", "TOKENS"))


def _sentence(reason: Reason) -> str:
    """Return a reason with its time, if it has one."""
    from orcs_client.messages import ReasonCode, short_name
    from orcs_server.cli.wording import local_time

    if not reason.HasField("time"):
        return reason.text
    code = short_name(ReasonCode, reason.code)
    word = "next at" if code in _NEXT else "since" if code in _SINCE else "at"
    return f"{reason.text} ({word} {local_time(reason.time.ToMicroseconds())})"


def _cost_fields(cost: Cost) -> Iterable[tuple[str, str]]:
    from orcs_server.cli.wording import duration_words

    yield "used", _usage_words(cost.usage)
    if cost.planning.requests:
        yield "planning", _usage_words(cost.planning)
    ran = duration_words(cost.wall_time.ToMicroseconds())
    yield "ran", f"{ran}, in the {duration_words(cost.elapsed_time.ToMicroseconds())} since it was created"
    limits = []
    if cost.budget.HasField("tokens"):
        limits.append(f"{cost.budget.tokens:,} tokens")
    if cost.budget.HasField("cost_micros"):
        limits.append(f"{cost.budget.cost_micros / 1e6:,.6f} in cost")
    if cost.budget.HasField("wall_time"):
        limits.append(duration_words(cost.budget.wall_time.ToMicroseconds()))
    yield "budget", ", ".join(limits)


def _usage_words(usage: Usage) -> str:
    from orcs_server.cli.progress import tokens_of
    from orcs_server.cli.wording import count_words

    cost = f", {usage.cost_micros / 1e6:,.6f} in cost" if usage.cost_micros else ""
    return f"{tokens_of(usage):,} tokens in {count_words(usage.requests, 'call')}{cost}"
