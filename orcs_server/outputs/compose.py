"""A workflow's result, put together from what its tasks produced."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from orcs_server.outputs.markdown import Section, html_document, markdown_literal
from orcs_server.outputs.safe_text import one_line, safe_text
from orcs_server.workflow.model import OutputFormat
from orcs_server.workflow.states import TaskStatus

JSON_MEDIA_TYPE = "application/json"
PARTIAL = "PARTIAL"
"""Status of a result that lacks something; a whole one is COMPLETED, one without any output FAILED."""

MEDIA_TYPES = {
    OutputFormat.TEXT: "text/plain; charset=utf-8",
    OutputFormat.MARKDOWN: "text/markdown; charset=utf-8",
    OutputFormat.JSON: JSON_MEDIA_TYPE,
    OutputFormat.HTML: "text/html; charset=utf-8",
}


class FinishedTask(Struct, frozen=True):
    """A task that has ended, with what it produced or why it produced nothing. Given in plan order."""

    id: str
    title: str
    status: TaskStatus
    media_type: str = "text/markdown"
    content: bytes = b""
    failure: str = ""
    is_sink: bool = True
    """Whether its output belongs to the result: see `final_tasks`."""


class Rendered(Struct, frozen=True):
    """A document, ready to be sent."""

    media_type: str
    content: bytes


def final_tasks(dependencies: Mapping[str, Collection[str]], completed: Collection[str]) -> frozenset[str]:
    """Return the completed tasks on which no completed task builds: what they produced is the result.

    In a workflow that went well these are the sinks of the graph; where a sink failed, what it would have built on shows
    instead. `dependencies` maps each task to those that it depends on.
    """
    done = frozenset(completed)
    used = {dependency for task in done for dependency in dependencies.get(task, ())}
    return done - used


def compose(title: str, tasks: Sequence[FinishedTask], output_format: OutputFormat) -> Rendered:
    """Return the result as one document: a single output alone, several as sections in plan order.

    A result that lacks something says which tasks failed, were skipped or were cancelled, and why. Takes time in proportion
    to the outputs' size (HTML about 2 s a MB): call it in a thread where they may be large.
    """
    outputs = [task for task in tasks if task.is_sink and task.status is TaskStatus.COMPLETED]
    missing = [task for task in tasks if task.status is not TaskStatus.COMPLETED]
    return Rendered(MEDIA_TYPES[output_format], _content(title, outputs, missing, output_format))


def _content(
    title: str, outputs: Sequence[FinishedTask], missing: Sequence[FinishedTask], output_format: OutputFormat
) -> bytes:
    match output_format:
        case OutputFormat.JSON:
            return _json(title, outputs, missing)
        case OutputFormat.HTML:
            sections = [Section(one_line(task.title), *_shown(task)) for task in outputs]
            return html_document(one_line(title), sections, _notice(missing)).encode()
        case OutputFormat.MARKDOWN:
            return _markdown(title, outputs, missing).encode()
        case OutputFormat.TEXT:
            return _text(title, outputs, missing).encode()


def _markdown(title: str, outputs: Sequence[FinishedTask], missing: Sequence[FinishedTask]) -> str:
    if len(outputs) == 1 and not missing:
        return _fenced(outputs[0])
    parts = [f"# {markdown_literal(one_line(title))}"]
    parts += [f"## {markdown_literal(one_line(task.title))}\n\n{_fenced(task)}" for task in outputs]
    if missing:
        lines = [f"- {markdown_literal(line)}" for line in _notice(missing)]
        parts.append("\n".join(["## Not finished", "", *lines]))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _text(title: str, outputs: Sequence[FinishedTask], missing: Sequence[FinishedTask]) -> str:
    if len(outputs) == 1 and not missing:
        return _shown(outputs[0])[0]
    parts = [_underlined(one_line(title), "=")]
    parts += [f"{_underlined(one_line(task.title), '-')}\n\n{_shown(task)[0]}" for task in outputs]
    if missing:
        parts.append("\n".join([_underlined("Not finished", "-"), "", *(f"- {line}" for line in _notice(missing))]))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _underlined(line: str, mark: str) -> str:
    return f"{line}\n{mark * len(line)}"


def _shown(task: FinishedTask) -> tuple[str, bool]:
    """Return the output as text for a terminal, and whether it is Markdown."""
    kind = _kind(task)
    if not (kind.startswith("text/") or kind == JSON_MEDIA_TYPE):
        return f"({len(task.content)} bytes of {one_line(task.media_type, 80)}: ask for JSON to get them)", False
    return safe_text(task.content.decode("utf-8", "replace")), kind == "text/markdown"


def _fenced(task: FinishedTask) -> str:
    text, _ = _shown(task)
    if _kind(task) != JSON_MEDIA_TYPE:
        return text
    # The fence must be longer than any in the text.
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}json\n{text.rstrip()}\n{fence}\n"


def _notice(missing: Sequence[FinishedTask]) -> list[str]:
    return [
        one_line(f"{one_line(task.title)} ({task.id}): {task.status.lower()}", 300)
        + (f": {one_line(task.failure, 500)}" if task.failure else "")
        for task in missing
    ]


def _json(title: str, outputs: Sequence[FinishedTask], missing: Sequence[FinishedTask]) -> bytes:
    if len(outputs) == 1 and not missing and _kind(outputs[0]) == JSON_MEDIA_TYPE and _is_json(outputs[0].content):
        return outputs[0].content
    status = TaskStatus.COMPLETED if not missing else PARTIAL if outputs else TaskStatus.FAILED
    body: dict[str, Any] = {
        "workflow": one_line(title),
        "status": status,
        "outputs": [
            {"task_id": task.id, "title": one_line(task.title), "media_type": task.media_type, **_json_content(task)}
            for task in outputs
        ],
    }
    if missing:
        body["unfinished"] = [
            {"task_id": task.id, "title": one_line(task.title), "status": task.status, "failure": _utf8(task.failure)}
            for task in missing
        ]
    return msgspec.json.encode(body)


def _json_content(task: FinishedTask) -> dict[str, Any]:
    kind = _kind(task)
    if kind == JSON_MEDIA_TYPE and _is_json(task.content):
        # Spliced in as it is, so that no number loses digits on the way.
        return {"json": msgspec.Raw(task.content)}
    if kind.startswith("text/") or kind == JSON_MEDIA_TYPE:
        return {"text": task.content.decode("utf-8", "replace")}
    return {"data": base64.b64encode(task.content).decode("ascii")}


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content.decode("utf-8"), parse_constant=_refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _kind(task: FinishedTask) -> str:
    return task.media_type.partition(";")[0].strip().lower()
