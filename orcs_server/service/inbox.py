"""What waits for people: a page of it, one with all that is shown, answers to questions, decisions about approvals."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from orcs_server.config import Settings
from orcs_server.errors import NotFound
from orcs_server.identity import Caller
from orcs_server.service.approvers import Approvers
from orcs_server.service.auditfacts import shown_facts
from orcs_server.service.authorisation import Visit
from orcs_server.service.commands import Changed, Commands, begin, check_reason, check_said
from orcs_server.service.pages import REPLY_BYTES, PageBinding, fitting, page_size
from orcs_server.service.reading import no_workflow
from orcs_server.service.requests import Content, InputWish, Resolving
from orcs_server.service.schemas import fitting_json
from orcs_server.service.validation import Findings
from orcs_server.storage.people import InputFilter, InputKey, StoredInput
from orcs_server.storage.store import Blob, WorkflowSummary, blob_of
from orcs_server.workflow.fingerprints import plan_shown, plan_specs, shown_digest, task_shown
from orcs_server.workflow.messages import AnswerInput, ResolveApproval
from orcs_server.workflow.model import TITLE_LIMIT, Digest, TaskSpec
from orcs_server.workflow.people import PROMPT_LIMIT, REASON_LIMIT, Decision, InputKind, PendingInput

ANSWER_BYTES = 256 * 1024
"""Of an answer, or of what an approval is edited to."""
INPUT_ID_LIMIT = 32
WEIGHT = PROMPT_LIMIT + REASON_LIMIT + 4 * 1024
"""Bytes of a pending input in a list, not less than it takes."""
SUBJECT_TASK_WEIGHT = 64 + 4 * TITLE_LIMIT + 64
"""Bytes of a task that is to be approved, without its texts, not less than it takes."""
_FROM_STATE = frozenset({InputKind.PLAN_APPROVAL, InputKind.TASK_APPROVAL})
"""What is shown of these is made from the plan; of the others it is a blob."""
_DIGEST_LENGTH = 64


class SubjectTask(Struct, frozen=True):
    """A task that is to be approved, with the texts that the subject names by their hashes."""

    id: str
    title: str
    description: str
    output_schema: str


class InputTexts(Struct, frozen=True):
    """The texts of a pending input; None where there is none, or where it would not fit into a reply."""

    subject: bytes | None = None
    subject_tasks: tuple[SubjectTask, ...] = ()
    """As many as fit."""
    subject_incomplete: bool = False
    """Not all that is to be approved is here."""
    answer_schema: str | None = None
    default: bytes | None = None
    answer: bytes | None = None


class InputView(Struct, frozen=True):
    """A pending input with its texts."""

    stored: StoredInput
    texts: InputTexts


class InputPage(Struct, frozen=True):
    """A page of pending inputs."""

    inputs: tuple[StoredInput, ...]
    next_page_token: str


class Inbox:
    """Reads and resolves what waits for people. Everything raises NotFound for what the caller's namespace does not hold."""

    def __init__(self, commands: Commands, settings: Settings, approvers: Approvers) -> None:
        self._commands = commands
        self._approvers = approvers
        self._max_page_size = settings.limits.max_page_size
        self._max_description_bytes = settings.limits.max_description_bytes

    async def inputs(self, caller: Caller, which: InputWish, size: int = 0, token: str = "") -> InputPage:
        """Return a page, the oldest first. Those of workflows that the caller may not see are left out."""
        check_input_wish(which)
        size = page_size(size, self._max_page_size)
        visit = await self._commands.authorisation.enter(caller, "inputs.list", which.workflow_id or "*")
        binding = PageBinding("ListPendingInputs", visit.namespace, which)
        after = binding.key(token, InputKey)
        where = input_filter(which)
        rows = await self._commands.store.list_inputs(visit.namespace, where, size + 1, after)
        if not rows and after is None and which.workflow_id:
            await self._commands.summary(visit.namespace, which.workflow_id)
        shown = fitting(rows[:size], lambda _: WEIGHT)
        last = rows[shown - 1] if len(rows) > shown else None
        next_token = "" if last is None else binding.token(input_key(last))
        ids = list(dict.fromkeys(row.workflow_id for row in rows[:shown]))
        visible = await self._commands.authorisation.permitted(visit, "inputs.get", ids)
        return InputPage(tuple(row for row in rows[:shown] if row.workflow_id in visible), next_token)

    async def input(self, caller: Caller, workflow_id: str, input_id: str) -> InputView:
        """Return one with its texts and exactly what is shown for approval."""
        _begin(workflow_id, input_id).raise_any()
        visit = await self._commands.authorisation.enter(caller, "inputs.get", workflow_id)
        asked, summary = await self._find(visit, workflow_id, input_id)
        return InputView(
            StoredInput(workflow_id, summary.spec.title, asked), await self._texts(visit, workflow_id, asked)
        )

    async def answer(
        self,
        caller: Caller,
        workflow_id: str,
        input_id: str,
        answer: Content,
        *,
        share: bool = False,
        request_id: str = "",
        found: Findings | None = None,
    ) -> Changed:
        """Answer a question.

        Raises InvalidArgument where the answer does not fit the question's schema, IllegalTransition
        (INPUT_ALREADY_RESOLVED) where it has another one.
        """
        findings = _begin(workflow_id, input_id, request_id, found)
        if answer.data is not None:
            findings.add("answer", "An answer is a text or JSON: set the part's text or json.")
        findings.text("answer", answer.text, ANSWER_BYTES)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "inputs.answer", workflow_id)
        asked, _ = await self._find(visit, workflow_id, input_id, "AnswerInput", request_id)
        blob = await self._read(visit, asked, answer, "answer")
        request = AnswerInput(input_id, blob.digest, visit.caller.principal, share)
        shown = shown_facts(asked)
        return await self._commands.change(visit, workflow_id, request, "AnswerInput", request_id, (blob,), shown)

    async def resolve(
        self,
        caller: Caller,
        workflow_id: str,
        wish: Resolving,
        request_id: str = "",
        found: Findings | None = None,
    ) -> Changed:
        """Decide about an approval.

        Raises Conflict (STALE_APPROVAL) where what was decided about is not what is asked, IllegalTransition
        (INPUT_ALREADY_RESOLVED) where it was decided otherwise, PermissionDenied where somebody else has to approve.
        """
        findings = _begin(workflow_id, wish.input_id, request_id, found)
        check_reason(findings, wish.reason)
        _check_edit(wish, findings)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "inputs.approve", workflow_id)
        await self._commands.check_costs(findings, visit.namespace, workflow_id)
        findings.raise_any()
        asked, summary = await self._find(visit, workflow_id, wish.input_id, "ResolveApproval", request_id)
        if wish.decision is Decision.EDIT and (wish.budget is None) == (asked.need.kind is InputKind.BUDGET):
            field = "content" if wish.budget is None else "budget"
            findings.add(
                field, f"{asked.id} waits for {'a budget' if field == 'content' else 'something else'}: set that."
            )
            findings.raise_any()
        if wish.decision is not Decision.REJECT:
            self._approvers.check(visit.caller, summary)
        blobs: tuple[Blob, ...] = ()
        if wish.content is not None:
            blobs = (await self._edited(visit, asked, wish.content),)
        request = ResolveApproval(
            wish.input_id,
            wish.decision,
            Digest(wish.subject_sha256) if wish.subject_sha256 else None,
            wish.reason,
            visit.caller.principal,
            blobs[0].digest if blobs else None,
            wish.budget,
        )
        shown = shown_facts(asked)
        return await self._commands.change(visit, workflow_id, request, "ResolveApproval", request_id, blobs, shown)

    # Inside

    async def _find(
        self, visit: Visit, workflow_id: str, input_id: str, method: str = "", request_id: str = ""
    ) -> tuple[PendingInput, WorkflowSummary]:
        """Return the input and its workflow's row. A request id that belongs to another command is told first."""
        summary = await self._commands.store.get_summary(visit.namespace, workflow_id)
        asked = await self._commands.store.get_input(visit.namespace, workflow_id, input_id)
        if summary is None or asked is None:
            await self._commands.refuse_reused(visit, workflow_id, method, request_id)
        if summary is None:
            raise no_workflow(workflow_id)
        if asked is None:
            raise NotFound("INPUT_NOT_FOUND", f"The workflow {workflow_id!r} has no pending input {input_id!r}.")
        return asked, summary

    async def _read(self, visit: Visit, asked: PendingInput, content: Content, field: str) -> Blob:
        """Return what is to be stored of what a person wrote."""
        if asked.need.answer_schema is not None:
            schema = await self._commands.store.blob(visit.namespace, asked.need.answer_schema)
            return blob_of(fitting_json(content, schema, field, ANSWER_BYTES))
        if content.is_json:
            findings = Findings()
            findings.json_value(field, content.text, ANSWER_BYTES)
            findings.raise_any()
        return blob_of(content.text)

    async def _edited(self, visit: Visit, asked: PendingInput, content: Content) -> Blob:
        field = "content"
        findings = Findings()
        match asked.need.kind:
            case InputKind.TASK_APPROVAL:
                limit = self._max_description_bytes
                check_said(findings, field, content.text, limit, "say what the agent is to do")
            case InputKind.TOOL_APPROVAL:
                findings.json_object(field, content.text or " ", ANSWER_BYTES)
            case _:
                findings.text(field, content.text, ANSWER_BYTES)
        findings.raise_any()
        return await self._read(visit, asked, content, field)

    async def _texts(self, visit: Visit, workflow_id: str, asked: PendingInput) -> InputTexts:
        room = REPLY_BYTES - WEIGHT
        found: list[bytes | None] = []
        need = asked.need
        subject: bytes | None = None
        specs: Sequence[TaskSpec] = ()
        if asked.open and need.shown is not None:
            subject, specs = await self._subject(visit, workflow_id, asked)
            subject = subject if subject is not None and len(subject) <= room else None
            room -= len(subject or b"")
        for digest in (need.answer_schema, need.default, asked.answer):
            data = None if digest is None else await self._commands.store.blob(visit.namespace, digest)
            data = data if data is not None and len(data) <= room else None
            room -= len(data or b"")
            found.append(data)
        schema, default, answer = found
        tasks = await self._tasks(visit, specs, room) if subject is not None else ()
        lacking = subject is None or len(tasks) < len(specs)
        incomplete = asked.open and need.shown is not None and lacking
        return InputTexts(subject, tasks, incomplete, None if schema is None else schema.decode(), default, answer)

    async def _subject(
        self, visit: Visit, workflow_id: str, asked: PendingInput
    ) -> tuple[bytes | None, Sequence[TaskSpec]]:
        """Return what is shown, and the tasks that it is about."""
        need = asked.need
        if need.kind not in _FROM_STATE:
            return None if need.shown is None else await self._commands.store.blob(visit.namespace, need.shown), ()
        state = await self._commands.state(visit.namespace, workflow_id)
        if need.kind is InputKind.PLAN_APPROVAL:
            specs = plan_specs(state)
            shown = plan_shown(state)
        else:
            task = state.tasks.get(asked.task_id)
            specs = [] if task is None else [task.spec]
            shown = b"" if task is None else task_shown(state, task.spec)
        # Between the two reads the plan may have changed: never show what is not asked about.
        return (shown, specs) if shown_digest(shown) == need.shown else (None, ())

    async def _tasks(self, visit: Visit, specs: Sequence[TaskSpec], room: int) -> tuple[SubjectTask, ...]:
        """Return the tasks with their texts, as many as fit."""
        tasks: list[SubjectTask] = []
        for spec in specs:
            room -= SUBJECT_TASK_WEIGHT
            if room < 0:
                break
            description = await self._commands.store.blob(visit.namespace, spec.description)
            schema = spec.output_schema and await self._commands.store.blob(visit.namespace, spec.output_schema)
            room -= len(description) + len(schema or b"")
            if room < 0:
                break
            tasks.append(SubjectTask(spec.id, spec.title, description.decode(), (schema or b"").decode()))
        return tuple(tasks)


