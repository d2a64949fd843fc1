"""The text that an agent gets for a task: the task itself, the context of the request, and the results of the tasks it depends on,
bounded in size. It is written and read back here, so that the offline model understands it too. No Agents SDK here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orcs_server.agents.memory_texts import attribute

_TASK = "# Task: "
_CONTEXT = "\n# Context of the request\n"
_RESULTS = "\n# Results of earlier tasks\n"
_MESSAGE = "# Message from a person\n\n"
_ANSWER = "# Answer given so far\n\n"
_MEMORY = "# From memory\n\n"
NOTE_LIMIT = 65_536
"""Bytes of a message or an answer that are shown."""
_RESULT = re.compile(r'<result task="([^"\n]*)" title="([^"\n]*)">\n(.*?)\n</result>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A task that this one depends on, and what came of it."""

    task_id: str
    title: str
    text: str = ""
    missing: str = ""
    """Why there is no result, such as "the task failed"; "" if there is one."""


def build_task_input(
    title: str,
    description: str,
    predecessors: Sequence[Predecessor] = (),
    external_context: Mapping[str, Any] | None = None,
    max_predecessor_bytes: int = 64 * 1024,
) -> str:
    """Return the input of a task's agent.

    All predecessors' results together take at most `max_predecessor_bytes` of UTF-8; short ones are kept whole, the room that
    they leave goes to the longer ones, and a cut is marked.
    """
    parts = [f"{_TASK}{_line(title)}\n\n{description.strip()}\n"]
    if external_context:
        context = json.dumps(external_context, ensure_ascii=False, sort_keys=True, default=str)
        parts.append(f"{_CONTEXT}\n```json\n{context}\n```\n")
    if predecessors:
        sizes = [len(one.text.encode("utf-8", "replace")) for one in predecessors]
        shares = _shares(sizes, max_predecessor_bytes)
        parts.append(_RESULTS)
        for one, size, share in zip(predecessors, sizes, shares, strict=True):
            body = f"[No result: {_line(one.missing)}]" if one.missing else _bounded(one.text, size, share)
            heading = f'task="{attribute(one.task_id)}" title="{attribute(one.title)}"'
            parts.append(f"\n<result {heading}>\n{body}\n</result>\n")
    return "".join(parts)


def read_task_input(text: str) -> tuple[str, str, tuple[Predecessor, ...]]:
    """Return title, description and predecessors of what `build_task_input` made; any other text is all description."""
    head, _, results = text.partition(_RESULTS)
    head = head.partition(_CONTEXT)[0]
    title = ""
    if head.startswith(_TASK):
        first, _, head = head.partition("\n")
        title = first.removeprefix(_TASK).strip()
    found = tuple(Predecessor(task_id, name, body) for task_id, name, body in _RESULT.findall(results))
    return title, head.strip(), found


def message_note(text: str) -> str:
    """Return how a message of a person stands in the conversation."""
    return f"{_MESSAGE}{_cut(text)}"


def answer_note(question: str, answer: str) -> str:
    """Return how an answer that concerns the whole workflow stands in the conversation."""
    return f"{_ANSWER}Question: {_line(question)}\nAnswer: {_cut(answer)}"


def memory_note(text: str) -> str:
    """Return how what memory holds for the agent stands in the conversation."""
    return f"{_MEMORY}{text}"


def is_note(text: str) -> bool:
    """Whether a text of the conversation is a message, an answer or from memory, and not the task."""
    return text.startswith((_MESSAGE, _ANSWER, _MEMORY))


def is_from_memory(text: str) -> bool:
    """Whether a note is from memory: nobody says it to the agent."""
    return text.startswith(_MEMORY)


def read_note(text: str) -> str:
    """Return what `message_note` or `memory_note` was given, or question and answer."""
    return text.removeprefix(_MESSAGE).removeprefix(_ANSWER).removeprefix(_MEMORY)


def _cut(text: str) -> str:
    kept = text.encode("utf-8", "replace")
    return text if len(kept) <= NOTE_LIMIT else f"{kept[:NOTE_LIMIT].decode('utf-8', 'ignore')}\n[… cut]"


def _shares(sizes: Sequence[int], room: int) -> list[int]:
    """Share out the room: whoever needs less than an even share leaves the rest to the others."""
    shares = [0] * len(sizes)
    left = max(room, 0)
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    for position, index in enumerate(by_size):
        shares[index] = min(sizes[index], left // (len(sizes) - position))
        left -= shares[index]
    return shares


def _bounded(text: str, size: int, share: int) -> str:
    # A result must not be able to end its own frame and speak in the voice of the task.
    if size > share:
        kept = text.encode("utf-8", "replace")[:share].decode("utf-8", "ignore")
        text = f"{kept}\n[… cut: {share} of {size} bytes]"
    return text.replace("</result", "<\\/result").replace("<result", "<\\result")


def _line(text: str) -> str:
    return " ".join(text.split())
