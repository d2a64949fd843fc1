"""The command that says what the namespace has consumed and how it stands to its quotas: `orcs usage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orcs_server.cli.options import AsJson, Server, TokenFile, connect

if TYPE_CHECKING:
    from orcs_client.messages import Quota

_NAMES = {
    "WORKFLOWS": "workflows that have not ended",
    "RUNNING_TASKS": "attempts that run",
    "WATCHES": "open watches",
    "TOKENS_PER_DAY": "tokens today",
    "COST_PER_DAY": "cost today",
    "BYTES": "bytes stored",
}


def usage(
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="The days that are shown, today included.")] = 7,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what your namespace has used, beside its quotas."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing
    from orcs_server.cli.progress import tokens_of

    with connect(server, token_file) as client:
        reply = client.get_usage(days=days)
    if as_json:
        printing.print_json(message_to_dict(reply))
        return
    printing.print_fields((("namespace", reply.namespace),))
    print()
    printing.print_table(("QUOTA", "IN USE", "LIMIT", "FREE AGAIN"), [_row(quota) for quota in reply.quotas])
    print()
    rows = [
        (
            day.date,
            f"{tokens_of(day.usage):,}",
            f"{day.usage.requests:,}",
            f"{day.usage.cost_micros / 1e6:,.6f}",
            f"{day.attempts:,}",
            f"{day.workflows_created:,}",
            f"{day.workflows_completed:,}",
            f"{day.workflows_failed:,}",
            f"{day.workflows_cancelled:,}",
        )
        for day in reply.days
    ]
    columns = ("DAY (UTC)", "TOKENS", "CALLS", "COST", "ATTEMPTS", "CREATED", "COMPLETED", "FAILED", "CANCELLED")
    printing.print_table(columns, rows, spare=("CANCELLED", "FAILED", "COMPLETED", "CREATED"))


def _row(quota: Quota) -> tuple[str, str, str, str]:
    from orcs_client.messages import QuotaKind, short_name
    from orcs_server.cli.wording import local_time

    kind = short_name(QuotaKind, quota.kind)

    def amount(number: int) -> str:
        return f"{number / 1e6:,.6f}" if kind == "COST_PER_DAY" else f"{number:,}"

    limited = quota.HasField("limit")
    used_up = limited and quota.in_use >= quota.limit
    free = quota.free_when
    if quota.HasField("free_time"):
        free = f"{free} ({local_time(quota.free_time.ToMicroseconds())})"
    limit = amount(quota.limit) if limited else "none"
    return _NAMES.get(kind, kind.lower()), amount(quota.in_use), limit, free if used_up else ""
