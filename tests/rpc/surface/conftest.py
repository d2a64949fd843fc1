"""One server for all bad input, apart from the one that other tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rpc.surface.methods import methods
from tests.rpc.surface.world import Place


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("surface"), "table", "sequences", *methods())
    place.open()
    yield place
    place.close()