def permission_for(kind: InputKind) -> str:
    """Return the operation by which an input of this kind is resolved."""
    return "inputs.answer" if kind is InputKind.QUESTION else "inputs.approve"


def input_filter(which: InputWish) -> InputFilter:
    """Return a wish as the store takes it."""
    return InputFilter(not which.include_resolved, which.kinds, which.workflow_id, which.task_id)


def input_key(stored: StoredInput) -> InputKey:
    """Return the place of an input in lists."""
    return InputKey(stored.input.created_us, stored.workflow_id, stored.input.ordinal)


def check_input_wish(which: InputWish) -> None:
    """Raise InvalidArgument for a filter that nothing could ever fit."""
    findings = Findings()
    if which.workflow_id:
        findings.workflow_id("workflow_id", which.workflow_id)
    if which.task_id:
        findings.task_id("task_id", which.task_id)
        if not which.workflow_id:
            findings.add("task_id", "It goes with workflow_id only: name the task's workflow, too.")
    findings.raise_any()


def _begin(workflow_id: str, input_id: str, request_id: str = "", found: Findings | None = None) -> Findings:
    findings = begin(workflow_id, request_id, found)
    findings.line("input_id", input_id, INPUT_ID_LIMIT)
    if not input_id:
        findings.add("input_id", "It is empty: name a pending input, such as i1.")
    return findings


def _check_edit(wish: Resolving, findings: Findings) -> None:
    if wish.decision is Decision.EDIT and wish.content is None and wish.budget is None:
        findings.add("content", "Say what it is changed to: set content, or the new budget.")
    if wish.decision is not Decision.EDIT and not (wish.content is None and wish.budget is None):
        field = "budget" if wish.content is None else "content"
        findings.add(field, "It goes with DECISION_EDIT only: decide so, or leave it out.")
    if wish.content is not None and wish.content.data is not None:
        findings.add("content", "It is a text or JSON: set the part's text or json.")
    if wish.budget is not None:
        findings.budget("budget", wish.budget)
    if wish.subject_sha256 and len(wish.subject_sha256) != _DIGEST_LENGTH:
        findings.add("subject_sha256", "It is no SHA-256: repeat that of the pending input.")
