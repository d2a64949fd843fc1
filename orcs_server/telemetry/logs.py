"""Log lines for people or for programs. Text from models and users is hostile: one record stays one line (or one line and its
marked traceback), and no control sequence reaches a terminal.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from opentelemetry.trace import get_current_span

VALUE_LIMIT = 8_192
"""Characters of a message or a value that are logged."""

TRACE_FIELDS: Final = ("trace_id", "span_id")

CHATTY = ("aiosqlite", "asyncio", "grpc", "httpcore", "httpcore2", "httpx", "httpx2", "openai", "opentelemetry")
"""Libraries that write a line for every statement or call at DEBUG; `openai.agents` is within `openai`."""

# Control characters, what reorders text on screen, line separators, and halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PLAIN_VALUE = re.compile(r"[^\s\"=]+")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def escape(text: str) -> str:
    r"""Return `text` on one line, control characters written as `\n` or `\x1b`, cut at 8,192 characters."""
    cut = text[:VALUE_LIMIT]
    escaped = _UNSAFE.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode("ascii"), cut)
    return escaped if len(cut) == len(text) else f"{escaped}… ({len(text) - len(cut)} characters more)"


class PlainFormatter(logging.Formatter):
    """`TIME LEVEL logger: message key=value`, followed by a traceback whose lines begin with `  | `."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {record.name}: {escape(record.getMessage())}"
        for key, value in _extras(record):
            if key in TRACE_FIELDS:
                continue  # People have no use for them in a line; programs read the other form.
            text = escape(value if isinstance(value, str) else str(value))
            shown = text if _PLAIN_VALUE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
            line += f" {key}={shown}"
        traceback = _traceback(self, record)
        return "\n".join([line, *(f"  | {escape(each)}" for each in traceback.splitlines())])


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the fields that docs/telemetry.md promises: `time`, `level`, `logger`, `message`, `exception` if any,
    `trace_id` and `span_id` where there is a trace, and the record's extras.
    """

    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, Any] = {
            key: value if value is None or isinstance(value, bool | int | float) else escape(str(value))
            for key, value in _extras(record)
        }
        body = _trace() | body
        body |= {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": escape(record.getMessage()),
        }
        traceback = _traceback(self, record)
        if traceback:
            body["exception"] = [escape(each) for each in traceback.splitlines()]
        return json.dumps(body)


def configure_logging(level: str, form: Literal["plain", "json"] = "plain", stream: TextIO | None = None) -> None:
    """Send every log record of `level` and above to `stream` (standard error), in place of earlier destinations.

    Libraries speak from WARNING on. With DEBUG all code that is not among the chatty libraries may say more; those do
    only where a level of their own was set, as OPENAI_LOG does.
    """
    destination = logging.StreamHandler(stream or sys.stderr)
    destination.setFormatter(JsonFormatter() if form == "json" else PlainFormatter())
    root = logging.getLogger()
    for earlier in root.handlers[:]:
        root.removeHandler(earlier)
    root.addHandler(destination)
    root.setLevel(level if level in {"DEBUG", "ERROR"} else "WARNING")
    for own in ("orcs", "orcs_server"):
        logging.getLogger(own).setLevel(level)
    for name in CHATTY:
        library = logging.getLogger(name)
        if library.level == logging.NOTSET:
            library.setLevel("WARNING")
    # A broken pipe behind standard error must not print tracebacks for each line.
    logging.raiseExceptions = False


def _trace() -> dict[str, Any]:
    """Return the ids of the span within which a record is written; none outside of spans."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> list[tuple[str, Any]]:
    return [(escape(key), value) for key, value in vars(record).items() if key not in _STANDARD]


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
