"""The blocking client: the asynchronous one, run in a thread of its own, for programs without an event loop."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import threading
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar

from orcs_client.client import OrcsClient
from orcs_client.connection import DEFAULT_TIMEOUT
from orcs_client.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

P = ParamSpec("P")
T = TypeVar("T")


class _LoopThread:
    """One event loop in one thread, for all blocking clients of a process.

    With several loops, grpcio 1.76 wakes them for each other's replies and logs a BlockingIOError each time; 1.85 does not.
    """

    _lock = threading.Lock()
    _shared: _LoopThread | None = None
    _users = 0

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="orcs-client", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls) -> _LoopThread:
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls()
            cls._users += 1
            return cls._shared

    @classmethod
    def release(cls) -> None:
        with cls._lock:
            cls._users -= 1
            if cls._users or cls._shared is None:
                return
            last, cls._shared = cls._shared, None
        last.stop()

    def stop(self) -> None:
        """End the thread, after all that it still runs."""
        self.wait_for(self.submit(_Pending(self._wind_up())))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _wind_up(self) -> None:
        """End what is left, so that nobody waits for it in vain."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def submit(self, pending: _Pending[T]) -> _Pending[T]:
        """Have it run in the loop's thread."""
        if threading.current_thread() is self._thread:
            pending.drop()
            raise SettingsError("a blocking client cannot be called from its own callbacks: use OrcsClient")
        pending.submitted = True
        self._loop.call_soon_threadsafe(pending.begin, self._loop)
        return pending

    def wait_for(self, pending: _Pending[T]) -> T:
        """Return what became of it. Interrupted (Ctrl-C), cancel it and wait for its end."""
        try:
            return pending.outcome.result()
        except BaseException:
            self.abandon(pending)
            raise

    def abandon(self, pending: _Pending[Any]) -> None:
        """Cancel it and wait for its end, if that has not come; it may not even have been submitted."""
        if not pending.submitted:
            pending.drop()  # The loop may have stopped meanwhile.
        elif not pending.outcome.done():
            self._loop.call_soon_threadsafe(pending.cancel)
            concurrent.futures.wait([pending.outcome])


