"""All settings of the server: flag before environment before file before default. Nothing is read from the working
directory by itself, and the hooks, which see every caller, never come from a file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from orcs_server.config.address import Address, parse_address
from orcs_server.config.models import ModelChoice, choose_model
from orcs_server.config.sources import Tree, explain, merge, read_environment, read_file, unknown_variables
from orcs_server.config.tables import (
    AgentId,
    AgentTable,
    Approvals,
    Limits,
    Model,
    Name,
    Namespace,
    Planning,
    Positive,
    Price,
    Prompts,
    Retention,
    Retry,
    Seconds,
    Table,
    to_us,
    written,
)
from orcs_server.errors import StartupError

CLIENT_VARIABLES = frozenset(
    {"ORCS_CONFIG", "ORCS_SERVER", "ORCS_TOKEN", "ORCS_ALLOW_INSECURE_TOKEN", "ORCS_TLS_ROOT_CERTIFICATES"}
)
"""`ORCS_…` variables that are no settings of the server."""
NOT_FROM_FILE = ("hooks",)
PATHS = ("data", "tls_certificate", "tls_key", "token_file")

Reference = Annotated[
    str,
    Field(max_length=500),
    written(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", "write MODULE:NAME, as in my_package.my_module:name"),
]
NamespaceName = Annotated[
    str,
    written(
        r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}",
        "write a namespace: a letter or digit, then up to 127 of letters, digits, . _ : and -",
    ),
]
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_log = logging.getLogger("orcs.config")


class Settings(Table):
    """What the server runs with, checked as a whole. Make one with `Settings.load`."""

    listen: str = "127.0.0.1:50750"
    data: Path = Path("orcs.db")
    """The database file; by default `$XDG_DATA_HOME/orcs/orcs.db`."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    insecure_no_auth: bool = False
    token_file: Path | None = None
    """A mounted secret with the text of the server's own token, in place of the generated one."""
    agent_registry: Reference | None = None
    """`package.module:registry` of agents with code of their own."""
    hooks: Reference | None = None
    """`package.module:factory`. Flag or environment only."""
    offline_pace: Seconds = 0.3
    """Seconds that the offline model takes for a call."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["plain", "json"] = "plain"
    metrics_listen: str | None = None
    """Where Prometheus may fetch metrics; None: nowhere. Whoever reaches it needs no token."""
    metrics_by_namespace: bool = False
    """Some metrics tell namespaces apart, the first hundred of them."""
    task_timeout: Positive = 600.0
    """Of one attempt."""
    hook_timeout: Positive = 5.0
    """Of one call of a hook."""
    drain_grace: Seconds = 10.0
    """How long running attempts may go on after SIGTERM."""
    limits: Limits = Limits()
    retry: Retry = Retry()
    planning: Planning = Planning()
    prompts: Prompts = Prompts()
    model: Model = Model()
    retention: Retention = Retention()
    approvals: Approvals = Approvals()
    prices: dict[Name, Price] = Field(default_factory=dict)
    """By the name of the model, as in `model.name`."""
    agents: dict[AgentId, AgentTable] = Field(default_factory=dict)
    namespaces: dict[NamespaceName, Namespace] = Field(default_factory=dict)

    @field_validator("listen")
    @classmethod
    def _parses(cls, listen: str) -> str:
        return str(parse_address(listen))

    @field_validator("metrics_listen")
    @classmethod
    def _parses_too(cls, listen: str | None) -> str | None:
        return None if listen is None else str(parse_address(listen))

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, level: Any) -> Any:
        if not isinstance(level, str) or level.upper() not in LEVELS:
            raise ValueError("write debug, info, warning or error")
        return level.upper()

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any] | None = None,
        config_file: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Read, merge and check all settings.

        `flags` is nested like the file, None meaning not given; `config_file` defaults to what ORCS_CONFIG names. Raises
        `StartupError`, which names each wrong setting and its source.
        """
        environ = os.environ if environ is None else environ
        given = _without_none(flags or {})
        environment = read_environment(cls, environ)
        file = config_file or (Path(environ["ORCS_CONFIG"]) if environ.get("ORCS_CONFIG") else None)
        written = {} if file is None else _from_file(file, environ)
        defaults: Tree = {"data": _default_data(environ)}
        spoken = merge(_at_home(environment, environ), _at_home(given, environ))
        try:
            settings = cls.model_validate(merge(merge(defaults, written), spoken))
        except ValidationError as error:
            raise explain(error, cls, given, environment, file) from None
        check_exposure(settings)
        return settings

    @property
    def address(self) -> Address:
        """Where to listen."""
        return parse_address(self.listen)

    @property
    def metrics_address(self) -> Address | None:
        """Where to show metrics, if anywhere."""
        return None if self.metrics_listen is None else parse_address(self.metrics_listen)

    @property
    def task_timeout_us(self) -> int:
        return to_us(self.task_timeout)

    @property
    def hook_timeout_us(self) -> int:
        return to_us(self.hook_timeout)

    def model_choice(self, environ: Mapping[str, str] | None = None) -> ModelChoice:
        """Return the model that is in use. Raises `StartupError` where the settings do not add up to one."""
        return choose_model(self.model, os.environ if environ is None else environ)


