"""How the core's answers are shown in scenario files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import fields

from orcs_server.workflow import effects as f
from orcs_server.workflow import events as e
from orcs_server.workflow.model import Budget, Failure, Output, Usage
from orcs_server.workflow.people import IfUnanswered, PendingInput, PersonMessage
from tests.workflow.scenario_words import TEXT, digest_shown, time_shown

UNSAID = frozenset({"spec", "namespace"})


def shown(event: e.Event) -> Iterator[str]:
    """The event in a line, and one more for each problem of a rejected plan."""
    words = [type(event).__name__]
    below: list[str] = []
    names = sorted((field.name for field in fields(event)), key=lambda name: name != "task_id")
    for name in names:
        value = getattr(event, name)
        if name in UNSAID or value is None or value is False or value in ("", ()):
            continue
        if name == "problems":
            below.extend(f"  {problem}" for problem in value)
        elif not (isinstance(value, Output) and value.digest == TEXT):
            words.append(_field_shown(name, value))
    yield " ".join(words)
    yield from below


def _field_shown(name: str, value: Any) -> str:  # noqa: C901, PLR0911, PLR0912
    match value:
        case Failure():
            patience = "" if value.retry_after_us is None else f", asks for {time_shown(value.retry_after_us)}"
            cost = ", at no cost" if value.spares_budget else ""
            return f"({value.kind}{', retryable' if value.retryable else ''}{patience}{cost}: {value.message})"
        case Usage():
            return f"(tokens: {value.input_tokens} in, {value.output_tokens} out)"
        case Output():
            return f"output {digest_shown(value.digest)}"
        case Budget():
            return _budget_shown(value)
        case PendingInput():
            return " ".join(_input_shown(value))
        case PersonMessage():
            by = f" by {value.principal}" if value.principal else ""
            return f"{value.id} {value.mode} to {value.task_id or 'all'}: {digest_shown(value.text)}{by}"
        case tuple():
            return f"{name}: {', '.join(_item_shown(item) for item in value)}"
        case _:
            pass
    match name:
        case "task_id" | "workflow_id" | "input_id" | "resolution" | "mode":
            return str(value)
        case "attempt":
            return f"#{value}"
        case "revision":
            return f"r{value}"
        case "deadline_us" | "retry_at_us":
            return f"{name.removesuffix('_us').replace('_', ' ')} {time_shown(value)}"
        case "answer" | "instructions":
            return f"{name} {digest_shown(value)}"
        case "reason":
            return f'"{value}"'
        case "principal":
            return f"by {value}"
        case _ if value is True:
            return name
        case _:
            return f"{name} {value}"


def _item_shown(item: Any) -> str:
    match item:
        case str():
            return item
        case (name, value):
            return f"{name}={value}"
        case _:
            return str(item.id)


def _budget_shown(budget: Budget) -> str:
    limits = []
    if budget.tokens is not None:
        limits.append(f"{budget.tokens} tokens")
    if budget.cost_micros is not None:
        limits.append(f"{budget.cost_micros} millionths")
    if budget.wall_time_us is not None:
        limits.append(time_shown(budget.wall_time_us))
    return f"(budget: {', '.join(limits) or 'no limits'})"


def _input_shown(asked: PendingInput) -> Iterator[str]:
    need = asked.need
    yield from (asked.id, need.kind)
    if asked.task_id:
        yield asked.task_id
    if need.place:
        yield f"at {need.place}"
    yield f'"{need.prompt}"'
    if need.shown is not None:
        yield f"shows {digest_shown(need.shown)}"
    if need.answer_schema is not None:
        yield f"schema {digest_shown(need.answer_schema)}"
    if need.default is not None:
        yield f"default {digest_shown(need.default)}"
    if asked.deadline_us is not None:
        yield f"deadline {time_shown(asked.deadline_us)}"
    if need.if_unanswered is IfUnanswered.FAIL:
        yield "fails"


def shown_effect(effect: f.Effect) -> str:
    match effect:
        case f.MakePlan():
            return f"MakePlan #{effect.attempt}{_told(effect)}"
        case f.RunAttempt():
            run = f" run {effect.run}" if effect.run > 1 else ""
            return f"RunAttempt {effect.task_id} #{effect.attempt}{run}{_told(effect)}"
        case f.WakeAt():
            return f"WakeAt {time_shown(effect.time_us)}"
        case f.AllocateResources() | f.ReleaseResources():
            return type(effect).__name__


def _told(effect: f.MakePlan | f.RunAttempt) -> str:
    stop = "" if effect.stop is f.Stop.NONE else f" stop {effect.stop}"
    return f"{stop} mail {effect.mail}" if effect.mail else stop
