"""A receiver of OTLP, over gRPC and HTTP, as a program of its own: `python -m tests.telemetry.otlp_receiver MODE FILE`.

It prints its two ports and writes each span and each metric that it gets into the file, as a line of JSON. MODE is `well`; `hangs` takes
requests and never answers; `refuses` answers that it is overloaded; `slow` takes half a second for each.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

MODE = sys.argv[1] if len(sys.argv) > 1 else "well"
LOCK = threading.Lock()


def write(records: list[dict[str, Any]]) -> None:
    with LOCK, open(sys.argv[2], "a", encoding="utf-8") as file:  # noqa: PTH123 - a program of two lines
        file.writelines(json.dumps(record) + "\n" for record in records)


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: next(iter(MessageToDict(pair.value).values()), None) for pair in pairs}


def take_spans(request: Any) -> None:
    write(
        [
            {
                "span": span.name,
                "trace": span.trace_id.hex(),
                "id": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "kind": int(span.kind),
                "error": span.status.code == 2,
                "attributes": attributes(span.attributes),
                "service": attributes(resource.resource.attributes).get("service.name"),
            }
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    )


def take_metrics(request: Any) -> None:
    write(
        [
            {"metric": metric.name, "kind": metric.WhichOneof("data"), "unit": metric.unit}
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
    )


def behave() -> bool:
    """Do as the mode says; False: refuse."""
    if MODE == "hangs":
        time.sleep(3_600)
    if MODE == "slow":
        time.sleep(0.5)
    return MODE != "refuses"


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        if not behave():
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        take_spans(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        if not behave():
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        take_metrics(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Http(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        if not behave():
            self.send_error(503)
            return
        if self.path == "/v1/traces":
            take_spans(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
        else:
            take_metrics(metrics_service_pb2.ExportMetricsServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(8))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    web = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    web.daemon_threads = True
    print(port, web.server_address[1], flush=True)
    web.serve_forever()


if __name__ == "__main__":
    main()
