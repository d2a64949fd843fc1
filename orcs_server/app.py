"""The one composition root: from settings to a server that receives work, and to its end in good order."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.agents.mcp.servers import McpServers
from orcs_server.agents.providers import ConfiguredModels
from orcs_server.agents.runner import AgentRunner
from orcs_server.config import Address, Settings, warn_of_unknown_variables
from orcs_server.config.tables import to_us
from orcs_server.engines.local.engine import EngineLimits, LocalEngine
from orcs_server.errors import StartupError, Unavailable
from orcs_server.executor.configuration import Configurations
from orcs_server.executor.executor import Executor
from orcs_server.hooks import GuardedHooks, load_factory, null_factory
from orcs_server.identity import Clock
from orcs_server.identity.discovery import Announcement
from orcs_server.identity.private_files import PRIVATE_FOLDER_MODE
from orcs_server.identity.tokens import TOKEN_LIMIT, TokenRegistry
from orcs_server.memory import Memory
from orcs_server.rpc.calls import SLOW_AFTER_S
from orcs_server.rpc.server import RpcServer
from orcs_server.service.auditing import Auditing
from orcs_server.service.figures_of_server import admission_figures, batch_meter, server_figures
from orcs_server.service.nameable import tooling
from orcs_server.service.recording import EventRecording
from orcs_server.service.retention import Retention
from orcs_server.service.services import build_services
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.telemetry import Telemetry, configure_logging

CALLS_GRACE_S: Final = 10.0
"""How long calls that are under way may go on after SIGTERM."""
GC_THRESHOLDS: Final = (50_000, 20, 20)

VERSION: Final = importlib.metadata.version("orcs-server")

_log = logging.getLogger("orcs.app")


class Backend:
    """Everything behind the wire: store, hooks, agents, engine and services. Open it, start it, close it."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        """Compose everything. Raises StartupError for settings that do not work out; nothing is opened yet."""
        environ = os.environ if environ is None else environ
        self.settings = settings
        self.clock = Clock()
        self.model = settings.model_choice(environ)
        toolbox, known, self.nameable = tooling(settings)
        self.catalog = AgentCatalog.build(settings.agents, settings.agent_registry, settings.prompts.planner, known)
        self.telemetry = Telemetry.from_environment(
            environ, scraped=settings.metrics_listen is not None, by_namespace=settings.metrics_by_namespace
        )
        factory = null_factory if settings.hooks is None else load_factory(settings.hooks)
        self.hooks = GuardedHooks(factory, time_limit_us=settings.hook_timeout_us)
        self._recording = EventRecording(self.hooks, self.telemetry)
        self.store = SqliteStore(settings.data, settings.quotas)
        self.auditing = Auditing(self.store.audit, self.clock)
        self.memory = Memory(self.store, self.clock, self.auditing.memory_refused)
        self.store.on_batch = batch_meter(self.telemetry)
        self._models = ConfiguredModels(self.model, to_us(settings.offline_pace), environ)
        self._mcp = McpServers(settings.mcp, environ)
        runner = AgentRunner.configured(
            self._models, self.model, self.clock.now_us, toolbox, self._mcp, self.telemetry.calls
        )
        self.executor = Executor(
            self.store,
            runner,
            Configurations(self.store, self.catalog),
            self.hooks,
            self.telemetry,
            memory=self.memory,
            on_refusal=self.auditing.run_refused,
        )
        limits = settings.limits
        self.engine = LocalEngine(
            self.store,
            self.executor,
            limits=EngineLimits(limits.slots, limits.agent_slots, settings.quotas),
            clock=self.clock,
            on_commit=self._recording.note,
        )
        self._retention: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the storage and build the services. Raises StartupError."""
        folder = self.settings.data.absolute().parent
        try:
            folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise StartupError(f"the folder {folder} of the data file cannot be made: {error.strerror}") from None
        await self.store.open()
        self.services = build_services(
            settings=self.settings,
            store=self.store,
            engine=self.engine,
            executor=self.executor,
            hooks=self.hooks,
            catalog=self.catalog,
            clock=self.clock,
            model=self.model,
            version=VERSION,
            memory=self.memory,
            auditing=self.auditing,
            nameable=self.nameable,
            quotas=self.settings.quotas,
        )
        self.figures = server_figures(
            telemetry=self.telemetry,
            states=lambda: self.engine.states,
            free_slots=lambda: self.engine.slots.free,
            problems=self.services.problems,
            store=self.store,
            hooks=self.hooks,
            recording=self._recording,
            open_watches=self.services.open_watches,
        )

    def measure(self) -> Address | None:
        """Look up figures from now on where anybody wants them, and show them where the settings say; return where."""
        if self.telemetry.metering:
            self._looking = asyncio.create_task(self.figures.run(), name="figures")
        address = self.settings.metrics_address
        return None if address is None else Address(*self.telemetry.listen(address.host, address.port))

    async def start(self) -> int:
        """Take up every live workflow where it stood, return how many, and take commands. Raises StartupError for a file that
        cannot be read.
        """
        try:
            resumed = await self.engine.start()
        except Unavailable as error:
            raise StartupError(f"{self.settings.data} cannot be used: {error.message}") from error
        retention = Retention(
            engine=self.engine,
            store=self.store,
            clock=self.clock,
            finished_kept_us=self.settings.retention.finished_us,
            audit_kept_us=self.settings.retention.audit_us,
        )
        self._retention = asyncio.create_task(retention.run(), name="retention")
        return resumed

    async def close(self, grace_s: float) -> None:
        """End in good order: attempts get `grace_s` seconds, everything is stored. Safe after a start that failed."""
        for task in (self._retention, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        await self.engine.stop(grace_s)
        await self._recording.close()
        await self.hooks.close()
        await self._models.aclose()
        await self._mcp.aclose()
        await self.memory.close()
        await self.auditing.close()
        await self.store.close()
        await asyncio.to_thread(self.telemetry.close)


class Server:
    """A whole server, for one event loop: `start`, then `stop`, or `async with`."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str] | None = None, *, slow_after_s: float = SLOW_AFTER_S
    ) -> None:
        """Compose it. Raises StartupError for settings that do not work out."""
        self._environ = os.environ if environ is None else environ
        self._slow_after_s = slow_after_s
        self.settings = settings
        self.backend = Backend(settings, self._environ)
        self.address: Address = settings.address
        """Where it listens; with its real port once it is started."""
        self.metrics_address: Address | None = None
        """Where metrics are shown, if anywhere; with the real port."""
        self.registry: TokenRegistry | None = None
        self._rpc: RpcServer | None = None
        self._announcement: Announcement | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return once the server receives work. Raises StartupError, and then nothing is left open."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End in good order; nothing that was stored is lost, and what ran goes on with the next server."""
        if self._announcement is not None:
            self._announcement.withdraw()
        if self._rpc is not None:
            await self._rpc.drain()
            await self._rpc.stop(CALLS_GRACE_S)
        await self.backend.close(self.settings.drain_grace)

    async def _start(self) -> None:
        settings, backend = self.settings, self.backend
        await backend.open()
        token_file = settings.token_file
        if not settings.insecure_no_auth:
            self.registry = TokenRegistry(settings.data, now_us=backend.clock.now_us)
            given = None if token_file is None else _text_of(token_file)
            token_file = self.registry.ensure_own_token(given) or token_file
            self.registry.on_change = backend.auditing.token_changed
        rpc = RpcServer(
            backend.services, backend.store, backend.telemetry, self.registry, slow_after_s=self._slow_after_s
        )
        self.address = rpc.bind(settings.address, settings.tls_certificate, settings.tls_key)
        backend.figures.add(admission_figures(rpc.admission))
        self.metrics_address = backend.measure()
        resumed = await backend.start()
        self._rpc = rpc
        await rpc.start()
        announced = None if self.registry is None else token_file
        self._announcement = Announcement(self.address.host, self.address.port, announced, self._environ)
        self._announcement.publish()
        _log.info(
            "started",
            extra={
                "version": VERSION,
                "listen": str(self.address),
                "data_file": str(settings.data),
                "model_server": backend.model.server,
                "model": backend.model.name,
                "workflows_resumed": resumed,
                **({} if self.metrics_address is None else {"metrics": f"http://{self.metrics_address}/metrics"}),
            },
        )


async def serve(settings: Settings) -> int:
    """Run a server until SIGTERM or SIGINT ends it in good order; a second one ends it at once. Returns the exit status.

    Prints `orcs listening on HOST:PORT` when it receives work. Raises StartupError.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, number, ending)
    server = Server(settings)
    # What has been imported by now stays: collections need not walk it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    async with server:
        print(f"orcs listening on {server.address}", flush=True)  # noqa: T201 - the one line that starters wait for
        _warn(server)
        await ending.wait()
        running = server.backend.engine.running
        _log.info("going down%s", f": {running} running get up to {settings.drain_grace:g} s" if running else "")
    _log.info("stopped")
    return 0


def _warn(server: Server) -> None:
    """Say what an operator may not have meant. Only of a server that runs: of one that cannot start there is more to say."""
    model = server.backend.model
    if model.provider == "offline" and server.settings.model.provider is None:
        _log.warning(
            "no model server is configured: the offline model answers, which only demonstrates; for real answers set "
            "%s or ORCS_MODEL_BASE_URL",
            model.api_key_env,
        )
    if server.metrics_address is not None and not server.metrics_address.loopback:
        _log.warning("metrics at %s can be read by other machines, without a token", server.metrics_address)
    if server.settings.insecure_no_auth:
        _log.warning("tokens are off: every program on this machine can use this server")


def run(settings: Settings) -> int:
    """Run a server as the whole of this process; return its exit status, 2 where it cannot start."""
    configure_logging(settings.log_level, settings.log_format)
    warn_of_unknown_variables(os.environ)
    try:
        return asyncio.run(serve(settings))
    except StartupError as error:
        sys.stderr.write(f"orcs: {error}\n")
        return 2


def _text_of(token_file: Path) -> str:
    try:
        with token_file.open("rb") as file:
            # One byte more than a token may have, so that a longer one is seen to be none.
            return file.read(TOKEN_LIMIT + 3).decode("ascii", "replace").strip()
    except OSError as error:
        raise StartupError(f"{token_file} cannot be read: {error.strerror}") from None


def _end(number: signal.Signals, ending: asyncio.Event) -> None:
    if ending.is_set():
        os._exit(128 + number)
    ending.set()
