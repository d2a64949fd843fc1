"""The words of scenario files: times, texts, settings, tasks."""

from __future__ import annotations

import hashlib
from enum import EnumType
from typing import Any, get_type_hints

import msgspec
from msgspec.structs import replace

from orcs_server.workflow.model import (
    NO_BUDGET,
    Budget,
    Digest,
    Failure,
    FailureKind,
    Output,
    RetryPolicy,
    TaskSpec,
    WorkflowSpec,
)

TEXT = Digest("ab" * 32)
UNITS = {"ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000}
BUDGET_WORDS = ("tokens", "cost", "wall")
TASK_WORDS = ("by", "after", "priority", "timeout", "attempts", "optional", "text", "approval", "depth", *BUDGET_WORDS)
SPOKEN: dict[str, str] = {TEXT: "the usual"}
"""The word for each digest that a file can name."""


def digest_of(word: str) -> Digest:
    """Return the digest of the text that a word stands for."""
    digest = Digest(hashlib.sha256(word.encode()).hexdigest())
    SPOKEN[digest] = word
    return digest


def output_of(words: list[str]) -> Output:
    return Output(digest_of(words[0]) if words else TEXT, "text/plain", 1)


def digest_shown(digest: str) -> str:
    """Return the word for a digest, or the beginning of one that was computed."""
    return SPOKEN.get(digest, f"~{digest[:6]}")


def time_of(word: str) -> int:
    """Return microseconds: `1500ms`, `2s`, `10min`, `1h`."""
    number = word.rstrip("minsh")
    return int(float(number) * UNITS[word[len(number) :]])


def time_shown(us: int) -> str:
    """Return the time in the largest unit that leaves a whole number."""
    for unit in ("h", "min", "s"):
        if us and us % UNITS[unit] == 0:
            return f"{us // UNITS[unit]}{unit}"
    return f"{us / UNITS['ms']:g}ms" if us else "0s"


def phrases(words: list[str], keywords: tuple[str, ...]) -> dict[str, list[str]]:
    """Return what is said after each keyword."""
    said: dict[str, list[str]] = {}
    for word in words:
        if word in keywords:
            said[word] = []
        elif said:
            said[list(said)[-1]].append(word)
        else:
            raise ValueError(f"{word!r} is none of {', '.join(keywords)}")
    return said


def spec_with(spec: WorkflowSpec, name: str, word: str) -> WorkflowSpec:
    """Return the settings with one field changed; `retry.…` and `budget.…` name parts of theirs, times end in `_us`."""
    if name.startswith("retry."):
        return replace(spec, retry=_with(spec.retry, RetryPolicy, name.removeprefix("retry."), word))
    if name.startswith("budget."):
        return replace(spec, budget=_with(spec.budget, Budget, name.removeprefix("budget."), word))
    if name == "query":
        return replace(spec, query=digest_of(word))
    changed: WorkflowSpec = _with(spec, WorkflowSpec, name, word)
    return changed


def _with(struct: Any, kind: type[Any], name: str, word: str) -> Any:
    wanted = get_type_hints(kind)[name]
    value: Any
    if name.endswith("_us"):
        value = time_of(word)
    elif isinstance(wanted, EnumType):
        value = wanted(word)
    else:
        value = msgspec.convert({"yes": True, "no": False}.get(word, word), wanted, strict=False)
    return replace(struct, **{name: value})


def budget_of(said: dict[str, list[str]]) -> Budget:
    """`tokens 100 cost 5 wall 10min`, each of them or none."""
    return Budget(
        int(said["tokens"][0]) if "tokens" in said else None,
        int(said["cost"][0]) if "cost" in said else None,
        time_of(said["wall"][0]) if "wall" in said else None,
    )


def task_of(words: list[str]) -> TaskSpec:
    """Return the task of a line such as `task join by writing after left right priority 5 timeout 10s attempts 2 optional`."""
    _, name, *rest = words
    said = phrases(rest, TASK_WORDS)
    return TaskSpec(
        name,
        name.capitalize(),
        digest_of(said["text"][0]) if "text" in said else TEXT,
        said.get("by", ["research"])[0],
        tuple(said.get("after", ())),
        priority=int(said.get("priority", ["0"])[0]),
        timeout_us=time_of(said["timeout"][0]) if "timeout" in said else None,
        max_attempts=int(said["attempts"][0]) if "attempts" in said else None,
        optional="optional" in said,
        needs_approval="approval" in said,
        budget=budget_of(said) if said.keys() & set(BUDGET_WORDS) else NO_BUDGET,
        depth=int(said.get("depth", ["0"])[0]),
    )


def failure_of(words: list[str]) -> Failure:
    """`KIND "message"`, then perhaps `retryable` or `retryable-after 10s`, then perhaps `at-no-cost`."""
    kind, message, *rest = words
    after = time_of(rest[1]) if rest[:1] == ["retryable-after"] else None
    return Failure(FailureKind(kind), message, bool(rest), after, "at-no-cost" in rest)
