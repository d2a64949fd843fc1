"""The main job from end to end, without a key or a network: `make demo`, or `python examples/demo.py ["query"]`.

It starts a real server with the offline model on a port of its own and a data file in a temporary folder, has a query planned
and carried out over gRPC while the tasks are shown as they run, prints the finished document, and ends the server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QUERY = "Compare SQLite, PostgreSQL and DuckDB for a small team by cost and speed, then write a recommendation"
PACE = "1.1"
"""Seconds that the offline model takes for a call."""
ORCS = (sys.executable, "-m", "orcs_server")
LISTENING = "orcs listening on "
OWN_SETTINGS = ("ORCS_", "OPENAI_")
"""What may be set in the environment for other servers must not change the demonstration."""


def main() -> int:
    """Run the demonstration; return the exit status of the first part that fails, or 0."""
    query = " ".join(sys.argv[1:]) or QUERY
    with tempfile.TemporaryDirectory(prefix="orcs-demo-") as folder:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
        environ |= {"ORCS_OFFLINE_PACE": PACE, "ORCS_MODEL_PROVIDER": "offline", "XDG_STATE_HOME": folder}
        started = time.monotonic()
        with open_server(Path(folder), environ) as server:
            try:
                environ["ORCS_SERVER"] = address_of(server)
                say(f"a server listens on {environ['ORCS_SERVER']}; its model works offline and only demonstrates")
                say(f'$ orcs run "{query}"')
                # Without a terminal the progress, which is told on standard error, belongs to what is shown too.
                errors = None if sys.stdout.isatty() else subprocess.STDOUT
                ran = subprocess.run([*ORCS, "run", query], env=environ, stderr=errors, check=False)
            finally:
                server.send_signal(signal.SIGTERM)
                ended = server.wait()
        say(f"the server ended with status {ended}; all of it took {time.monotonic() - started:.1f} s")
    return ran.returncode or ended


def open_server(folder: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
    """Start a server on any free port."""
    options = ("--listen", "127.0.0.1:0", "--data", str(folder / "orcs.db"), "--log-level", "error")
    # A session of its own keeps a Ctrl-C from it, which is meant for the command.
    return subprocess.Popen(
        [*ORCS, "serve", *options], env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def address_of(server: subprocess.Popen[str]) -> str:
    """Wait until the server receives work, and return its address."""
    line = server.stdout.readline() if server.stdout is not None else ""
    if not line.startswith(LISTENING):
        raise SystemExit(f"the server did not start: {line.strip() or 'see above'}")
    return line.removeprefix(LISTENING).strip()


def say(sentence: str) -> None:
    """Tell what is going on."""
    print(f"── {sentence}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
