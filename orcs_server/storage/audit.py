"""The audit log: who did what to what, with which result. Each namespace has a chain of records, numbered 1, 2, 3…, in which each
record's hash covers the one before it, so that nothing in the middle can be changed without all that follows.

The chain under `SERVER` belongs to no namespace: it has what came without a valid token, and what happened to the file as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from msgspec import Struct

SERVER: Final = ""
"""The chain of the server itself. No namespace is called so."""
OK: Final = "OK"
BEGUN: Final = "BEGUN"
"""The outcome of what takes many transactions, at its beginning; its end has a record of its own."""
PRUNE: Final = "audit.prune"
"""The operation by which retention removes the oldest records of a chain."""
DETAILS_LIMIT: Final = 2_048
"""Bytes of a record's details."""
TEXT_LIMIT: Final = 600
"""Characters of each other text: whatever a caller sent is cut there."""


_EMPTY: Final[tuple[Any, ...]] = ("", (), [], {})
_encode = msgspec.json.Encoder().encode


class AuditDraft(Struct, frozen=True):
    """What is to be recorded, before it has its place in a chain."""

    time_us: int
    operation: str
    """As published for the hooks, or "" where a call did not get so far as to be one."""
    method: str
    """The RPC, or `program`, `agent`, `retention`, `file`."""
    principal: str = ""
    roles: tuple[str, ...] = ()
    """Of the caller's token; none where an agent acts."""
    resource: str = ""
    outcome: str = OK
    """OK, BEGUN, or the reason of the refusal."""
    request_id: str = ""
    peer: str = ""
    agent: str = ""
    """The agent that acted for the principal, if one did."""
    workflow_id: str = ""
    """For which workflow the agent acted, and for which of its tasks."""
    task_id: str = ""
    details: str = ""
    """A JSON object, or ""."""


class AuditRecord(Struct, frozen=True):
    """A record in its place."""

    namespace: str
    number: int
    draft: AuditDraft
    previous_hash: str
    """"" for the first record of a chain."""
    hash: str


class AuditChain(NamedTuple):
    """Where a chain ends, and where it begins."""

    number: int = 0
    """Of the last record; 0: there never was one."""
    hash: str = ""
    removed: int = 0
    """The number of the last record that retention has removed from the beginning; 0: none."""
    removed_hash: str = ""


class AuditFilter(Struct, frozen=True):
    """Which records; what is left out does not restrict."""

    principal: str = ""
    operation: str = ""
    """An operation, or all of a kind: `memory.`."""
    resource: str = ""
    """A resource, and those below it: a workflow with its tasks."""
    outcome: str = ""
    refused_only: bool = False
    from_us: int | None = None
    """Inclusive."""
    before_us: int | None = None
    """Exclusive."""


class AuditPage(NamedTuple):
    """Records that fit, and the number from which to look on, in the same direction; None: there are no more."""

    records: list[AuditRecord]
    following: int | None


class Misfit(NamedTuple):
    """The first record of a chain that does not fit, and why. The number may be of a record that is missing."""

    number: int
    reason: str


class AuditStore(Protocol):
    """Durable chains. Records are added in the transaction of what they tell of; `append` is for what changes nothing else."""

    async def append(self, namespace: str, drafts: Sequence[AuditDraft]) -> None:
        """Add records to a chain."""
        ...

    async def chain(self, namespace: str) -> AuditChain:
        """Return where a chain ends and begins."""
        ...

    async def records(self, namespace: str, after: int, limit: int) -> list[AuditRecord]:
        """Return up to `limit` records after a number, in the order of the chain."""
        ...

    async def find(
        self, namespace: str, where: AuditFilter, start: int | None, limit: int, *, oldest_first: bool
    ) -> AuditPage:
        """Return up to `limit` records that fit, from a number on, or from the end. Looks at a bounded number of records."""
        ...

    async def old_chains(self, before_us: int) -> list[str]:
        """Return the chains whose oldest record is older than that time."""
        ...

    async def prune(self, namespace: str, before_us: int, limit: int, draft: AuditDraft) -> int:
        """Remove up to `limit` of the oldest records that are older than that time, and record so; return how many went.

        The draft's details are filled in. What only tells of earlier removals stays until there is more to be removed.
        """
        ...


