from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROGRAM = """
import asyncio
from agents import Agent, Runner, flush_traces
from agents.testing import ScriptedModel, assistant_message
from agents.tracing import get_trace_provider
from agents.tracing.processors import default_exporter
import orcs_server.agents.runner

default_exporter().endpoint = "{endpoint}"
agent = Agent(name="own", model=ScriptedModel([[assistant_message("Hi.")]], emit_traces=True))
print(asyncio.run(Runner.run(agent, "A secret.")).final_output)
flush_traces()
print(len(get_trace_provider()._multi_processor._processors))
"""


def test_nothing_is_traced_to_the_vendor_even_with_a_key() -> None:
    received: list[str] = []

    class Vendor(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.path)
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Vendor) as vendor:
        thread = threading.Thread(target=vendor.serve_forever)
        thread.start()
        try:
            program = PROGRAM.format(endpoint=f"http://127.0.0.1:{vendor.server_port}/traces")
            environ = {**os.environ, "OPENAI_API_KEY": "sk-test"}
            environ.pop("OPENAI_AGENTS_DISABLE_TRACING", None)
            done = subprocess.run(
                [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False, timeout=120
            )
        finally:
            vendor.shutdown()
            thread.join()
    assert done.stdout.split() == ["Hi.", "0"], done.stderr
    assert received == []
