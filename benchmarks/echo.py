"""The floor of an RPC: a process that gives back the message it got, and the way to call it as `OrcsClient` calls a server."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import grpc
import psutil

from benchmarks.server import ChildProcess
from orcs_client.connection import DEFAULT_TIMEOUT, Connection
from orcs_client.v1 import common_pb2

SERVICE, METHOD = "benchmarks.Echo", "Echo"
TOKEN = "nobody-checks-it"  # noqa: S105 - the calls are to be as long as those of a client with a token
Part = common_pb2.Part


class EchoClient:
    """Calls the echo over the connection of `OrcsClient`: the same channel, metadata, deadline and repetitions."""

    def __init__(self, address: str) -> None:
        self._connection = Connection(
            address,
            token=TOKEN,
            token_file=None,
            tls_root_certificates=None,
            allow_insecure_token=False,
            timeout=DEFAULT_TIMEOUT,
        )

    async def echo(self, part: Part) -> Part:
        """Return what comes back."""
        method = self._connection.unary.unary_unary(
            f"/{SERVICE}/{METHOD}", request_serializer=Part.SerializeToString, response_deserializer=Part.FromString
        )
        call = cast("grpc.aio.UnaryUnaryMultiCallable[Part, Part]", method)
        return await self._connection.call(call, part)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


@contextmanager
def echoing() -> Iterator[ChildProcess]:
    """Run the echo in a process of its own, on a free port."""
    command = [sys.executable, "-m", "benchmarks.echo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            if not line:
                raise RuntimeError("the echo did not start")
            yield ChildProcess(line.split()[-1], psutil.Process(child.pid))
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(timeout=60)


async def _echo(part: Part, _: object) -> Part:
    return part


async def serve() -> None:
    """Echo until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(
        _echo, request_deserializer=Part.FromString, response_serializer=Part.SerializeToString
    )
    server.add_registered_method_handlers(SERVICE, {METHOD: handler})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"echo listening on 127.0.0.1:{port}\n")
    sys.stdout.flush()
    await ended.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve())
