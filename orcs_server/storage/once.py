"""Changes outside the workflows' logs that are carried out once for a request id."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orcs_server.storage.audit import AuditDraft
    from orcs_server.storage.store import RequestKey


class Once:
    """One change for one request. Where the request has an id, its answer is stored in the change's own transaction."""

    def __init__(
        self, request: RequestKey | None, command_hash: str, created_us: int, audit: AuditDraft | None = None
    ) -> None:
        self.request = request
        """None: it has no id, and is carried out each time."""
        self.command_hash = command_hash
        self.created_us = created_us
        self.audit = audit
        """What the audit log says of it, in the same transaction."""
        self.position = 0
        """The place in the namespace's log after the change; set by the store."""
