"""A server as `orcs serve` starts it, but one that waits for seconds where that waits for half a minute: `python -m` this."""

from __future__ import annotations

import functools
import sys

from orcs_server import app
from orcs_server.cli.main import main
from orcs_server.rpc import admission, calls, server

PATIENCE_S = 1.0

if __name__ == "__main__":
    app.Server = functools.partial(app.Server, slow_after_s=PATIENCE_S)  # type: ignore[assignment,misc]
    calls.REFUSE_S = PATIENCE_S / 2  # type: ignore[misc]
    admission.ARRIVES_WITHIN_S = PATIENCE_S  # type: ignore[misc]
    options = dict(server.OPTIONS) | {"grpc.server_handshake_timeout_ms": int(PATIENCE_S * 1000)}
    server.OPTIONS = tuple(options.items())  # type: ignore[misc]
    sys.exit(main())
