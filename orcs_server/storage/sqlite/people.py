"""The rows of what waits for people, and of the namespaces that are frozen."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from orcs_server.storage.audit import AuditDraft
from orcs_server.storage.codec import decode_input
from orcs_server.storage.people import Freeze, InputFilter, InputKey, StoredInput
from orcs_server.storage.sqlite import audit
from orcs_server.storage.sqlite.batch import Change, add_request
from orcs_server.storage.sqlite.decoding import any_of
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.storage.store import RequestRecord
from orcs_server.workflow.model import StopMode
from orcs_server.workflow.people import PendingInput

_INPUT_ID = re.compile("i([1-9][0-9]{0,8})")


def inputs(
    reader: Reader, namespace: str, where: InputFilter, page_size: int, after: InputKey | None
) -> list[StoredInput]:
    """Return a page of what was asked of people, oldest first."""
    conditions: list[str] = []
    parameters: list[Any] = [namespace]
    plus = "+" if where.workflow_id else ""
    if where.open_only:
        conditions.append(f"AND {plus}open = 1")
    if where.kinds:
        conditions.append(any_of("kind", where.kinds))
        parameters += where.kinds
    for column, wanted in (("workflow_id", where.workflow_id), ("task_id", where.task_id)):
        if wanted:
            conditions.append(f"AND pending_inputs.{column} = ?")
            parameters.append(wanted)
    if after is not None:
        conditions.append(
            f"AND ({plus}pending_inputs.created_us, pending_inputs.workflow_id, pending_inputs.ordinal) > (?, ?, ?)"
        )
        parameters += after
    query = QUERIES["list_inputs"].replace("/*conditions*/", " ".join(conditions)).replace("/*plus*/", plus)
    rows: list[Any] = reader.page(query, (*parameters, page_size))
    return [StoredInput(workflow_id, title, decode_input(body)) for workflow_id, title, body in rows]


def one_input(reader: Reader, namespace: str, workflow_id: str, input_id: str) -> PendingInput | None:
    """Return one of a workflow's inputs."""
    named = _INPUT_ID.fullmatch(input_id)
    row = None if named is None else reader.one(QUERIES["get_input"], (namespace, workflow_id, int(named[1])))
    return None if row is None else decode_input(row[0])


def freezes(reader: Reader) -> list[Freeze]:
    """Return the namespaces that are frozen, or being thawed."""
    rows: list[Any] = reader.page(QUERIES["all_frozen"], ())
    return [Freeze(namespace, StopMode(mode), reason, bool(thawing)) for namespace, mode, reason, thawing in rows]


def put_freeze(freeze: Freeze, request: RequestRecord | None, draft: AuditDraft | None) -> Change:
    """Return the change that notes it, its request, and who wanted it. Raises DuplicateRequest when that was carried out before."""
    row = (freeze.namespace, freeze.mode, freeze.reason, freeze.thawing)

    def put(connection: sqlite3.Connection) -> None:
        if request is not None:
            add_request(connection, request)
        connection.execute(QUERIES["put_frozen"], row)
        if draft is not None:
            audit.append(connection, [(freeze.namespace, draft)])

    return Change(put)


def end_freeze(namespace: str) -> Change:
    """Return the change that forgets it."""
    return Change(lambda connection: connection.execute(QUERIES["remove_frozen"], (namespace,)).rowcount)
