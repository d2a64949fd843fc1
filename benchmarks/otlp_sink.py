"""A receiver of OTLP over gRPC that takes everything and looks at nothing: `python -m benchmarks.otlp_sink` prints its port."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


class Sink(grpc.GenericRpcHandler):
    """Answers every call with an empty message, which is what a receiver that took all of it says."""

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the one handler."""
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")


def main() -> None:
    """Serve until killed."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((Sink(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