class _Pending(Generic[T]):
    """A coroutine on its way through the loop's thread."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._coroutine = coroutine
        self.submitted = False
        self._task: asyncio.Task[T] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(self._coroutine)
        self._task.add_done_callback(self._settle)

    def cancel(self) -> None:
        if self._task is None:  # The interrupt came just before the loop got it.
            self.drop()
            self.outcome.set_exception(SettingsError("this client was closed"))
        else:
            self._task.cancel()

    def drop(self) -> None:
        """End it before it has begun."""
        self._coroutine.close()

    def _settle(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.set_exception(SettingsError("this client was closed"))
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


def _blocking(
    method: Callable[Concatenate[OrcsClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingOrcsClient, P], T]:
    @functools.wraps(method)
    def call(self: BlockingOrcsClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[OrcsClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[BlockingOrcsClient, P], Generator[T, None, None]]:
    @functools.wraps(method)
    def iterate(self: BlockingOrcsClient, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        items = method(self._client, *args, **kwargs)
        try:
            while True:
                try:
                    item = self._run(_following(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if not self._closed:
                self._run(items.aclose())

    return iterate


async def _following(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


class BlockingOrcsClient:
    """`OrcsClient` for programs without an event loop: the same settings, methods, promises and errors, without `await`.

    Watches and lists are plain iterators; leaving one early closes it. `on_item` of `run` is called in the client's thread. One client may be used by several threads at once. Close
    it, or use it in a `with` block. It does not survive a fork.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        token: str | None = None,
        token_file: str | Path | None = None,
        tls_root_certificates: str | Path | bytes | None = None,
        allow_insecure_token: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._client = OrcsClient(
            target,
            token=token,
            token_file=token_file,
            tls_root_certificates=tls_root_certificates,
            allow_insecure_token=allow_insecure_token,
            timeout=timeout,
        )
        self._lock = threading.Lock()
        self._closed = False
        self._thread = _LoopThread.acquire()
        # A thread that still talks while the interpreter goes away would crash it.
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Break off what is under way, in other threads too, and close the connection. Safe to call again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        try:
            self._thread.wait_for(self._thread.submit(_Pending(self._client.close())))
        finally:
            _LoopThread.release()

    @property
    def address(self) -> str:
        """HOST:PORT of the server."""
        return self._client.address

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        pending = _Pending(coroutine)
        try:
            with self._lock:
                if self._closed:
                    raise SettingsError("this client is closed: make a new one")
                self._thread.submit(pending)
            return pending.outcome.result()
        except BaseException:
            self._thread.abandon(pending)
            raise

    create_workflow = _blocking(OrcsClient.create_workflow)
    preview_plan = _blocking(OrcsClient.preview_plan)
    start_workflow = _blocking(OrcsClient.start_workflow)
    get_workflow = _blocking(OrcsClient.get_workflow)
    list_workflows = _iterating(OrcsClient.list_workflows)
    get_output = _blocking(OrcsClient.get_output)
    render_graph = _blocking(OrcsClient.render_graph)
    delete_workflow = _blocking(OrcsClient.delete_workflow)
    watch = _iterating(OrcsClient.watch)
    watch_workflows = _iterating(OrcsClient.watch_workflows)
    wait = _blocking(OrcsClient.wait)
    run = _blocking(OrcsClient.run)
    update_workflow = _blocking(OrcsClient.update_workflow)
    edit_plan = _blocking(OrcsClient.edit_plan)
    replan = _blocking(OrcsClient.replan)
    compare_plan_revisions = _blocking(OrcsClient.compare_plan_revisions)
    explain_workflow = _blocking(OrcsClient.explain_workflow)
    pause_workflow = _blocking(OrcsClient.pause_workflow)
    resume_workflow = _blocking(OrcsClient.resume_workflow)
    cancel_workflow = _blocking(OrcsClient.cancel_workflow)
    freeze_namespace = _blocking(OrcsClient.freeze_namespace)
    thaw_namespace = _blocking(OrcsClient.thaw_namespace)
    send_message = _blocking(OrcsClient.send_message)
    get_pending_input = _blocking(OrcsClient.get_pending_input)
    answer_input = _blocking(OrcsClient.answer_input)
    resolve_approval = _blocking(OrcsClient.resolve_approval)
    list_plan_revisions = _iterating(OrcsClient.list_plan_revisions)
    list_pending_inputs = _iterating(OrcsClient.list_pending_inputs)
    watch_pending_inputs = _iterating(OrcsClient.watch_pending_inputs)
    get_task = _blocking(OrcsClient.get_task)
    list_tasks = _iterating(OrcsClient.list_tasks)
    retry_task = _blocking(OrcsClient.retry_task)
    skip_task = _blocking(OrcsClient.skip_task)
    cancel_task = _blocking(OrcsClient.cancel_task)
    update_task = _blocking(OrcsClient.update_task)
    get_memory = _blocking(OrcsClient.get_memory)
    put_memory = _blocking(OrcsClient.put_memory)
    delete_memory = _blocking(OrcsClient.delete_memory)
    batch_memory = _blocking(OrcsClient.batch_memory)
    share_memory = _blocking(OrcsClient.share_memory)
    list_memory = _iterating(OrcsClient.list_memory)
    list_memory_scopes = _iterating(OrcsClient.list_memory_scopes)
    search_memory = _iterating(OrcsClient.search_memory)
    get_memory_statistics = _blocking(OrcsClient.get_memory_statistics)
    get_access_rules = _blocking(OrcsClient.get_access_rules)
    set_access_rules = _blocking(OrcsClient.set_access_rules)
    watch_memory = _iterating(OrcsClient.watch_memory)
    list_memory_versions = _iterating(OrcsClient.list_memory_versions)
    create_snapshot = _blocking(OrcsClient.create_snapshot)
    list_snapshots = _iterating(OrcsClient.list_snapshots)
    delete_snapshot = _blocking(OrcsClient.delete_snapshot)
    compare_snapshots = _iterating(OrcsClient.compare_snapshots)
    restore_snapshot = _blocking(OrcsClient.restore_snapshot)
    revert_memory = _blocking(OrcsClient.revert_memory)
    revert_memory_of_run = _blocking(OrcsClient.revert_memory_of_run)
    purge_memory = _blocking(OrcsClient.purge_memory)
    list_audit_records = _iterating(OrcsClient.list_audit_records)
    export_audit = _iterating(OrcsClient.export_audit)
    verify_audit = _blocking(OrcsClient.verify_audit)
    get_agent = _blocking(OrcsClient.get_agent)
    list_agents = _iterating(OrcsClient.list_agents)
    register_agent = _blocking(OrcsClient.register_agent)
    deregister_agent = _blocking(OrcsClient.deregister_agent)
    get_usage = _blocking(OrcsClient.get_usage)
    get_server_info = _blocking(OrcsClient.get_server_info)
    list_problems = _blocking(OrcsClient.list_problems)
    receives_work = _blocking(OrcsClient.receives_work)
