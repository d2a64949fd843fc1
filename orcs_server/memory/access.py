"""Who may do what with memory: the one place that is asked, for agents' tools as for RPCs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Self

import msgspec
from msgspec import Struct

from orcs_server.errors import InvalidArgument, PermissionDenied, Violation
from orcs_server.memory.scopes import (
    GLOBAL,
    agent_scope,
    check_prefix,
    is_scope,
    short,
    task_scope,
    workflow_scope,
)
from orcs_server.storage.codec import damaged
from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.memory_rows import StoredRules, Trust, Writer
from orcs_server.storage.once import twin

RULES_LIMIT: Final = 200
SUBJECT_LIMIT: Final = 256
DECODED_LIMIT: Final = 1024
"""Namespaces whose rules are kept decoded."""
SCOPES_NAMED: Final = 8
"""Scopes that a refusal names as those to use instead."""
_log = logging.getLogger("orcs.memory")


class Permission(StrEnum):
    """What may be done with an entry."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    SHARE = "share"
    """Put a copy of it into another scope, where one may write."""


_PERMISSIONS: Final = frozenset(permission.value for permission in Permission)


class Rule(Struct, frozen=True, omit_defaults=True):
    """Grants, or with `allow=False` forbids, something beyond what is so by default. What is forbidden is not granted."""

    subject: str
    """`agent:NAME`, `workflow:ID` (whoever works for it), `client:PRINCIPAL`, `agent:*`, `client:*`, or `*`."""
    scope: str
    """A scope; or `*`, `workflow:*`, `task:*`, `task:WORKFLOW_ID/*`, `agent:*`, `shared:*`."""
    permissions: tuple[Permission, ...]
    prefix: str = ""
    """Of the keys. `a` is the beginning of `ab` too: end it with the separator of your keys."""
    allow: bool = True


class RuleSet(NamedTuple):
    """The access rules of a namespace."""

    version: int
    """0: none were ever set."""
    rules: tuple[Rule, ...]


