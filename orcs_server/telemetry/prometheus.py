"""The metrics over HTTP, for Prometheus to fetch: a few threads of their own, which cannot hold up the server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from orcs_server.errors import StartupError

AT_ONCE: Final = 4
"""Connections that are served at once; more are closed unanswered."""
SILENCE_S: Final = 5.0
"""How long a connection may say and take nothing."""


class MetricsEndpoint:
    """Answers `GET /metrics` with what a registry of prometheus_client has."""

    def __init__(self, registry: Any, host: str, port: int) -> None:
        """Take the address. Raises StartupError."""
        from prometheus_client import make_wsgi_app

        try:
            self._server = _Server((host, port), _Handler, ipv6=":" in host)
        except OSError as error:
            raise StartupError(
                f"cannot show metrics at {host}:{port}: {error.strerror or error}; choose another address with --metrics-listen"
            ) from None
        self._server.set_app(_only_metrics(make_wsgi_app(registry)))
        self.address: tuple[str, int] = (host, self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="orcs-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the address back. Fetches that are under way are left to end by themselves."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler], *, ipv6: bool) -> None:
        self.address_family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self._free = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # WSGIServer's own asks the name service for this machine's full name, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a scraper that breaks off is no error of ours."""


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing of each fetch."""


def _only_metrics(app: Callable[..., Any]) -> Callable[..., Any]:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ.get("PATH_INFO") == "/metrics" and environ.get("REQUEST_METHOD") == "GET":
            return app(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Only GET /metrics is here.\n"]

    return answer
