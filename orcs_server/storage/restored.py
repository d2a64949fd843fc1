"""The state of a workflow from what the store gives back of it."""

from __future__ import annotations

from orcs_server.storage.store import Snapshot, StoredWorkflow
from orcs_server.workflow.restore import restore
from orcs_server.workflow.state import WorkflowState


def restored(namespace: str, workflow_id: str, stored: StoredWorkflow) -> WorkflowState:
    """Return the state whose rows these are."""
    return restore(namespace, workflow_id, stored.spec, stored.progress, stored.tasks, stored.inputs, stored.mail)


def restored_snapshot(snapshot: Snapshot) -> WorkflowState:
    """Return the state as of the snapshot."""
    summary = snapshot.summary
    return restore(
        summary.namespace, summary.id, summary.spec, summary.progress, snapshot.tasks, snapshot.inputs, snapshot.mail
    )
