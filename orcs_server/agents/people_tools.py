"""The tools by which an agent turns to people and to the plan: `ask_user` and `propose_tasks`. What a model writes into them is bounded
and checked like any other input; what is wrong with it the model is told, so that it can do better.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from agents import FunctionTool, function_tool
from agents.tool_context import ToolContext
from pydantic import BaseModel, Field

from orcs_server.agents.context import RunContext
from orcs_server.agents.idempotence import idempotent
from orcs_server.agents.journal import RunJournal
from orcs_server.agents.needs import InputRequired
from orcs_server.agents.paths import current_path
from orcs_server.agents.run_calls import current_calls
from orcs_server.agents.sensitivity import trusted
from orcs_server.agents.structured import schema_problems, value_problems
from orcs_server.errors import OrcsError
from orcs_server.storage.store import Blob, blob_of
from orcs_server.workflow.model import TITLE_LIMIT, Digest, TaskSpec
from orcs_server.workflow.people import PROMPT_LIMIT, IfUnanswered, InputKind, Need, PendingInput, Resolution
from orcs_server.workflow.plan import TIMEOUT_LIMIT_US

CHOICES_LIMIT = 50
TEXT_LIMIT = 1_000
"""Characters of a choice or of a default answer without a schema."""
PROPOSAL_LIMIT = 50
"""Tasks in one proposal."""
DESCRIPTION_LIMIT = 65_536
"""Bytes of a proposed task's description."""


@trusted
@idempotent
@function_tool
async def ask_user(
    question: str,
    choices: list[str] | None = None,
    answer_schema: str | None = None,
    default: str | None = None,
    deadline_seconds: float | None = None,
    if_unanswered: Literal["go_on", "fail"] | None = None,
) -> str:
    """Ask the person for whom you work, and wait for the answer. Ask only for what you cannot find out or decide yourself.

    Never ask for passwords, keys or other secrets: answers are stored as plain text, and others may read them.

    Args:
        question: All that the person needs to know to answer. They see nothing else of your work.
        choices: The answers from which the person chooses one; null if any answer will do.
        answer_schema: A JSON schema, as a string, that the answer must meet; null if any text or one of the choices will do.
        default: The answer that is taken when the deadline passes. JSON, if there is an answer_schema.
        deadline_seconds: How long to wait for an answer; null to wait as long as it takes.
        if_unanswered: What the deadline does if there is no default: "go_on" without an answer (also if null), or "fail" the task.
    """
    journal = _journal()
    if journal is None:
        return "Nobody can be asked here. Go on without an answer, and say what you assume."
    said = journal.needs.resolution(current_path(), InputKind.QUESTION)
    if said is not None:
        return await _said(journal, said)
    schema, problems = _answer_schema(choices, answer_schema)
    taken = default
    if default is not None and not problems:
        taken, problems = _default(default, schema, choices)
    problems = (*_question_problems(question, deadline_seconds), *problems)
    if problems:
        return f"The person was not asked: {'; '.join(problems)}. Correct it, then ask again."
    blobs = [blob_of(json.dumps(schema, sort_keys=True).encode())] if schema is not None else []
    answer_schema_digest = blobs[0].digest if blobs else None
    if taken is not None:
        blobs.append(blob_of(taken.encode("utf-8", "replace")))
    need = Need(
        InputKind.QUESTION,
        question,
        answer_schema=answer_schema_digest,
        default=None if taken is None else blobs[-1].digest,
        expires_after_us=None if deadline_seconds is None else round(deadline_seconds * 1e6),
        if_unanswered=IfUnanswered.FAIL if if_unanswered == "fail" else IfUnanswered.GO_ON,
    )
    raise InputRequired(need, blobs)


class ProposedTask(BaseModel):
    """One task as an agent proposes it."""

    title: str
    """What is done, in at most 80 characters."""
    description: str
    """All that the agent needs to know. It sees only this text and the results of the tasks that it depends on."""
    agent_id: str
    depends_on: list[str] = Field(default_factory=list)
    """Ids of tasks of the plan whose results it needs."""
    depends_on_positions: list[int] = Field(default_factory=list)
    """0-based positions in this list of tasks whose results it needs."""


