"""What this server is, and who the caller is to it."""

from __future__ import annotations

from msgspec import Struct

from orcs_server.config import Settings
from orcs_server.config.models import ModelChoice
from orcs_server.config.tables import Limits
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation
from orcs_server.service.pages import page_size
from orcs_server.service.validation import SCHEMA_BYTES
from orcs_server.workflow.model import TITLE_LIMIT

FEATURES: tuple[str, ...] = ("deltas", "preview", "watch_workflows")
"""Names of optional features, sorted; published."""


class ServerInfo(Struct, frozen=True):
    """What this server is, and who the caller is to it."""

    version: str
    log_epoch: str
    started_us: int
    model: ModelChoice
    limits: Limits
    caller: Caller
    default_page_size: int
    max_title_characters: int = TITLE_LIMIT
    max_schema_bytes: int = SCHEMA_BYTES
    features: tuple[str, ...] = FEATURES


class System:
    """Tells what this server is."""

    def __init__(
        self,
        *,
        settings: Settings,
        model: ModelChoice,
        version: str,
        log_epoch: str,
        started_us: int,
        authorisation: Authorisation,
    ) -> None:
        self._settings = settings
        self._model = model
        self._version = version
        self._log_epoch = log_epoch
        self._started_us = started_us
        self._authorisation = authorisation

    async def info(self, caller: Caller) -> ServerInfo:
        """Return what this server is."""
        visit = await self._authorisation.enter(caller, "system.info")
        limits = self._settings.limits
        return ServerInfo(
            self._version,
            self._log_epoch,
            self._started_us,
            self._model,
            limits,
            visit.caller,
            page_size(0, limits.max_page_size),
        )
