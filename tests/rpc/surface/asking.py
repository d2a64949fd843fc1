"""Calls as bytes, so that any request can be made, and what every answer to them must keep to."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor

from orcs_server.rpc.server import RECEIVE_BYTES
from tests.rpc.surface.methods import documented_reasons, kind_of, names_a_field, path_of
from tests.rpc.wire import explained

PATIENCE_S: Final = 60.0
"""A call without an answer by then hangs."""
SETTLED_S: Final = 0.05
"""How long a watch that has been let in is listened to for a refusal that comes after all."""
ANSWERS: Final = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "ABORTED",
        "RESOURCE_EXHAUSTED",
        "PERMISSION_DENIED",
    }
)
"""What a request can be refused with by a server that is well, to a caller that it knows."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass
class Answer:
    """How a call ended, or that a watch was let in."""

    code: str = "OK"
    reason: str = ""
    message: str = ""
    violations: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    reply: Any = None
    """The reply, of calls that have one."""

    @property
    def refused(self) -> bool:
        return self.code != "OK"


class Asker:
    """A caller over one channel."""

    def __init__(self, address: str, token: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._callables: dict[str, Any] = {}

    def close(self) -> None:
        self._channel.close()

    def ask(
        self,
        method: MethodDescriptor,
        wire: bytes,
        *,
        compression: grpc.Compression = grpc.Compression.NoCompression,
        metadata: Sequence[tuple[str, str]] = (),
        wait: bool = False,
    ) -> Answer:
        """Make a call. A watch is cut off as soon as it is let in, or with `wait` when it ends."""
        options = {
            "metadata": (*self._metadata, *metadata),
            "timeout": PATIENCE_S,
            "compression": compression,
        }
        path = path_of(method)
        if method.server_streaming:
            if path not in self._callables:
                self._callables[path] = self._channel.unary_stream(path)
            return _watched(self._callables[path](wire, **options), wait=wait)
        if path not in self._callables:
            self._callables[path] = self._channel.unary_unary(path)
        try:
            reply = self._callables[path](wire, **options)
        except grpc.RpcError as error:
            return _answer(error)
        return Answer(reply=kind_of(method.output_type).FromString(reply))

    def replies(self, method: MethodDescriptor, request: Any) -> Any:
        """Start a watch; return the call, over which to go."""
        call: Any = self._channel.unary_stream(path_of(method), None, kind_of(method.output_type).FromString)
        return call(request.SerializeToString(), metadata=self._metadata, timeout=PATIENCE_S)


def _watched(call: Any, *, wait: bool) -> Answer:
    ended = threading.Event()
    if not call.add_callback(ended.set):
        ended.set()
    # It comes as soon as the call is let in or refused.
    call.initial_metadata()
    if not ended.wait(PATIENCE_S if wait else SETTLED_S):
        call.cancel()
        return Answer()
    return Answer() if call.code() is grpc.StatusCode.OK else _answer(call)


def _answer(error: Any) -> Answer:
    told = explained(cast("grpc.aio.AioRpcError", error))
    return Answer(told.code.name, told.reason, told.message, told.violations, told.metadata)


def check_promises(method: MethodDescriptor, wire: bytes, answer: Answer) -> None:
    """Fail unless an answer keeps to what all answers keep to."""
    if not answer.refused:
        return
    assert answer.code in ANSWERS, f"{answer.code}: {answer.message}"
    assert answer.message
    if not answer.reason:
        # gRPC itself refuses what is too large; nothing else is left to it.
        assert answer.code == "RESOURCE_EXHAUSTED", f"{answer.code} without a reason: {answer.message}"
        assert len(wire) > RECEIVE_BYTES, answer.message
        return
    assert documented_reasons().get(answer.reason) == answer.code, f"{answer.reason} came with {answer.code}"
    if answer.reason in ("FIELD_INVALID", "PLAN_INVALID"):
        assert answer.violations, "no violation says which field is at fault"
    for path, description in answer.violations.items():
        assert names_a_field(method.input_type, path), f"{path!r} is no field of {method.input_type.full_name}"
        assert description
    for text in (answer.message, *answer.violations, *answer.violations.values()):
        assert not _UNPRINTABLE.search(text), f"control characters in {text!r}"
