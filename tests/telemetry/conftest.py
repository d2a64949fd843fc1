"""Fixtures for the tests of telemetry."""

from __future__ import annotations

import pytest

from tests.agents.conftest import bench
from tests.telemetry.recorded import Recorded

__all__ = ["bench"]


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()
