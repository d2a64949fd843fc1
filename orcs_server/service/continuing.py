"""What a workflow hands on to the one that continues it: a copy of what was asked and of its document, with how far it is to be trusted."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from orcs_server.agents.earlier import Earlier
from orcs_server.errors import IllegalTransition
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.reading import no_workflow
from orcs_server.service.results import Results
from orcs_server.storage.store import Blob, Snapshot, Store, blob_of
from orcs_server.workflow.model import Output, OutputFormat
from orcs_server.workflow.states import WORKFLOW_TERMINAL


class HandedOn(NamedTuple):
    """What is stored with the new workflow."""

    output: Output
    blob: Blob


class Continuing:
    """Reads what an ended workflow hands on."""

    def __init__(self, *, store: Store, authorisation: Authorisation, results: Results) -> None:
        self._store = store
        self._authorisation = authorisation
        self._results = results

    async def read(self, visit: Visit, workflow_id: str) -> HandedOn:
        """Return what the workflow came to. The caller needs the leave to read its output.

        Raises NotFound, PermissionDenied, and IllegalTransition (OUTPUT_NOT_READY) while it goes on.
        """
        await self._authorisation.check(visit, "workflows.output", workflow_id)
        snapshot = await self._store.snapshot(visit.namespace, workflow_id)
        if snapshot is None:
            raise no_workflow(workflow_id)
        summary = snapshot.summary
        status = summary.progress.status
        if status not in WORKFLOW_TERMINAL:
            raise IllegalTransition(
                "OUTPUT_NOT_READY",
                f"The workflow {workflow_id!r} is {status}: it can be continued once it has ended.",
            )
        query = b"" if summary.spec.query is None else await self._store.blob(visit.namespace, summary.spec.query)
        earlier = Earlier(
            workflow_id,
            summary.spec.title,
            str(status),
            query.decode("utf-8", "replace"),
            await self._result(visit, snapshot),
        )
        blob = blob_of(msgspec.json.encode(earlier))
        untrusted = any(task.progress.output is not None and task.progress.output.untrusted for task in snapshot.tasks)
        inherited = summary.spec.earlier is not None and summary.spec.earlier.untrusted
        return HandedOn(Output(blob.digest, "application/json", len(blob.data), untrusted or inherited), blob)

    async def _result(self, visit: Visit, snapshot: Snapshot) -> str:
        if not snapshot.tasks:
            why = snapshot.summary.progress.failure
            return "It ended without a plan." if why is None else f"It ended without a plan: {why.message}"
        document, _, _ = await self._results.compose(visit, snapshot, OutputFormat.MARKDOWN)
        return document.content.decode("utf-8", "replace")
