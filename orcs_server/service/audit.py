"""Reading the audit log: pages of it, all of it in order, and whether it is still what was written. Everything is about the caller's
own namespace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from msgspec import Struct

from orcs_server.errors import InvalidArgument, OutOfRange, Violation
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.openwatches import OpenWatches
from orcs_server.service.pages import PageBinding, fitting, page_size
from orcs_server.service.validation import LARGEST, Findings
from orcs_server.storage.audit import TEXT_LIMIT, AuditChain, AuditFilter, AuditRecord, ChainWalk, Misfit
from orcs_server.storage.store import Store

SLICE: Final = 200
"""Records that are read, or verified, at once."""
TRIES: Final = 5
"""So often verifying begins anew where retention has meanwhile removed what it was to look at."""
HASH_LENGTH: Final = 64


class AuditRecords(Struct, frozen=True):
    """A page of records."""

    records: list[AuditRecord]
    next_page_token: str


class AuditHead(Struct, frozen=True):
    """The head of a chain as somebody noted it elsewhere."""

    number: int
    hash: str


class Verdict(Struct, frozen=True):
    """Whether a chain is what was written."""

    chain: AuditChain
    misfit: Misfit | None
    """None: it is."""


class Audit:
    """Shows administrators the audit log of their namespace."""

    def __init__(
        self, *, store: Store, authorisation: Authorisation, open_watches: OpenWatches, max_page_size: int
    ) -> None:
        self._store = store.audit
        self.open_watches = open_watches
        self._authorisation = authorisation
        self._max_page_size = max_page_size

    async def page(
        self,
        caller: Caller,
        where: AuditFilter,
        *,
        oldest_first: bool = False,
        size: int = 0,
        token: str = "",
        found: Findings | None = None,
    ) -> AuditRecords:
        """Return a page of the records that fit. There may be fewer than asked for, or none, although another page follows."""
        findings = found or Findings()
        for name in ("principal", "operation", "resource", "outcome"):
            findings.line(name, getattr(where, name), TEXT_LIMIT)
        if where.outcome and where.refused_only:
            findings.add("refused_only", "It goes without outcome only: leave one of the two out.")
        if where.from_us is not None and where.before_us is not None and where.before_us <= where.from_us:
            findings.add("before_time", "It must lie after from_time.")
        findings.raise_any()
        size = page_size(size, self._max_page_size)
        visit = await self._authorisation.enter(caller, "audit.list")
        binding = PageBinding("ListAuditRecords", visit.namespace, (where, oldest_first))
        start = binding.key(token, int)
        page = await self._store.find(visit.namespace, where, start, size, oldest_first=oldest_first)
        records, following = page
        shown = fitting(records, weight)
        if shown < len(records):
            following = records[shown].number
        return AuditRecords(records[:shown], "" if following is None else binding.token(following))

    async def open_export(self, identify: Callable[[], Caller], after: int = 0) -> Export:
        """Return the records after a number, up to where the chain ends now.

        Raises OutOfRange (HISTORY_EXPIRED) where retention has removed what follows that number.
        """
        findings = Findings()
        findings.between("after_number", after, 0, LARGEST)
        findings.raise_any()
        visit = await self._authorisation.enter(identify(), "audit.export")
        chain = await self._store.chain(visit.namespace)
        if after > chain.number:
            raise _bad("after_number", f"The chain ends with record {chain.number}.")
        if 0 < after < chain.removed:
            raise OutOfRange(
                "HISTORY_EXPIRED", f"Records up to {chain.removed} are no longer kept: export without after_number."
            )
        return Export(self, visit, chain, max(after, chain.removed))

    async def verify(self, caller: Caller, expected: AuditHead | None = None, found: Findings | None = None) -> Verdict:
        """Go along the whole chain, and compare it with a head that was noted before.

        Raises OutOfRange (HISTORY_EXPIRED) where retention has removed the record that was noted.
        """
        findings = found or Findings()
        if expected is not None:
            findings.between("expected_head.number", expected.number, 1, LARGEST)
            if len(expected.hash) != HASH_LENGTH or not set(expected.hash) <= set("0123456789abcdef"):
                findings.add("expected_head.hash", "It is no SHA-256: use the hash of a record, 64 hex digits.")
        findings.raise_any()
        visit = await self._authorisation.enter(caller, "audit.verify")
        tries = 0
        while True:
            chain = await self._store.chain(visit.namespace)
            misfit = await self._misfit(visit.namespace, chain, expected)
            tries += 1
            if tries == TRIES or (await self._store.chain(visit.namespace)).removed == chain.removed:
                return Verdict(chain, misfit)

    async def records(self, namespace: str, after: int) -> list[AuditRecord]:
        """Return some records after a number."""
        return await self._store.records(namespace, after, SLICE)

    async def still_may(self, identify: Callable[[], Caller]) -> None:
        """Raise unless the caller may still export."""
        await self._authorisation.enter(identify(), "audit.export")

    async def _misfit(self, namespace: str, chain: AuditChain, expected: AuditHead | None) -> Misfit | None:
        if expected is not None and expected.number < chain.removed:
            raise OutOfRange(
                "HISTORY_EXPIRED",
                f"Record {expected.number} was removed by retention, as all up to {chain.removed}: note a newer one.",
            )
        walk = ChainWalk(namespace, chain)
        misfit = _differs(expected, walk)
        while misfit is None and walk.number < chain.number:
            records = [one for one in await self.records(namespace, walk.number) if one.number <= chain.number]
            if not records:
                break
            for record in records:
                misfit = walk.take((record,)) or _differs(expected, walk)
                if misfit is not None:
                    break
            await asyncio.sleep(0)
        misfit = misfit or walk.end()
        if misfit is None and expected is not None and expected.number > chain.number:
            reason = (
                f"The chain ends with record {chain.number}: what followed was removed, or an older copy was put back."
            )
            return Misfit(chain.number + 1, reason)
        return misfit


class Export:
    """The records of a namespace, in the order of the chain, from a number on to where it ended when this began."""

    def __init__(self, audit: Audit, visit: Visit, chain: AuditChain, after: int) -> None:
        self._audit = audit
        self._visit = visit
        self.chain = chain
        self._after = after

    async def pieces(self, identify: Callable[[], Caller]) -> AsyncGenerator[list[AuditRecord], None]:
        """Give them some at a time, for as long as the caller may see them. An empty piece is the last.

        Raises OutOfRange (HISTORY_EXPIRED) where retention overtakes it, ResourceExhausted where the caller has too many watches
        and exports open.
        """
        with self._audit.open_watches.enter(self._visit.caller, lambda: None):
            while self._after < self.chain.number:
                records = await self._audit.records(self._visit.namespace, self._after)
                records = [record for record in records if record.number <= self.chain.number]
                if not records or records[0].number != self._after + 1:
                    raise OutOfRange(
                        "HISTORY_EXPIRED",
                        f"Record {self._after + 1} is not there: removed by retention, or see VerifyAudit.",
                    )
                self._after = records[-1].number
                yield records
                await self._audit.still_may(identify)
            yield []


def weight(record: AuditRecord) -> int:
    """Return the bytes of a record in a reply, not less than it takes."""
    draft = record.draft
    texts = (
        record.namespace, draft.principal, draft.resource, draft.request_id, draft.agent, draft.workflow_id, draft.task_id,
        draft.details,
    )  # fmt: skip
    return 512 + 4 * sum(map(len, texts))


def _differs(expected: AuditHead | None, walk: ChainWalk) -> Misfit | None:
    if expected is None or walk.number != expected.number or walk.hash == expected.hash:
        return None
    return Misfit(expected.number, "Its hash is not the one that was noted: the chain was written anew.")


def _bad(field: str, description: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", f"{field}: {description}", (Violation(field, description),))
