"""What an operator can set, and where it may come from."""

from __future__ import annotations

from orcs_server.config.address import Address, parse_address
from orcs_server.config.settings import Settings, warn_of_unknown_variables

__all__ = ["Address", "Settings", "parse_address", "warn_of_unknown_variables"]
