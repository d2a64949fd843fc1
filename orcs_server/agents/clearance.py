"""Whether a tool may be called: what needs approval, and what was cut off and may not run twice, waits for a person's leave."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from agents import FunctionTool
from agents.tool_context import ToolContext

from orcs_server.agents.failures import quoted
from orcs_server.agents.journal import RunJournal
from orcs_server.agents.needs import InputRequired
from orcs_server.agents.paths import below, current_path
from orcs_server.agents.run_calls import current_calls
from orcs_server.storage.store import blob_of
from orcs_server.workflow.people import InputKind, Need, PendingInput, Resolution


class Clearance(NamedTuple):
    """A call may be made with these arguments; or it is not made, and this is its result."""

    arguments: str
    instead: str | None = None


class ApprovalInRuns:
    """A tool's own `needs_approval`, which a journaled run sees to by asking people; elsewhere it is what it was."""

    def __init__(self, setting: bool | Callable[..., Any]) -> None:
        self._setting = setting

    async def __call__(self, context: Any, arguments: dict[str, Any], call_id: str) -> bool:
        calls = current_calls.get()
        if calls is not None and calls.journal is not None:
            return False
        return await self.wanted(context, arguments, call_id)

    async def wanted(self, context: Any, arguments: dict[str, Any], call_id: str) -> bool:
        """Whether this call needs approval."""
        if not callable(self._setting):
            return self._setting
        answer = self._setting(context, arguments, call_id)
        return bool(await answer if inspect.isawaitable(answer) else answer)


async def clear(
    journal: RunJournal,
    tool: FunctionTool,
    context: ToolContext[Any],
    arguments: str,
    *,
    repeatable: bool,
    sensitive: bool = False,
    always: bool = False,
) -> Clearance:
    """Return whether a tool may be called now, and how. Raises InputRequired where a person has to say so first.

    With `always` a person has to, as with the tool's own `needs_approval`. A sensitive one may not, without approval, once anything from outside has been read: it may be that which wants the call. What
    was asked once stays asked: the next attempt may come to the call before it has gone through what was read beside it.
    """
    call_id = context.tool_call_id
    path = below(current_path(), call_id)
    approval = tool.needs_approval
    asked = journal.needs.was_asked(path, InputKind.TOOL_APPROVAL)
    wanted = always or (sensitive and (journal.reading.reads.untrusted or asked))
    if not wanted and isinstance(approval, ApprovalInRuns):
        wanted = await approval.wanted(context, _parsed(arguments), call_id)
    if wanted:
        said = _resolution(journal, path, InputKind.TOOL_APPROVAL, tool, arguments)
        if said.resolution is Resolution.EDITED:
            arguments = _changed(arguments, await _text(journal, said))
        elif said.resolution is not Resolution.APPROVED:
            return Clearance(arguments, f"The call was not made: {_refusal(said)}")
    if journal.in_doubt(call_id, repeatable=repeatable):
        said = _resolution(journal, path, InputKind.UNSAFE_RERUN, tool, arguments)
        if said.resolution is Resolution.EDITED:
            return Clearance(arguments, await _text(journal, said))
        if said.resolution is not Resolution.APPROVED:
            cut = "The call was cut off while it ran, so that nobody knows whether it has acted, and it was not made again"
            return Clearance(arguments, f"{cut}: {_refusal(said)}")
    return Clearance(arguments)


_PROMPTS = {
    InputKind.TOOL_APPROVAL: 'May the tool "{}" be called with these arguments?',
    InputKind.UNSAFE_RERUN: 'The tool "{}" was cut off while it ran: nobody knows whether it has acted. Shall it run again?',
}


def _resolution(journal: RunJournal, path: str, kind: InputKind, tool: FunctionTool, arguments: str) -> PendingInput:
    """Return what was decided about exactly this call. Raises InputRequired where nothing was."""
    shown = blob_of(_canonical({"tool": tool.name, "arguments": _value(arguments)}))
    said = journal.needs.resolution(path, kind, shown.digest)
    if said is not None:
        return said
    prompt = _PROMPTS[kind].format(quoted(tool.name))
    if kind is InputKind.UNSAFE_RERUN:
        raise InputRequired(Need(kind, prompt, shown=shown.digest), [shown])
    if journal.reading.reads.untrusted:
        read = ", ".join(quoted(name, journal.needs.ids) for name in journal.reading.reads.outside)
        prompt = f"{prompt} The agent has read what comes from outside ({read}), which may be what wants it."
    # Arguments that a person changes have to fit the tool as much as a model's; those that are not named stay.
    fits = {key: value for key, value in tool.params_json_schema.items() if key != "required"}
    schema = blob_of(_canonical(fits))
    need = Need(
        kind,
        prompt,
        shown=shown.digest,
        answer_schema=schema.digest,
        expires_after_us=journal.approvals_expire_us,
    )
    raise InputRequired(need, [shown, schema])


def _refusal(said: PendingInput) -> str:
    if said.resolution is Resolution.EXPIRED:
        return "nobody decided about it in time."
    return f"a person refused it. {said.reason}".strip()


async def _text(journal: RunJournal, said: PendingInput) -> str:
    return "" if said.answer is None else await journal.text(said.answer)


def _changed(arguments: str, edit: str) -> str:
    """Return the arguments with what a person gave in place of some of them."""
    return json.dumps({**_parsed(arguments), **_parsed(edit)}, ensure_ascii=False)


def _parsed(arguments: str) -> dict[str, Any]:
    value = _value(arguments)
    return value if isinstance(value, dict) else {}


def _value(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
