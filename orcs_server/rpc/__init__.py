"""The only place that knows gRPC and protobuf: who calls, what a message means, which status an error gets."""

from __future__ import annotations

import os

# gRPC's core writes to standard error by itself, in a form of its own; what matters comes as an error or a status anyway.
# It looks at this once, when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
