"""The offline model: deterministic answers by rule, for demonstrations, tests and machines without a key or a network."""

from orcs_server.agents.offline.model import NOTICE, OfflineModel

__all__ = ["NOTICE", "OfflineModel"]
