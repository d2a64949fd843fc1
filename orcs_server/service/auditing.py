"""What the service says to the audit log: a draft for each change, which is stored in the change's own transaction, and a record of
each refusal. Neither holds texts of users or models, only names, numbers and hashes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from orcs_server.errors import OrcsError, PermissionDenied, Unauthenticated, Unavailable
from orcs_server.identity import Caller, Clock
from orcs_server.identity.tokens import TokenEntry
from orcs_server.memory import Refusal
from orcs_server.memory.access import log_refusal
from orcs_server.service.authorisation import Visit
from orcs_server.service.refusals import WINDOW_S, Refusals
from orcs_server.service.trails import Trail, current_trail
from orcs_server.storage.audit import SERVER, TEXT_LIMIT, AuditDraft, AuditStore, details_of

PROGRAM = "program"
"""The method of what a program does that embeds ORCS."""
AGENT = "agent"
FILE = "file"
"""The method of what happens to files beside the server."""
OPERATOR = "operator"
"""Whoever may write the server's files: nobody else is known of them."""

_log = logging.getLogger("orcs.audit")


class Auditing:
    """Writes the audit log of all namespaces."""

    def __init__(self, store: AuditStore, clock: Clock, *, window_s: float = WINDOW_S) -> None:
        """Equal refusals within `window_s` seconds are counted in one record."""
        self.store = store
        self._clock = clock
        self._refusals = Refusals(store, clock, window_s)

    def draft(
        self,
        visit: Visit,
        method: str,
        request_id: str = "",
        facts: Mapping[str, Any] | None = None,
        *,
        resource: str = "",
    ) -> AuditDraft:
        """Return what is recorded of a change that an authorised caller makes, in its own transaction."""
        trail = current_trail()
        return AuditDraft(
            self._clock.now_us(),
            visit.operation,
            PROGRAM if trail is None else method,
            visit.caller.principal,
            visit.caller.roles,
            cut(resource or visit.resource),
            request_id=cut(request_id),
            peer="" if trail is None else trail.peer,
            details=details_of(facts or {}),
        )

    async def refused(self, trail: Trail, caller: Caller | None, error: Exception) -> None:
        """Record a call that was refused. Without a caller it belongs to no namespace but to the server."""
        if not _counts(trail, error):
            return
        namespace = SERVER if caller is None else trail.namespace or caller.namespace
        await self._refusals.record(
            namespace,
            AuditDraft(
                self._clock.now_us(),
                trail.operation,
                trail.method,
                "" if caller is None else caller.principal,
                () if caller is None else caller.roles,
                cut(trail.resource),
                reason_of(error),
                cut(trail.request_id),
                trail.peer,
                details=details_of(trail.facts),
            ),
        )

    def denied(self, caller: Caller, operation: str, resource: str, error: PermissionDenied) -> None:
        """Record that a program, which makes no calls, was not allowed something."""
        if current_trail() is None:
            draft = AuditDraft(
                self._clock.now_us(), operation, PROGRAM, caller.principal, caller.roles, cut(resource), error.reason
            )
            self._refusals.note(caller.namespace, draft)

    def memory_refused(self, refusal: Refusal) -> None:
        """Log and record what an agent, or a program, was not allowed to do with memory. Of a client its call is recorded."""
        log_refusal(refusal)
        actor = refusal.actor
        trail = current_trail()
        if not actor.agent and trail is not None:
            trail.facts = {"permission": refusal.permission, "key": cut(refusal.key)}
            return
        draft = AuditDraft(
            self._clock.now_us(),
            f"memory.{refusal.permission}",
            AGENT if actor.agent else PROGRAM,
            actor.principal,
            resource=cut(refusal.scope),
            outcome="PERMISSION_DENIED",
            agent=cut(actor.agent),
            workflow_id=cut(actor.workflow_id),
            task_id=cut(actor.task_id),
            details=details_of({"key": cut(refusal.key)}),
        )
        self._refusals.note(refusal.namespace, draft)

    def run_refused(self, caller: Caller, agent_id: str, workflow_id: str, task_id: str) -> None:
        """Record that an agent was not allowed to work for a caller."""
        draft = AuditDraft(
            self._clock.now_us(),
            "agents.run",
            AGENT,
            caller.principal,
            caller.roles,
            cut(agent_id),
            "PERMISSION_DENIED",
            agent=cut(agent_id),
            workflow_id=cut(workflow_id),
            task_id=cut(task_id),
        )
        self._refusals.note(caller.namespace, draft)

    def token_changed(self, entry: TokenEntry, change: str) -> None:
        """Record a token that was created, rotated or revoked while the server runs."""
        facts = {
            "token_id": entry.id,
            "principal": entry.principal,
            "roles": entry.roles,
            "expires_us": entry.expires_us,
        }
        draft = AuditDraft(
            self._clock.now_us(), f"tokens.{change}", FILE, OPERATOR, resource=entry.id, details=details_of(facts)
        )
        self._refusals.write_later(entry.namespace, [draft])

    async def close(self) -> None:
        """Write down what is still counted."""
        await self._refusals.close()


def cut(text: str) -> str:
    """Return a text as a record holds it: not too long, and storable."""
    return text[:TEXT_LIMIT].encode("utf-8", "replace").decode()


def reason_of(error: Exception) -> str:
    """Return a refusal's published reason; what is no refusal is a fault."""
    return error.reason if isinstance(error, OrcsError) else "INTERNAL"


def _counts(trail: Trail, error: Exception) -> bool:
    """Whether the log tells of it: every refusal; of what the server could not do, only what would have changed something."""
    if not isinstance(error, OrcsError) or isinstance(error, Unavailable):
        return trail.changes
    return not trail.standing or isinstance(error, Unauthenticated | PermissionDenied)
