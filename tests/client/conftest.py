"""What the client's tests share: an environment without settings, and quick repetitions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orcs_client import streams
from tests.client.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True, scope="module")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ORCS_")]:
            patch.delenv(name)
        folder: Path = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setattr(streams, "FIRST_DELAY", 0.001)
        patch.setattr(streams, "LAST_DELAY", 0.2)
        yield


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    process = ServerProcess()
    yield process
    process.kill()