def warn_of_unknown_variables(environ: Mapping[str, str]) -> None:
    """Log each `ORCS_…` variable that has no effect. For programs to call once their log is set up."""
    for name in unknown_variables(Settings, environ, CLIENT_VARIABLES):
        _log.warning("the environment variable %s is not a setting of this program and has no effect", name)


def _from_file(file: Path, environ: Mapping[str, str]) -> Tree:
    written = read_file(file)
    for key in NOT_FROM_FILE:
        if key in written:
            raise StartupError(
                f"`{key}` in {file} is refused, because it names code to load: use --{key} or ORCS_{key.upper()}"
            )
    return _at_home(written, environ, file.absolute().parent)


def _at_home(tree: Tree, environ: Mapping[str, str], folder: Path | None = None) -> Tree:
    """Return `tree` with `~` in its paths replaced, and paths of a file made relative to that file's folder."""
    placed = dict(tree)
    for key in PATHS:
        path = placed.get(key)
        if isinstance(path, Path):
            path = str(path)
        if not isinstance(path, str):
            continue
        if path == "~" or path.startswith("~/"):
            path = f"{_home(environ)}{path[1:]}"
        placed[key] = path if folder is None else str(folder / path)
    return placed


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _default_data(environ: Mapping[str, str]) -> str:
    folder = Path(environ.get("XDG_DATA_HOME", ""))
    if not folder.is_absolute():
        folder = _home(environ) / ".local" / "share"
    return str(folder / "orcs" / "orcs.db")


def _without_none(flags: Mapping[str, Any]) -> Tree:
    kept: Tree = {}
    for key, value in flags.items():
        if isinstance(value, Mapping):
            kept[key] = _without_none(value)
        elif value is not None:
            kept[key] = value
    return kept


def check_exposure(settings: Settings) -> None:
    """Refuse to be reached by other machines without tokens and TLS. Raises `StartupError`."""
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        missing = "certificate" if settings.tls_certificate is None else "key"
        raise StartupError(
            f"TLS needs a certificate and its key: set --tls-{missing} or ORCS_TLS_{missing.upper()} too"
        )
    for path in (settings.tls_certificate, settings.tls_key, settings.token_file):
        if path is not None and not os.access(path, os.R_OK):
            raise StartupError(f"{path} cannot be read: check that it exists and that this user may read it")
    if settings.address.loopback:
        return
    if settings.insecure_no_auth:
        raise StartupError(
            f"{settings.address} can be reached by other machines, so tokens must stay on: remove --insecure-no-auth "
            f"(ORCS_INSECURE_NO_AUTH), or listen on 127.0.0.1:{settings.address.port}"
        )
    if settings.tls_certificate is None:
        raise StartupError(
            f"{settings.address} can be reached by other machines, so tokens would travel in the clear: set "
            f"--tls-certificate and --tls-key (ORCS_TLS_CERTIFICATE and ORCS_TLS_KEY), or listen on 127.0.0.1:{settings.address.port}"
        )
