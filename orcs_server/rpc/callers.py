"""Who calls: from the metadata of a call to a `Caller`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from orcs_server.errors import Unauthenticated
from orcs_server.identity import ROLES, Caller
from orcs_server.identity.tokens import DEFAULT_NAMESPACE, TokenRegistry

ANONYMOUS: Final = Caller("anonymous", DEFAULT_NAMESPACE, ROLES, own=True)
"""Whoever calls a server without tokens, which only this machine can reach."""

Metadata = Sequence[tuple[str, str | bytes]]


class Callers:
    """Knows callers by their tokens; without a registry everybody is welcome."""

    def __init__(self, registry: TokenRegistry | None) -> None:
        self._registry = registry

    def identify(self, metadata: Metadata, traceparent: str = "") -> Caller:
        """Return the caller, with the trace that the call belongs to.

        Raises Unauthenticated (TOKEN_MISSING, TOKEN_INVALID); Unavailable while tokens cannot be checked.
        """
        caller = ANONYMOUS if self._registry is None else self._by_token(metadata, self._registry)
        return replace(caller, metadata=(("traceparent", traceparent),)) if traceparent else caller

    def _by_token(self, metadata: Metadata, registry: TokenRegistry) -> Caller:
        values = [value for key, value in metadata if key == "authorization"]
        if not values:
            raise Unauthenticated(
                "TOKEN_MISSING",
                "The call brings no token: send the metadata `authorization: Bearer TOKEN`. The server's own user finds one "
                "in the file that ends in .token beside the data file.",
            )
        scheme, _, token = str(values[0]).partition(" ")
        caller = None
        if len(values) == 1 and scheme.lower() == "bearer":
            caller = registry.authenticate(token.strip())
        if caller is None:
            raise Unauthenticated(
                "TOKEN_INVALID", "The token is unknown, expired or revoked: ask the server's operator for another one."
            )
        return caller


def value_of(metadata: Metadata, key: str) -> str:
    """Return the first text under a key; "" if there is none."""
    return next((value for name, value in metadata if name == key and isinstance(value, str)), "")
