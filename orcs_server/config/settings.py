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
from orcs_server.config.mcp import McpName, McpServer, Registration
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
from orcs_server.identity.quotas import NamespaceQuota, Quotas

CLIENT_VARIABLES = frozenset(
    {"ORCS_CONFIG", "ORCS_SERVER", "ORCS_TOKEN", "ORCS_ALLOW_INSECURE_TOKEN", "ORCS_TLS_ROOT_CERTIFICATES"}
)
"""`ORCS_…` variables that are no settings of the server."""
NOT_FROM_FILE = ("hooks",)
FROM_FILE_ONLY = ("mcp", "registration")
"""They name programs to start, and what tenants may use: nothing for a variable that a wrapper sets in passing."""
PATHS = ("data", "tls_certificate", "tls_key", "token_file", "cwd")

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
    tool_registry: Reference | None = None
    """`package.module:tools` of tools that agents without code of their own may name."""
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
    mcp: dict[McpName, McpServer] = Field(default_factory=dict)
    """Servers of tools; in the file only, since they name programs to start."""
    registration: Registration = Registration()
    namespace_defaults: Namespace = Namespace()
    """What holds for every namespace, as far as its own table does not say otherwise."""
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
        for key in FROM_FILE_ONLY:
            if key in environment:
                raise StartupError(f"`{key}` is not taken from the environment: set it in the configuration file")
        file = config_file or (Path(environ["ORCS_CONFIG"]) if environ.get("ORCS_CONFIG") else None)
        written = {} if file is None else _from_file(file, environ)
        defaults: Tree = {"data": _default_data(environ)}
        spoken = merge(_at_home(environment, environ), _at_home(given, environ))
        try:
            settings = cls.model_validate(merge(merge(defaults, written), spoken))
        except ValidationError as error:
            raise explain(error, cls, given, environment, file) from None
        check_exposure(settings)
        _check_costs(settings)
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

    @property
    def quotas(self) -> Quotas:
        """What each namespace may use."""
        default = self.namespace_defaults.model_dump()
        named = {
            name: NamespaceQuota(**default | table.model_dump(include=table.model_fields_set))
            for name, table in self.namespaces.items()
        }
        return Quotas(named, NamespaceQuota(**default))

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
    folder = file.absolute().parent
    servers = written.get("mcp")
    if isinstance(servers, dict):
        placed = (
            (name, _at_home(one, environ, folder) if isinstance(one, dict) else one) for name, one in servers.items()
        )
        written = {**written, "mcp": dict(placed)}
    return _at_home(written, environ, folder)


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


def _check_costs(settings: Settings) -> None:
    """Refuse a quota that nothing would ever reach. Raises `StartupError`."""
    tables = {"namespace_defaults": settings.namespace_defaults}
    tables |= {f"namespaces.{name}": table for name, table in settings.namespaces.items()}
    for name, table in tables.items():
        # The hooks may bring prices of their own.
        if table.cost_per_day is not None and not settings.prices and settings.hooks is None:
            raise StartupError(
                f"`{name}.cost_per_day` limits nothing, since no model has a price: set [prices], or remove it"
            )


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
