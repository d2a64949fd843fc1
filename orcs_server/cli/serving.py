"""The command `serve`: the only one that imports the server itself."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LevelChoice(StrEnum):
    """What the log holds."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogChoice(StrEnum):
    """The forms of the log."""

    PLAIN = "plain"
    JSON = "json"


def serve(
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 lets the system choose. [127.0.0.1:50750]"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The database. [~/.local/share/orcs/orcs.db]")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A configuration file, for instance orcs.toml; else ORCS_CONFIG."),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option("--agents", "--agent-registry", metavar="MODULE:NAME", help="A registry of agents of your own."),
    ] = None,
    hooks: Annotated[str | None, typer.Option(metavar="MODULE:NAME", help="A factory of hooks of your own.")] = None,
    insecure_no_auth: Annotated[
        bool, typer.Option("--insecure-no-auth", help="Ask for no token; on loopback addresses only.")
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A mounted secret: the server's own token is read from it.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key, PEM.")] = None,
    log_level: Annotated[LevelChoice | None, typer.Option(help="What is logged, at least. [info]")] = None,
    metrics_listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where Prometheus may fetch metrics, without a token. [nowhere]"),
    ] = None,
    log_format: Annotated[LogChoice | None, typer.Option(help="How it is logged. [plain]")] = None,
) -> int:
    """Run a server until SIGTERM or Ctrl-C. Every setting can also be given as ORCS_… or in the configuration file."""
    from orcs_server.app import run
    from orcs_server.config import Settings

    flags = {
        "listen": listen,
        "data": data,
        "agent_registry": agents,
        "hooks": hooks,
        "insecure_no_auth": insecure_no_auth or None,
        "token_file": token_file,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "metrics_listen": metrics_listen,
        "log_level": log_level,
        "log_format": log_format,
    }
    return run(Settings.load(flags, config))
