"""Who acts, and in which namespace."""

from __future__ import annotations

from msgspec import Struct

ROLES = ("view", "operate", "answer", "approve", "administer")
"""The published roles, from the least to the most."""


class Caller(Struct, frozen=True):
    """Who calls, as stored with a workflow: never a token. Recovery and timers act for the stored caller."""

    principal: str
    namespace: str
    roles: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    """Allow-listed request metadata, for the hooks."""
    agent: str = ""
    """The agent that acts for the principal; "" where the principal acts. Never stored with a workflow."""
    own: bool = False
    """Whose token is the one that the server made for its own user: who runs the server."""
