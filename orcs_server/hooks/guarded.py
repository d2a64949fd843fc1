"""Hooks, called so that they cannot harm: each call has a time limit, each answer is checked, each failure is logged here
and told to clients without the hook's own words. Authorization fails closed, telemetry fails open, the rest is `Unavailable`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, NoReturn

from orcs_server.errors import PermissionDenied, PermissionUnknown, Unavailable
from orcs_server.hooks.condition import Condition, Kind
from orcs_server.hooks.json_values import json_copy
from orcs_server.hooks.nulls import (
    ALLOW_ALL,
    METHODS,
    NO_CONFIGURATION,
    NO_CONTEXT,
    NO_ISOLATION,
    NULL_HOOKS,
    UNLIMITED_RESOURCES,
    HookSet,
    null_factory,
)
from orcs_server.hooks.protocols import INLINE_MARK, HookFactory, Origin
from orcs_server.hooks.recording import Recorder
from orcs_server.hooks.threads import DaemonThreads
from orcs_server.identity import NAMESPACE, Caller

JSON_LIMIT = 256 * 1024
"""Bytes of a context or of a configuration value."""
THREADS = 16
"""Of which one tenant may have half."""
TELEMETRY_THREADS = 2
"""Of their own, so that a telemetry hook that hangs takes no thread from authorization."""

_log = logging.getLogger("orcs.hooks")


class _Failed(Exception):
    """A hook raised, hung or answered nonsense; says which in words for the log."""

    def __init__(self, words: str, kind: Kind = "nonsense") -> None:
        super().__init__(words)
        self.kind = kind


class GuardedHooks:
    """The operator's factory of hooks and the rules under which they are called.

    `time_limit_us` bounds one call, the wait for a thread included. Use it from one event loop, and `close` it at the end.
    """

    def __init__(
        self,
        factory: HookFactory = null_factory,
        *,
        time_limit_us: int = 5_000_000,
        threads: int = THREADS,
        telemetry_queue: int = 10_000,
    ) -> None:
        self._factory = factory
        self._limit = time_limit_us / 1_000_000
        self.condition = Condition()
        self._threads = DaemonThreads(threads, "orcs-hook")
        self._telemetry_threads = DaemonThreads(TELEMETRY_THREADS, "orcs-telemetry-hook")
        self.recorder = Recorder(self._record, telemetry_queue)

    @property
    def silent(self) -> bool:
        """There are no hooks: nobody wants to be told of anything."""
        return self._factory is null_factory

    async def hooks_for(self, caller: Caller, origin: Origin) -> HookSet:
        """Ask the factory for `caller`'s hooks. Raises `Unavailable` (HOOK_FAILED)."""
        if self._factory is null_factory:
            return NULL_HOOKS
        # Until the isolation hook has said which tenant it is, each caller is one.
        whose = f"{caller.namespace}/{caller.principal}"
        try:
            hooks = await self._call("factory", self._factory, caller, tenant=whose, origin=origin)
            _check_set(hooks)
        except _Failed as error:
            self._unavailable("factory", error, whose)
        known = hooks.isolation is NO_ISOLATION or origin is not Origin.RPC
        return replace(hooks, tenant=caller.namespace if known else whose)  # type: ignore[no-any-return]

    async def context(self, hooks: HookSet) -> dict[str, Any]:
        """Return the external context. Raises `Unavailable` (HOOK_FAILED)."""
        if hooks.context is NO_CONTEXT:
            return {}
        try:
            answer = await self._call("context", hooks.context.get_context, tenant=hooks.tenant)
            if not isinstance(answer, Mapping):
                raise _Failed(f"it returned {type(answer).__name__} instead of a dict")
            copied: dict[str, Any] = _checked_json(answer)
        except _Failed as error:
            self._unavailable("context", error, hooks.tenant)
        return copied

    async def namespace(self, hooks: HookSet, caller: Caller) -> str:
        """Return the namespace to work in: the isolation prefix, or the caller's own. Raises `Unavailable` (HOOK_FAILED)."""
        if hooks.isolation is NO_ISOLATION:
            return caller.namespace
        try:
            prefix = await self._call("isolation", hooks.isolation.get_isolation_prefix, tenant=hooks.tenant)
            if not isinstance(prefix, str) or not NAMESPACE.fullmatch(prefix):
                raise _Failed(
                    f"{_short(prefix)} is no namespace: 1 to 128 letters, digits and ._:-, a letter or digit first"
                )
        except _Failed as error:
            self._unavailable("isolation", error, hooks.tenant)
        return str(prefix)

    async def authorize(self, hooks: HookSet, operation: str, resource_id: str) -> None:
        """Return if the caller may do this. Raises `PermissionDenied` if not, and also if the hook fails."""
        if hooks.authorization is ALLOW_ALL:
            return
        if not await self.permitted(hooks, operation, (resource_id,)):
            raise PermissionDenied(
                "PERMISSION_DENIED", f"the caller may not {operation} {resource_id}: ask for the permission"
            )

    async def permitted(self, hooks: HookSet, operation: str, resource_ids: Sequence[str]) -> list[str]:
        """Return those of `resource_ids`, a page of a list, that the caller may use. The time limit is for all together.

        Raises `PermissionUnknown`, a `PermissionDenied`, if the hook fails.
        """
        check = hooks.authorization.check_permission
        if hooks.authorization is ALLOW_ALL:
            return list(resource_ids)
        try:
            if inspect.iscoroutinefunction(check):
                answers = await self._call(
                    "authorization", _ask_in_turn, check, operation, resource_ids, tenant=hooks.tenant
                )
            else:
                # One hop into the thread for the whole page.
                answers = await self._call(
                    "authorization",
                    _ask_all,
                    check,
                    operation,
                    resource_ids,
                    direct=_is_inline(check),
                    tenant=hooks.tenant,
                )
                if any(inspect.isawaitable(answer) for answer in answers):
                    answers = await self._call("authorization", _await_all, answers, tenant=hooks.tenant)
            for answer in answers:
                if not isinstance(answer, bool):
                    raise _Failed(f"it returned {_short(answer)} instead of True or False")
        except _Failed as error:
            self._note_nonsense("authorization", error, hooks.tenant)
            _log.error("the authorization hook failed on %s: %s", operation, error, exc_info=error.__cause__)
            raise PermissionUnknown(
                "PERMISSION_DENIED", "the permission could not be checked: try again, or see the server's log"
            ) from None
        return [resource_id for resource_id, answer in zip(resource_ids, answers, strict=True) if answer]

    async def allocate(self, hooks: HookSet, workflow_id: str, requirements: Mapping[str, Any]) -> bool:
        """Return whether the workflow gets what it needs. Raises `Unavailable` (HOOK_FAILED)."""
        if hooks.resources is UNLIMITED_RESOURCES:
            return True
        try:
            granted = await self._call(
                "resources",
                hooks.resources.allocate_resources,
                workflow_id,
                deepcopy(dict(requirements)),
                tenant=hooks.tenant,
            )
            if not isinstance(granted, bool):
                raise _Failed(f"it returned {_short(granted)} instead of True or False")
        except _Failed as error:
            self._unavailable("resources", error, hooks.tenant)
        return granted

    async def release(self, hooks: HookSet, workflow_id: str) -> None:
        """Give back what the workflow holds. Raises `Unavailable` (HOOK_FAILED): then it is to be tried again."""
        if hooks.resources is UNLIMITED_RESOURCES:
            return
        try:
            await self._call("resources", hooks.resources.release_resources, workflow_id, tenant=hooks.tenant)
        except _Failed as error:
            self._unavailable("resources", error, hooks.tenant)

    async def configuration(self, hooks: HookSet, key: str, default: Any) -> Any:
        """Return the value of `key`, JSON of the same type as `default`. Raises `Unavailable` (HOOK_FAILED)."""
        if hooks.configuration is NO_CONFIGURATION:
            return default
        given = deepcopy(default)  # a hook cannot change what the server goes on with
        try:
            value = _checked_json(
                await self._call("configuration", hooks.configuration.get_config, key, given, tenant=hooks.tenant)
            )
            if not _same_type(value, default):
                raise _Failed(f"for {key} it returned {_short(value)} instead of a value like {_short(default)}")
        except _Failed as error:
            self._unavailable("configuration", error, hooks.tenant)
        return value

    def record(self, hooks: HookSet, event_type: str, resource_id: str, metadata: Mapping[str, Any]) -> None:
        """Tell the telemetry hook of an event, later and in order. Returns at once and never raises."""
        self.recorder.put(hooks, event_type, resource_id, metadata)

    async def close(self, grace_us: int = 1_000_000) -> None:
        """Give queued telemetry `grace_us` to go out, then let the threads go. Hooks that hang are left behind."""
        await self.recorder.close(grace_us / 1_000_000)
        self._threads.close()
        self._telemetry_threads.close()

    async def _record(self, hooks: HookSet, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
        record = hooks.telemetry.record_event
        await self._call(
            "telemetry",
            record,
            threads=self._telemetry_threads,
            tenant=hooks.tenant,
            event_type=event_type,
            resource_id=resource_id,
            metadata=metadata,
        )

    async def _call(
        self,
        name: str,
        hook: Callable[..., Any],
        *arguments: Any,
        direct: bool = False,
        threads: DaemonThreads | None = None,
        tenant: str = "",
        **keywords: Any,
    ) -> Any:
        """Call a hook of any colour within the time limit. Raises `_Failed`, whatever happens in it."""
        ends = time.monotonic() + self._limit
        try:
            if direct or inspect.iscoroutinefunction(hook) or _is_inline(hook):
                answer = hook(*arguments, **keywords)
            else:
                call = (threads or self._threads).submit(lambda: hook(*arguments, **keywords), tenant)
                answer = await _within(call, self._limit)
            if inspect.isawaitable(answer):
                answer = await _within(asyncio.ensure_future(answer), ends - time.monotonic())
        except _Failed as error:
            self.condition.failed(name, error.kind, tenant)
            raise
        except Exception as error:
            self.condition.failed(name, "raised", tenant)
            raise _Failed(f"it raised {type(error).__name__}", "raised") from error
        self.condition.answered(name, tenant)
        return answer

    def _note_nonsense(self, name: str, error: _Failed, tenant: str) -> None:
        if error.kind == "nonsense":
            self.condition.failed(name, error.kind, tenant)  # What raised or hung was counted where it did.

    def _unavailable(self, name: str, error: _Failed, tenant: str) -> NoReturn:
        self._note_nonsense(name, error, tenant)
        _log.error("the %s hook failed: %s", name, error, exc_info=error.__cause__)
        raise Unavailable(
            "HOOK_FAILED", f"the server's {name} hook failed: try again later; the server's log says why"
        ) from None


async def _within(call: asyncio.Future[Any], seconds: float) -> Any:
    # Not asyncio.timeout: that waits until the hook has taken note of its cancellation, which a bad one never does.
    try:
        done, _ = await asyncio.wait({call}, timeout=max(seconds, 0))
    except asyncio.CancelledError:
        _abandon(call)
        raise
    if not done:
        _abandon(call)
        raise _Failed("it did not answer in time", "hung")
    if call.cancelled():
        raise _Failed("it cancelled itself", "raised")
    failure = call.exception()
    if failure is not None:
        raise _Failed(f"it raised {type(failure).__name__}", "raised") from failure
    return call.result()


def _abandon(call: asyncio.Future[Any]) -> None:
    call.cancel()
    # Otherwise asyncio complains of a late exception that nobody looked at.
    call.add_done_callback(lambda late: None if late.cancelled() else late.exception())


def _ask_all(check: Callable[..., Any], operation: str, resource_ids: Sequence[str]) -> list[Any]:
    return [check(operation, resource_id) for resource_id in resource_ids]


async def _ask_in_turn(check: Callable[..., Any], operation: str, resource_ids: Sequence[str]) -> list[Any]:
    return [await check(operation, resource_id) for resource_id in resource_ids]


async def _await_all(answers: list[Any]) -> list[Any]:
    return [await answer if inspect.isawaitable(answer) else answer for answer in answers]


def _is_inline(hook: Callable[..., Any]) -> bool:
    return bool(getattr(hook, INLINE_MARK, False))


def _check_set(hooks: Any) -> None:
    if not isinstance(hooks, HookSet):
        raise _Failed(f"it returned {type(hooks).__name__} instead of a HookSet")
    for field, methods in METHODS.items():
        for method in methods:
            if not callable(getattr(getattr(hooks, field), method, None)):
                raise _Failed(f"its {field} hook has no method {method}")


def _checked_json(value: Any) -> Any:
    try:
        return json_copy(value, JSON_LIMIT)
    except ValueError as error:
        raise _Failed(f"its answer is not usable: {error}") from None


def _same_type(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, list if isinstance(default, tuple) else type(default))


def _short(value: Any) -> str:
    return ascii(value)[:120] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
