"""Bad input, tried by the thousand: requests of any kind, whole and damaged, against a real server. Counts what came of them."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.rpc.surface.asking import Answer, check_promises
from tests.rpc.surface.damage import damaged
from tests.rpc.surface.values import requests
from tests.rpc.surface.world import State, World

MODEST: Final = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
TRACES: Final = (
    *("", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-00"),
    *("ff-x-y-z", "00-ZZ-1-1", "-" * 3, "x" * 2_000, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"),
)


class Trials:
    """Makes requests in a world, and holds every answer to its promises."""

    def __init__(self, world: World, answers: Counter[str]) -> None:
        self.world = world
        self.answers = answers
        """How often which code and reason came back; is added to."""
        self._state: State | None = None

    def request(self, method: MethodDescriptor, request: Any, **options: Any) -> Answer:
        """Make a request that may hold placeholders."""
        return self.bytes(method, self.world.filled(request).SerializeToString(), **options)

    def bytes(self, method: MethodDescriptor, wire: bytes, **options: Any) -> Answer:
        """Make a request of any bytes. Fails for an answer that breaks a promise, and if a refused one has changed anything."""
        before = self._state or self.world.state()
        answer = self.world.asker.ask(method, wire, **options)
        self.answers[f"{answer.code} {answer.reason}".strip()] += 1
        check_promises(method, wire, answer)
        self._state = self.world.state()
        if answer.refused:
            before.check_unchanged(self._state)
        return answer


def try_requests(trials: Trials, method: MethodDescriptor, how: settings, chance: int = 0) -> None:
    """Make requests of one kind, as many as the settings say."""

    @seed(chance)
    @how
    @given(requests(method.input_type), st.sampled_from(TRACES))
    def tried(request: Any, trace: str) -> None:
        trials.request(method, request, metadata=(("traceparent", trace),) if trace else ())

    tried()


def try_damage(trials: Trials, method: MethodDescriptor, how: settings, chance: int = 0) -> None:
    """Make requests of one kind that were damaged on their way."""

    @seed(chance)
    @how
    @given(requests(method.input_type), st.data(), st.sampled_from(list(grpc.Compression)))
    def tried(request: Any, data: st.DataObject, compression: grpc.Compression) -> None:
        wire = data.draw(damaged(trials.world.filled(request).SerializeToString()))
        trials.bytes(method, wire, compression=compression)

    tried()


def check_log(text: str) -> None:
    """Fail if a server has logged a fault of its own."""
    assert "Traceback" not in text, text
    assert " ERROR " not in text, text
