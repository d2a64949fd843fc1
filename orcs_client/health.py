"""Asking whether a server receives work, by grpc.health.v1.

Its two messages have one field each, on the wire the same as those of `StringValue` and `Int32Value`: that saves the client a
dependency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

if TYPE_CHECKING:
    import grpc

    from orcs_client.connection import Connection

_SERVING = 1


async def receives_work(connection: Connection) -> bool:
    """Return what `OrcsClient.receives_work` promises."""
    check: grpc.aio.UnaryUnaryMultiCallable[StringValue, Int32Value] = connection.unary.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=Int32Value.FromString,
    )
    return (await connection.call(check, StringValue())).value == _SERVING
