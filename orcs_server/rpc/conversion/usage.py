"""Usage and quotas as messages."""

from __future__ import annotations

from orcs_client.v1 import usage_service_pb2
from orcs_server.identity.quotas import QuotaKind, date_of
from orcs_server.rpc.conversion.times import optional_timestamp, timestamp
from orcs_server.rpc.conversion.workflows import usage
from orcs_server.service.usage import QuotaInUse, UsageReport
from orcs_server.storage.usage import UsageDay

_u = usage_service_pb2

KINDS = {
    QuotaKind.WORKFLOWS: _u.QUOTA_KIND_WORKFLOWS,
    QuotaKind.RUNNING_TASKS: _u.QUOTA_KIND_RUNNING_TASKS,
    QuotaKind.WATCHES: _u.QUOTA_KIND_WATCHES,
    QuotaKind.TOKENS_PER_DAY: _u.QUOTA_KIND_TOKENS_PER_DAY,
    QuotaKind.COST_PER_DAY: _u.QUOTA_KIND_COST_PER_DAY,
    QuotaKind.BYTES: _u.QUOTA_KIND_BYTES,
}


def usage_report(report: UsageReport) -> _u.GetUsageResponse:
    """Return the reply that holds it."""
    return _u.GetUsageResponse(
        namespace=report.namespace,
        time=timestamp(report.time_us),
        quotas=[_quota(quota) for quota in report.quotas],
        days=[_daily(day) for day in report.days],
    )


def _quota(quota: QuotaInUse) -> _u.Quota:
    return _u.Quota(
        kind=KINDS[quota.kind],
        limit=quota.limit,
        in_use=quota.in_use,
        free_time=optional_timestamp(quota.free_us),
        free_when=quota.free_when,
    )


def _daily(day: UsageDay) -> _u.DailyUsage:
    counts = day.counts
    return _u.DailyUsage(
        date=date_of(day.day),
        usage=usage(counts.usage),
        attempts=counts.attempts,
        workflows_created=counts.created,
        workflows_completed=counts.completed,
        workflows_failed=counts.failed,
        workflows_cancelled=counts.cancelled,
    )