class Actor(Struct, frozen=True):
    """Who uses memory: a client, or an agent at work."""

    principal: str = ""
    agent: str = ""
    workflow_id: str = ""
    task_id: str = ""
    attempt: int = 0
    operator: bool = False
    """A client that runs the server: what it writes is most trusted."""

    @property
    def trust(self) -> Trust:
        """How far what it writes may be trusted, if it has read nothing."""
        if self.agent:
            return Trust.AGENT
        return Trust.OPERATOR if self.operator else Trust.CLIENT

    @property
    def writer(self) -> Writer:
        """Return it as it is named with what it writes."""
        return Writer(self.principal, self.agent, self.workflow_id, self.task_id, self.attempt)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes in which it looks for a key where none is named, the narrowest first."""
        task = (task_scope(self.workflow_id, self.task_id),) if self.workflow_id and self.task_id else ()
        workflow = (workflow_scope(self.workflow_id),) if self.workflow_id else ()
        return (*task, *workflow, *((agent_scope(self.agent),) if self.agent else ()), GLOBAL)

    @property
    def subjects(self) -> tuple[str, ...]:
        """What a rule may call it."""
        if not self.agent:
            return (f"client:{self.principal}", "client:*", "*")
        workflow = (f"workflow:{self.workflow_id}",) if self.workflow_id else ()
        return (f"agent:{self.agent}", *workflow, "agent:*", "*")

    def may_by_default(self, permission: Permission, scope: str) -> bool:
        """Say what is so without rules.

        A client may do everything: what it may call at all is for its roles to say. An agent reads where it looks for keys, and
        writes, deletes and shares only in the scopes of its task and its workflow.
        """
        if not self.agent:
            return True
        if permission is Permission.READ:
            return scope in self.scopes
        return scope in self.scopes and scope.startswith(("task:", "workflow:"))


class Refusal(NamedTuple):
    """Something that was not allowed."""

    namespace: str
    actor: Actor
    permission: str
    scope: str
    key: str


OnRefusal = Callable[[Refusal], object]
"""Is told of every refusal; what it raises is logged and changes nothing."""


def log_refusal(refusal: Refusal) -> None:
    """Log what an agent or a client was not allowed to do with memory."""
    _log.warning(
        "memory: %s was refused",
        refusal.permission,
        extra={
            "namespace": refusal.namespace,
            "principal": refusal.actor.principal,
            "agent": refusal.actor.agent,
            "workflow": refusal.actor.workflow_id,
            "task": refusal.actor.task_id,
            "scope": refusal.scope,
            "key": refusal.key,
        },
    )


class View:
    """What one actor may do, by the rules as they were when it was made."""

    def __init__(self, namespace: str, actor: Actor, rules: Sequence[Rule], on_refusal: OnRefusal | None) -> None:
        self.actor = actor
        self._namespace = namespace
        subjects = actor.subjects if rules else ()
        self._rules = [rule for rule in rules if rule.subject in subjects]
        self._on_refusal = on_refusal
        self._fitting: dict[tuple[Permission, str], list[Rule]] = {}

    def may(self, permission: Permission, scope: str, key: str) -> bool:
        """Say whether the actor may do this with the key."""
        fitting = [rule.allow for rule in self._of(permission, scope) if key.startswith(rule.prefix)]
        return all(fitting) and (bool(fitting) or self.actor.may_by_default(permission, scope))

    def may_some(self, permission: Permission, scope: str, prefix: str = "") -> bool:
        """Say whether there can be a key with this prefix with which the actor may do this."""
        if self.actor.may_by_default(permission, scope):
            return True
        return any(
            rule.allow and (rule.prefix.startswith(prefix) or prefix.startswith(rule.prefix))
            for rule in self._of(permission, scope)
        )

    def may_all(self, permission: Permission, scope: str) -> bool:
        """Say whether the actor may do this with every key of the scope."""
        fitting = self._of(permission, scope)
        granted = self.actor.may_by_default(permission, scope) or any(
            rule.allow and not rule.prefix for rule in fitting
        )
        return granted and all(rule.allow for rule in fitting)

    def readable(self) -> tuple[str, ...] | None:
        """Return the scopes in which the actor may read something, where they can be named one by one; None otherwise."""
        granted = [rule.scope for rule in self._rules if rule.allow and Permission.READ in rule.permissions]
        if not self.actor.agent or any(scope.endswith("*") for scope in granted):
            return None
        return tuple(dict.fromkeys((*self.actor.scopes, *granted)))

    def require(self, permission: Permission, scope: str, key: str) -> None:
        """Raise PermissionDenied, and tell of it, unless the actor may do this with the key."""
        if not self.may(permission, scope, key):
            raise self.refuse(permission, scope, key)

    def require_some(self, permission: Permission, scope: str, prefix: str = "") -> None:
        """Raise PermissionDenied, and tell of it, where the actor may do this with no key of the scope."""
        if not self.may_some(permission, scope, prefix):
            raise self.refuse(permission, scope, prefix)

    def require_all(self, permissions: Sequence[Permission], scope: str) -> None:
        """Raise PermissionDenied, and tell of it, unless the actor may do this with every key of the scope."""
        for permission in permissions:
            if not self.may_all(permission, scope):
                raise self.refuse(permission, scope, "")

    def require_client(self, action: str, scope: str = "") -> None:
        """Raise PermissionDenied, and tell of it, for an agent: some things are not for them, whatever the rules say."""
        if self.actor.agent:
            raise self.refuse(action, scope, "")

    def refuse(self, permission: str, scope: str, key: str) -> PermissionDenied:
        """Return the error, and tell of it."""
        if self._on_refusal is None:
            _log.info("%s may not %s in %s", self.actor.subjects[0], permission, short(scope))
        else:
            try:
                self._on_refusal(Refusal(self._namespace, self.actor, permission, scope, key))
            except Exception:  # noqa: BLE001  # a refusal stands, whatever becomes of its record
                _log.exception("a refusal of memory could not be recorded")
        who = f"The agent {self.actor.agent}" if self.actor.agent else "The caller"
        return PermissionDenied(
            "PERMISSION_DENIED", f"{who} may not {_done(permission, scope)}: {self._instead(permission, key)}."
        )

    def _instead(self, permission: str, key: str) -> str:
        """Say what the actor may do instead of what was refused: only what is really granted."""
        if permission not in _PERMISSIONS:
            return "this is for clients, never for agents"
        if not self.actor.agent:
            return "use what the access rules grant, or ask for a grant"
        granted = self._granted(Permission(permission), key)
        shown = ", ".join(granted[:SCOPES_NAMED]) + (" and others" if len(granted) > SCOPES_NAMED else "")
        return f"use {shown}, or ask for a grant" if granted else "ask for a grant"

    def _granted(self, permission: Permission, key: str) -> list[str]:
        """Return the scopes in which the actor may do this with the key: its own, and those that rules name one by one."""
        named = (rule.scope for rule in self._rules if rule.allow and not rule.scope.endswith("*"))
        return [one for one in dict.fromkeys((*self.actor.scopes, *named)) if self.may(permission, one, key)]

    def _of(self, permission: Permission, scope: str) -> list[Rule]:
        fitting = self._fitting.get((permission, scope))
        if fitting is None:
            fitting = [rule for rule in self._rules if permission in rule.permissions and _covers(rule.scope, scope)]
            self._fitting[permission, scope] = fitting
        return fitting


def _done(permission: str, scope: str) -> str:
    """Say what was refused."""
    what = f"{permission} this" if permission in _PERMISSIONS else permission
    return f"{what} in {short(scope)[:100]}" if scope else what


class AccessControl:
    """The access rules of all namespaces: read with each use, so that a change counts at once."""

    def __init__(self, store: MemoryStore, on_refusal: OnRefusal | None = None) -> None:
        self._store = store
        self._on_refusal = on_refusal
        self._decoded: dict[str, RuleSet] = {}

    def bound(self, store: MemoryStore) -> Self:
        """Return this for another face of the same store."""
        bound = twin(self)
        bound._store = store  # noqa: SLF001 - its own kind
        return bound

    async def view(self, namespace: str, actor: Actor) -> View:
        """Return what an actor may do."""
        return View(namespace, actor, (await self.rules(namespace)).rules, self._on_refusal)

    async def rules(self, namespace: str, version: int | None = None) -> RuleSet:
        """Return the rules: the newest, or those of a version, which are none where it is not kept."""
        stored = await self._store.rules(namespace, version)
        if stored is None:
            return RuleSet(0, ())
        known = self._decoded.get(namespace)
        if known is None or known.version != stored.version:
            known = RuleSet(stored.version, _decode(stored))
            if version is None:
                if len(self._decoded) >= DECODED_LIMIT:
                    self._decoded.clear()
                self._decoded[namespace] = known
        return known

    async def set_rules(
        self, namespace: str, actor: Actor, rules: Sequence[Rule], time_us: int, expected: int | None = None
    ) -> int:
        """Store new rules as a new version and return its number. Agents may not.

        Raises InvalidArgument (FIELD_INVALID) with all that is wrong, Conflict (MEMORY_VERSION_STALE).
        """
        (await self.view(namespace, actor)).require_client("set the access rules")
        check_rules(rules)
        return await self._store.put_rules(namespace, _encode(rules), actor.principal, time_us, expected)


def _encode(rules: Sequence[Rule]) -> bytes:
    return msgspec.json.encode(list(rules))


def rules_digest(rules: Sequence[Rule]) -> str:
    """Return the SHA-256 of rules as they are stored."""
    return hashlib.sha256(_encode(rules)).hexdigest()


def check_rules(rules: Sequence[Rule]) -> None:
    """Raise InvalidArgument (FIELD_INVALID) with everything that is wrong with these rules."""
    violations: list[Violation] = []
    if len(rules) > RULES_LIMIT:
        violations.append(Violation("rules", f"{len(rules)} rules are more than the {RULES_LIMIT} allowed."))
    for number, rule in enumerate(rules[:RULES_LIMIT]):
        where = f"rules[{number}]"
        if not _is_subject(rule.subject):
            text = f"{short(rule.subject)} is no subject: use agent:NAME, workflow:ID, client:PRINCIPAL, agent:*, client:* or *."
            violations.append(Violation(f"{where}.subject", text))
        if not is_scope(rule.scope) and not _is_pattern(rule.scope):
            text = f"{short(rule.scope)} is no scope: use one, or *, workflow:*, task:*, task:WORKFLOW_ID/*, agent:*, shared:*."
            violations.append(Violation(f"{where}.scope", text))
        if not rule.permissions:
            violations.append(Violation(f"{where}.permissions", "A rule without permissions says nothing: name some."))
        try:
            check_prefix(rule.prefix, f"{where}.prefix")
        except InvalidArgument as error:
            violations += error.violations
    if violations:
        raise InvalidArgument("FIELD_INVALID", violations[0].description, tuple(violations))


def _is_subject(subject: str) -> bool:
    kind, _, name = subject.partition(":")
    if kind == "client":
        return 0 < len(name) <= SUBJECT_LIMIT and name.isprintable()
    return subject in ("*", "agent:*") or (kind in ("agent", "workflow") and is_scope(subject))


def _is_pattern(scope: str) -> bool:
    task = scope.startswith("task:") and scope.endswith("/*") and is_scope(f"workflow:{scope[5:-2]}")
    return task or scope in ("*", "workflow:*", "task:*", "agent:*", "shared:*")


def _covers(pattern: str, scope: str) -> bool:
    return pattern == scope or (pattern.endswith("*") and scope.startswith(pattern[:-1]))


def _decode(stored: StoredRules) -> tuple[Rule, ...]:
    try:
        return tuple(msgspec.json.decode(stored.rules, type=list[Rule]))
    except msgspec.MsgspecError as error:
        raise damaged("the access rules of memory") from error