def details_of(facts: Mapping[str, Any]) -> str:
    """Return details as JSON: without what is empty, and without all that is beyond the limit."""
    said = {name: fact for name, fact in facts.items() if fact is not None and fact not in _EMPTY}
    if not said:
        return ""
    encoded = _encode(said)
    while len(encoded) > DETAILS_LIMIT:
        largest = max(said, key=lambda name: len(_encode(said[name])))
        said = {**{name: fact for name, fact in said.items() if name != largest}, "left_out": True}
        encoded = _encode(said)
    return encoded.decode()


def sealed(namespace: str, number: int, draft: AuditDraft, previous_hash: str) -> AuditRecord:
    """Return the draft in its place, with its hash."""
    return AuditRecord(
        namespace, number, draft, previous_hash, hash_of(previous_hash, fields_of(namespace, number, draft))
    )


def fields_of(namespace: str, number: int, draft: AuditDraft) -> tuple[str, ...]:
    """Return what the hash covers beside the hash before it, as texts, in this order."""
    return (
        namespace,
        str(number),
        str(draft.time_us),
        draft.principal,
        ",".join(draft.roles),
        draft.operation,
        draft.method,
        draft.resource,
        draft.outcome,
        draft.request_id,
        draft.peer,
        draft.agent,
        draft.workflow_id,
        draft.task_id,
        draft.details,
    )


def hash_of(previous_hash: str, fields: Iterable[str]) -> str:
    """Return the SHA-256 of the texts, each as `LENGTH:TEXT,` with the length of its UTF-8 bytes. docs/audit.md promises this."""
    said = "".join([f"{_size(text)}:{text}," for text in (previous_hash, *fields)])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class ChainWalk:
    """Goes along a chain from its beginning and says where it does not fit."""

    def __init__(self, namespace: str, chain: AuditChain) -> None:
        self._namespace = namespace
        self._chain = chain
        self.number = chain.removed
        self.hash = chain.removed_hash
        self._pruned = (0, "")

    def take(self, records: Iterable[AuditRecord]) -> Misfit | None:
        """Take the next records; return the first that does not fit."""
        for record in records:
            misfit = self._next(record)
            if misfit is not None:
                return misfit
            self.number, self.hash = record.number, record.hash
            if record.draft.operation == PRUNE:
                self._pruned = _pruned(record.draft.details)
        return None

    def end(self) -> Misfit | None:
        """Return what does not fit where no record is left."""
        chain = self._chain
        if self.number < chain.number:
            return Misfit(self.number + 1, f"The chain ends with record {self.number}, and had {chain.number}.")
        if (self.number, self.hash) != (chain.number, chain.hash):
            return Misfit(self.number, f"The last record is noted as {chain.number}, with another hash or number.")
        if self._pruned != (chain.removed, chain.removed_hash):
            return Misfit(
                chain.removed + 1,
                f"The chain is said to begin after record {chain.removed}, and its records say after {self._pruned[0]}.",
            )
        return None

    def _next(self, record: AuditRecord) -> Misfit | None:
        expected = self.number + 1
        if record.number != expected:
            return Misfit(expected, f"It is missing; the next one is {record.number}.")
        if record.previous_hash != self.hash:
            return Misfit(expected, "It does not follow the record before it: one of the two was replaced.")
        if hash_of(record.previous_hash, fields_of(self._namespace, record.number, record.draft)) != record.hash:
            return Misfit(expected, "It was changed: its hash is another one.")
        return None


def pruned_details(number: int, digest: str) -> str:
    """Return what the record of a removal says: the last record that went."""
    return details_of({"through": number, "hash": digest})


def _pruned(details: str) -> tuple[int, str]:
    try:
        said = json.loads(details)
        return int(said["through"]), str(said["hash"])
    except (ValueError, KeyError, TypeError):
        return (0, "")
