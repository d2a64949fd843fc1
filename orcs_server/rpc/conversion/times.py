"""Between microseconds and the messages for times and durations."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from orcs_server.service.validation import Findings

_SECOND = 1_000_000
_EARLIEST_S, _LATEST_S = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, as the message's documentation has it."""
_LONGEST_S = 315_576_000_000
_NANOS = 1_000_000_000


def timestamp(us: int) -> Timestamp:
    return Timestamp(seconds=us // _SECOND, nanos=us % _SECOND * 1000)


def optional_timestamp(us: int | None) -> Timestamp | None:
    return None if us is None else timestamp(us)


def duration(us: int) -> Duration:
    """Return a duration that is not negative."""
    return Duration(seconds=us // _SECOND, nanos=us % _SECOND * 1000)


def optional_duration(us: int | None) -> Duration | None:
    return None if us is None else duration(us)


def time_us(value: Timestamp, field: str, findings: Findings) -> int:
    """Return the microseconds of a time; 0, and a finding, where it is none."""
    if not _EARLIEST_S <= value.seconds <= _LATEST_S or not 0 <= value.nanos < _NANOS:
        findings.add(field, "It is no time: seconds lie within the years 1 to 9999, nanos between 0 and 999,999,999.")
        return 0
    return value.seconds * _SECOND + value.nanos // 1000


def duration_us(value: Duration, field: str, findings: Findings) -> int:
    """Return the microseconds of a duration; 0, and a finding, where it is none or is negative."""
    if not 0 <= value.seconds <= _LONGEST_S or not 0 <= value.nanos < _NANOS:
        findings.add(
            field, "It is no duration: seconds and nanos must not be negative, nanos stay below 1,000,000,000."
        )
        return 0
    return value.seconds * _SECOND + value.nanos // 1000