@trusted
@idempotent
@function_tool
async def propose_tasks(context: ToolContext[RunContext], tasks: list[ProposedTask]) -> str:
    """Have further tasks added to the plan, for other agents to carry out. You do not get their results.

    Args:
        tasks: The tasks to add, all of them or none.
    """
    journal = _journal()
    if journal is None or journal.steering.propose is None:
        return "Tasks cannot be proposed here."
    problems = _proposal_problems(tasks)
    if problems:
        return f"Nothing was added to the plan: {'; '.join(problems[:10])}."
    run = context.context
    path = f"{run.task_id}\0{run.run}\0{current_path()}"
    stem = f"{run.task_id[:32]}-{hashlib.sha256(path.encode('utf-8', 'replace')).hexdigest()[:8]}"
    ids = [f"{stem}-{index + 1}" for index in range(len(tasks))]
    blobs: dict[Digest, Blob] = {}
    specs: list[TaskSpec] = []
    for name, task in zip(ids, tasks, strict=True):
        description = blob_of(task.description.encode("utf-8", "replace"))
        blobs[description.digest] = description
        within = [ids[position] for position in task.depends_on_positions]
        specs.append(
            TaskSpec(
                id=name,
                title=" ".join(task.title.split())[:TITLE_LIMIT],
                description=description.digest,
                agent_id=task.agent_id,
                dependencies=tuple(dict.fromkeys([*task.depends_on, *within])),
                depth=run.depth + 1,
                untrusted=journal.reading.reads.untrusted,
            )
        )
    try:
        await journal.steering.propose(tuple(specs), tuple(blobs.values()))
    except OrcsError as error:
        reasons = [f"{one.field}: {one.description}" for one in getattr(error, "violations", ())[:10]]
        return " ".join(["Nothing was added to the plan:", error.message, *reasons])
    return f"Added to the plan: {', '.join(ids)}."


PEOPLE_TOOLS: dict[str, FunctionTool] = {tool.name: tool for tool in (ask_user, propose_tasks)}
"""By the names under which agents of the configuration ask for them."""


def _journal() -> RunJournal | None:
    calls = current_calls.get()
    return None if calls is None else calls.journal


async def _said(journal: RunJournal, said: PendingInput) -> str:
    answer = "" if said.answer is None else await journal.text(said.answer)
    if said.need.answer_schema is not None:
        answer = _unquoted(answer)
    if said.resolution is Resolution.ANSWERED:
        return answer
    if said.resolution is Resolution.DEFAULTED:
        return f"Nobody answered in time. The default counts: {answer}"
    return "Nobody answered in time. Go on without an answer, and say what you assume."


def _unquoted(answer: str) -> str:
    """Return a JSON string as what it says; other JSON as it is."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    return value if isinstance(value, str) else answer


def _question_problems(question: str, deadline_seconds: float | None) -> tuple[str, ...]:
    found = []
    if not question.strip():
        found.append("question: it is empty")
    if len(question.encode("utf-8", "replace")) > PROMPT_LIMIT:
        found.append(f"question: it may have {PROMPT_LIMIT} bytes at most")
    if deadline_seconds is not None and not 1 <= deadline_seconds <= TIMEOUT_LIMIT_US / 1e6:
        found.append("deadline_seconds: it must be 1 second to 30 days")
    return tuple(found)


def _answer_schema(
    choices: list[str] | None, answer_schema: str | None
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    if choices:
        if answer_schema:
            return None, ("give choices or answer_schema, not both",)
        if len(choices) > CHOICES_LIMIT or any(not one.strip() or len(one) > TEXT_LIMIT for one in choices):
            return None, (f"choices: at most {CHOICES_LIMIT}, each of 1 to {TEXT_LIMIT} characters",)
        return {"type": "string", "enum": list(dict.fromkeys(choices))}, ()
    if not answer_schema:
        return None, ()
    try:
        schema = json.loads(answer_schema)
    except (ValueError, RecursionError):
        return None, ("answer_schema: this is no JSON",)
    problems = tuple(f"answer_schema: {problem}" for problem in schema_problems(schema, any_root=True))
    return (None, problems) if problems else (schema, ())


def _default(default: str, schema: dict[str, Any] | None, choices: list[str] | None) -> tuple[str, tuple[str, ...]]:
    """Return the default as an answer would be stored, and what is wrong with it."""
    if schema is None:
        return default, () if len(default) <= TEXT_LIMIT else (f"default: at most {TEXT_LIMIT} characters",)
    try:
        value = default if choices else json.loads(default)
    except (ValueError, RecursionError):
        return default, ("default: this is no JSON",)
    problems = tuple(f"default: {problem}" for problem in value_problems(value, schema))
    return json.dumps(value, ensure_ascii=False), problems


def _proposal_problems(tasks: list[ProposedTask]) -> list[str]:
    if not 1 <= len(tasks) <= PROPOSAL_LIMIT:
        return [f"propose 1 to {PROPOSAL_LIMIT} tasks at once"]
    found = []
    for index, task in enumerate(tasks):
        at = f"tasks[{index}]"
        if not task.description.strip():
            found.append(f"{at}.description: a task needs a description")
        if len(task.description.encode("utf-8", "replace")) > DESCRIPTION_LIMIT:
            found.append(f"{at}.description: at most {DESCRIPTION_LIMIT} bytes")
        found += (
            f"{at}.depends_on_positions: {position} is not the position of another task"
            for position in task.depends_on_positions
            if not 0 <= position < len(tasks) or position == index
        )
    return found
