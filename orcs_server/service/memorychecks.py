"""Checks of what is asked of memory: memory's own, with every violation under the name of the field that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from orcs_server.errors import InvalidArgument
from orcs_server.memory.access import Rule, check_rules
from orcs_server.memory.changes import BATCH_BYTES, BATCH_LIMIT, TTL_LIMIT_US, Put
from orcs_server.memory.scopes import check_key, check_prefix, check_scope
from orcs_server.memory.values import check_value
from orcs_server.service.memoryrequests import MemoryChangeWish, MemoryLookup, MemoryPast
from orcs_server.service.validation import Findings

VERSION_LIMIT: Final = 2**62
SCOPES_LIMIT: Final = 100
"""Scopes that one search may name."""


def scope(findings: Findings, text: str, field: str = "scope") -> None:
    """A scope."""
    _check(findings, lambda: check_scope(text, field))


def key(findings: Findings, text: str, field: str = "key") -> None:
    """A key."""
    _check(findings, lambda: check_key(text, field))


def prefix(findings: Findings, text: str, field: str = "prefix") -> None:
    """What keys may begin with."""
    _check(findings, lambda: check_prefix(text, field))


def number(findings: Findings, field: str, value: int | None, least: int = 1) -> None:
    """A version, or the number of a snapshot."""
    if value is not None and value < least:
        findings.add(field, f"It is {value}; it must be {least} or more.")
    elif value is not None and value >= VERSION_LIMIT:
        findings.add(field, f"It is {value}; it must be less than {VERSION_LIMIT}.")


def past(findings: Findings, at: MemoryPast, now_us: int) -> None:
    """Which past."""
    number(findings, "version", at.version)
    if at.time_us is not None and not 0 <= at.time_us <= now_us:
        findings.add("as_of_time", "The time is yet to come, or before 1970: use one of the past.")


def lookup(findings: Findings, context: MemoryLookup) -> None:
    """For whom a key is looked up."""
    if context.workflow_id:
        findings.workflow_id("context.workflow_id", context.workflow_id)
    if context.task_id:
        findings.task_id("context.task_id", context.task_id)
        if not context.workflow_id:
            findings.add("context.task_id", "It goes with context.workflow_id only: name the task's workflow, too.")
    if context.agent:
        findings.task_id("context.agent", context.agent)


def changes(findings: Findings, wishes: Sequence[MemoryChangeWish]) -> None:
    """What a batch is to change."""
    if not 0 < len(wishes) <= BATCH_LIMIT:
        findings.add("changes", f"A batch has 1 to {BATCH_LIMIT} changes, not {len(wishes)}.")
        return
    places = {(wish.change.scope, wish.change.key) for wish in wishes}
    if len(places) < len(wishes):
        findings.add("changes", "The changes name a key twice: make each change one of another key.")
    size = sum(len(wish.change.value.data) for wish in wishes if isinstance(wish.change, Put))
    if size > BATCH_BYTES:
        findings.add("changes", f"The values of a batch have {size} bytes, more than the {BATCH_BYTES} allowed.")
    for wish in wishes:
        change(findings, wish)


def change(findings: Findings, wish: MemoryChangeWish) -> None:
    """One change."""
    at, asked = wish.at, wish.change
    scope(findings, asked.scope, f"{at}.scope")
    key(findings, asked.key, f"{at}.key")
    number(findings, f"{at}.expected_version", asked.expected, 0)
    if isinstance(asked, Put):
        if not findings.within(f"{at}.value"):
            _check(findings, lambda: check_value(asked.value), {"media_type": "value.media_type"}, f"{at}.")
        if asked.ttl_us is not None and not findings.within(f"{at}.ttl") and not 0 < asked.ttl_us <= TTL_LIMIT_US:
            findings.add(f"{at}.ttl", "A time to live is more than nothing and at most ten years.")


def rules(findings: Findings, asked: Sequence[Rule]) -> None:
    """Access rules."""
    _check(findings, lambda: check_rules(asked))


def scopes(findings: Findings, texts: Iterable[str]) -> None:
    """Scopes to be searched."""
    named = tuple(texts)
    if len(named) > SCOPES_LIMIT:
        findings.add(
            "scopes", f"There are {len(named)} scopes, {SCOPES_LIMIT} are allowed: search all, or some of them."
        )
        return
    for index, text in enumerate(named):
        scope(findings, text, f"scopes[{index}]")


def _check(
    findings: Findings, check: Callable[[], None], names: dict[str, str] | None = None, within: str = ""
) -> None:
    try:
        check()
    except InvalidArgument as error:
        for violation in error.violations:
            name = (names or {}).get(violation.field, violation.field)
            findings.add(f"{within}{name}", violation.description)
