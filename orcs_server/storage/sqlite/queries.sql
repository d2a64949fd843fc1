-- Every statement of the SQLite store, by name. `/*rows*/` stands before a tuple that is repeated for each row.

-- name: epoch
-- The log's identity.
SELECT epoch FROM log

-- name: renew_epoch
-- Draws the log's identity anew: cursors that were given out before belong to another log.
UPDATE log SET epoch = lower(hex(randomblob(8)))

-- name: probe
-- A write that changes nothing: whether the disk takes writes again.
UPDATE log SET epoch = epoch

-- name: last_position
-- The newest position ever given, be its event still there or not.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)

-- name: add_workflows
-- Creates workflows; the ids that are taken are passed over and missing from the count.
INSERT OR IGNORE INTO workflows
    (namespace, id, seq, updated_us, progress, wake_at_us, idle, status, live, title, created_us, spec, caller)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: move_workflows
-- Moves workflows on without touching an index; those whose seq is not the expected one are missing from the count.
UPDATE workflows
SET seq = new.column4, updated_us = new.column5, progress = new.column6, wake_at_us = new.column7, idle = new.column8
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?)) AS new
WHERE workflows.namespace = new.column1 AND workflows.id = new.column2 AND workflows.seq = new.column3

-- name: turn_workflows
-- Like move_workflows, for workflows whose status may have changed too.
UPDATE workflows
SET seq = new.column4, updated_us = new.column5, progress = new.column6, wake_at_us = new.column7, idle = new.column8,
    status = new.column9, live = new.column10
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) AS new
WHERE workflows.namespace = new.column1 AND workflows.id = new.column2 AND workflows.seq = new.column3

-- name: respecify_workflow
-- Stores what a workflow is to do, where that was changed.
UPDATE workflows SET spec = ? WHERE namespace = ? AND id = ?

-- name: put_inputs
-- Stores what waits for people, or what came of it.
INSERT OR REPLACE INTO pending_inputs (namespace, workflow_id, ordinal, open, kind, task_id, created_us, body)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_mail
-- Stores messages of people.
INSERT INTO mail (namespace, workflow_id, ordinal, body) VALUES /*rows*/ (?, ?, ?, ?)

-- name: all_inputs
-- All that a workflow ever asked of people, in the order in which it was asked.
SELECT body FROM pending_inputs WHERE namespace = ? AND workflow_id = ? ORDER BY ordinal

-- name: all_mail
-- All messages to a workflow, in the order in which they came.
SELECT body FROM mail WHERE namespace = ? AND workflow_id = ? ORDER BY ordinal

-- name: get_input
-- One thing that was asked of people.
SELECT body FROM pending_inputs WHERE namespace = ? AND workflow_id = ? AND ordinal = ?

-- name: list_inputs
-- A page of what was asked of people in a namespace, oldest first. Further conditions are put in the place of the one comment; a
-- plus in that of the other keeps a single workflow's from being looked for by age among the whole namespace's.
SELECT pending_inputs.workflow_id, workflows.title, pending_inputs.body
FROM pending_inputs
JOIN workflows ON workflows.namespace = pending_inputs.namespace AND workflows.id = pending_inputs.workflow_id
WHERE pending_inputs.namespace = ? /*conditions*/
ORDER BY /*plus*/pending_inputs.created_us, pending_inputs.workflow_id, pending_inputs.ordinal LIMIT ?

-- name: remove_inputs
-- Removes what a workflow asked of people.
DELETE FROM pending_inputs WHERE namespace = ? AND workflow_id = ?

-- name: remove_mail
-- Removes the messages to a workflow.
DELETE FROM mail WHERE namespace = ? AND workflow_id = ?

-- name: remove_read_messages
-- Removes where the conversations of a workflow hold its messages.
DELETE FROM journal_messages WHERE namespace = ? AND workflow_id = ?

-- name: put_read_message
-- Notes where a run's conversation holds a message.
INSERT OR REPLACE INTO journal_messages (namespace, workflow_id, task_id, run, path, turn, position, message_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: cut_read_messages
-- Forgets where messages stood in a conversation from a turn on.
DELETE FROM journal_messages
WHERE namespace = ? AND workflow_id = ? AND task_id = ? AND run = ? AND path = ? AND turn >= ?

-- name: read_messages
-- Where a run's conversation holds which message.
SELECT path, turn, position, message_id FROM journal_messages
WHERE namespace = ? AND workflow_id = ? AND task_id = ? AND run = ? ORDER BY turn, position

-- name: put_frozen
-- Notes that a namespace is frozen, or being thawed.
INSERT OR REPLACE INTO frozen_namespaces (namespace, mode, reason, thawing) VALUES (?, ?, ?, ?)

-- name: remove_frozen
-- Notes that a namespace is not frozen any more.
DELETE FROM frozen_namespaces WHERE namespace = ?

-- name: all_frozen
-- The namespaces that are frozen, or being thawed.
SELECT namespace, mode, reason, thawing FROM frozen_namespaces ORDER BY namespace

-- name: remove_workflow
-- Removes a workflow's row.
DELETE FROM workflows WHERE namespace = ? AND id = ?

-- name: count_known_ids
-- How many events there are of workflows with these ids, tombstones included.
SELECT count(*)
FROM (VALUES /*rows*/ (?, ?)) AS new
CROSS JOIN events ON events.namespace = new.column1 AND events.workflow_id = new.column2

-- name: workflow_seq
-- The stored seq of a workflow.
SELECT seq FROM workflows WHERE namespace = ? AND id = ?

-- name: add_labels
-- Stores a new workflow's labels.
INSERT INTO workflow_labels (namespace, workflow_id, key, value) VALUES /*rows*/ (?, ?, ?, ?)

-- name: remove_labels
-- Removes a workflow's labels.
DELETE FROM workflow_labels WHERE namespace = ? AND workflow_id = ?

-- name: put_tasks
-- Stores tasks that enter or change the plan, spec and progress.
INSERT OR REPLACE INTO tasks (namespace, workflow_id, ordinal, id, status, agent_id, progress, spec)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?)

-- name: move_tasks
-- Moves tasks on: their progress only.
UPDATE tasks
SET status = new.column4, progress = new.column5
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?)) AS new
WHERE tasks.namespace = new.column1 AND tasks.workflow_id = new.column2 AND tasks.ordinal = new.column3

-- name: remove_task
-- Removes a task that left the plan.
DELETE FROM tasks WHERE namespace = ? AND workflow_id = ? AND id = ?

-- name: remove_tasks
-- Removes all tasks of a workflow.
DELETE FROM tasks WHERE namespace = ? AND workflow_id = ?

-- name: add_events
-- Appends events at their positions.
INSERT INTO events (position, namespace, workflow_id, seq, type, schema_version, time_us, actor, cause, body)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: remove_events_before
-- Removes the events of a workflow that come before a seq.
DELETE FROM events WHERE namespace = ? AND workflow_id = ? AND seq < ?

-- name: add_blobs
-- Stores blobs; those that are there already are left alone.
INSERT OR IGNORE INTO blobs (namespace, sha256, codec, key_id, bytes) VALUES /*rows*/ (?, ?, ?, '', ?)

-- name: add_blob_uses
-- Notes which workflow refers to which blob.
INSERT OR IGNORE INTO blob_uses (namespace, workflow_id, sha256) VALUES /*rows*/ (?, ?, ?)

-- name: remove_unshared_blobs
-- Removes the blobs to which nothing but this workflow refers and names them.
DELETE FROM blobs
WHERE namespace = :namespace
    AND sha256 IN (SELECT sha256 FROM blob_uses WHERE namespace = :namespace AND workflow_id = :workflow_id)
    AND NOT EXISTS (
        SELECT 1 FROM blob_uses AS other
        WHERE other.namespace = :namespace AND other.sha256 = blobs.sha256 AND other.workflow_id <> :workflow_id
    )
    AND NOT EXISTS (
        SELECT 1 FROM memory_versions WHERE memory_versions.namespace = :namespace AND digest = blobs.sha256
    )
RETURNING sha256

-- name: look_at_blobs
-- A page of blobs, and whether nothing refers to them.
SELECT namespace, sha256,
    NOT EXISTS (
        SELECT 1 FROM blob_uses AS uses WHERE uses.namespace = blobs.namespace AND uses.sha256 = blobs.sha256
    )
    AND NOT EXISTS (
        SELECT 1 FROM memory_versions AS entries
        WHERE entries.namespace = blobs.namespace AND entries.digest = blobs.sha256
    )
FROM blobs WHERE (namespace, sha256) > (?, ?) ORDER BY namespace, sha256 LIMIT ?

-- name: remove_unused_blob
-- Removes a blob, if still nothing refers to it.
DELETE FROM blobs
WHERE namespace = ? AND sha256 = ? AND
    NOT EXISTS (
        SELECT 1 FROM blob_uses AS uses WHERE uses.namespace = blobs.namespace AND uses.sha256 = blobs.sha256
    )
    AND NOT EXISTS (
        SELECT 1 FROM memory_versions AS entries
        WHERE entries.namespace = blobs.namespace AND entries.digest = blobs.sha256
    )

-- name: remove_blob_uses
-- Forgets to which blobs a workflow refers.
DELETE FROM blob_uses WHERE namespace = ? AND workflow_id = ?

-- name: add_requests
-- Remembers requests; those known already are passed over and missing from the count.
INSERT OR IGNORE INTO requests
    (namespace, principal, method, request_id, command_hash, workflow_id, seq, created_us, answer)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: find_request
-- What a request led to.
SELECT command_hash, workflow_id, seq, created_us, answer FROM requests
WHERE namespace = ? AND principal = ? AND method = ? AND request_id = ?

-- name: prune_requests
-- Forgets some old requests.
DELETE FROM requests
WHERE (namespace, principal, method, request_id) IN (
    SELECT namespace, principal, method, request_id FROM requests WHERE created_us < ? LIMIT ?
)

-- name: get_workflow
-- A workflow's row.
SELECT id, seq, updated_us, progress, spec, caller FROM workflows WHERE namespace = ? AND id = ?

-- name: live_workflows
-- The workflows that a restarted server has to look after, oldest first.
SELECT namespace, id, wake_at_us, idle FROM workflows WHERE live = 1 ORDER BY created_us, namespace, id

-- name: next_namespace
-- The first namespace, from one on, that has workflows.
SELECT min(namespace) FROM workflows WHERE namespace >= ?

-- name: finished_workflows
-- The settled workflows of a namespace that are older than a time. What finished before it was created before it, too: so
-- the index by age leads past all that are younger.
SELECT namespace, created_us, id FROM workflows
WHERE namespace = ? AND (created_us, id) > (?, ?) AND created_us < ? AND live = 0 AND updated_us < ?
ORDER BY created_us, id LIMIT ?

-- name: list_workflows
-- A page of workflows, newest first. Further conditions are put in the place of the comment.
SELECT id, seq, updated_us, progress, spec, caller FROM workflows
WHERE namespace = ? /*conditions*/
ORDER BY created_us DESC, id DESC LIMIT ?

-- name: all_tasks
-- All tasks of a workflow, by ordinal.
SELECT ordinal, spec, progress FROM tasks WHERE namespace = ? AND workflow_id = ? ORDER BY ordinal

-- name: list_tasks
-- A page of tasks, by ordinal. A further condition is put in the place of the comment.
SELECT ordinal, spec, progress FROM tasks
WHERE namespace = ? AND workflow_id = ? AND ordinal > ? /*conditions*/
ORDER BY ordinal LIMIT ?

-- name: get_task
-- A task's row.
SELECT ordinal, spec, progress FROM tasks WHERE namespace = ? AND workflow_id = ? AND id = ?

-- name: events
-- A page of a workflow's events, by seq.
SELECT namespace, workflow_id, seq, time_us, actor, cause, position, type, schema_version, body FROM events
WHERE namespace = ? AND workflow_id = ? AND seq > ? ORDER BY seq LIMIT ?

-- name: events_after_position
-- A page of a namespace's events, by position. The plus keeps the planner from sorting all events of the namespace.
SELECT namespace, workflow_id, seq, time_us, actor, cause, position, type, schema_version, body FROM events
WHERE position > ? AND +namespace = ? ORDER BY position LIMIT ?

-- name: oldest_seq
-- The seq of a workflow's oldest event.
SELECT min(seq) FROM events WHERE namespace = ? AND workflow_id = ?

-- name: get_blob
-- A blob's row.
SELECT codec, key_id, bytes FROM blobs WHERE namespace = ? AND sha256 = ?

-- name: journal_writer
-- The attempt that writes a run's journal.
SELECT attempt FROM journals WHERE namespace = ? AND workflow_id = ? AND task_id = ? AND run = ?

-- name: take_over_journal
-- Makes an attempt the one that writes a run's journal; what it has consumed counts from nothing.
INSERT INTO journals (namespace, workflow_id, task_id, run, attempt, grown_in) VALUES (?, ?, ?, ?, ?, 0)
ON CONFLICT DO UPDATE SET attempt = excluded.attempt, calls = 0, usage = X'7B7D' WHERE attempt < excluded.attempt

-- name: journal_head
-- A run's row: which attempt writes, which one stored a finished call last, what the writing one has consumed. No row without
-- the workflow.
SELECT coalesce(attempt, 0), coalesce(grown_in, 0), coalesce(calls, 0), coalesce(usage, X'7B7D')
FROM workflows LEFT JOIN journals
    ON journals.namespace = workflows.namespace AND journals.workflow_id = workflows.id
    AND journals.task_id = ? AND journals.run = ?
WHERE workflows.namespace = ? AND workflows.id = ?

-- name: put_journals
-- Stores the rows of runs.
INSERT OR REPLACE INTO journals (namespace, workflow_id, task_id, run, attempt, grown_in, calls, usage)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?)

-- name: journal_heads
-- How far the runs of each task have come, the latest run last.
SELECT task_id, attempt, calls, usage, grown_in FROM journals
WHERE namespace = ? AND workflow_id = ? ORDER BY task_id, attempt

-- name: add_model_calls
-- Stores finished model calls; what another course of the run left in their places is replaced.
INSERT OR REPLACE INTO journal_model_calls
    (namespace, workflow_id, task_id, run, path, turn, input_hash, response)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_tool_calls
-- Stores that tool calls were started, or what came of them.
INSERT OR REPLACE INTO journal_tool_calls
    (namespace, workflow_id, task_id, run, path, call_id, tool, repeatable, result, dropped)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: cut_model_calls
-- Removes the model calls of a path from a turn on.
DELETE FROM journal_model_calls
WHERE namespace = ? AND workflow_id = ? AND task_id = ? AND run = ? AND path = ? AND turn >= ?

-- name: model_calls
-- The finished model calls of a run.
SELECT path, turn, input_hash, response FROM journal_model_calls
WHERE namespace = ? AND workflow_id = ? AND task_id = ? AND run = ? ORDER BY path, turn

-- name: tool_calls
-- The tool calls of a run.
SELECT path, call_id, tool, repeatable, result, dropped FROM journal_tool_calls
WHERE namespace = ? AND workflow_id = ? AND task_id = ? AND run = ? ORDER BY path, call_id

-- name: remove_journals
-- Removes which attempts write a workflow's journals.
DELETE FROM journals WHERE namespace = ? AND workflow_id = ?

-- name: remove_model_calls
-- Removes the model calls of a workflow.
DELETE FROM journal_model_calls WHERE namespace = ? AND workflow_id = ?

-- name: remove_tool_calls
-- Removes the tool calls of a workflow.
DELETE FROM journal_tool_calls WHERE namespace = ? AND workflow_id = ?

-- name: all_workflows
-- The identities of all workflows.
SELECT namespace, id FROM workflows ORDER BY namespace, id

-- name: workflow_columns
-- What a workflow's row says for queries, beside what it says for restart.
SELECT seq, status, live, idle, wake_at_us, progress, spec FROM workflows WHERE namespace = ? AND id = ?

-- name: all_events
-- All events of a workflow, by seq.
SELECT seq, position, time_us, type, schema_version, body FROM events
WHERE namespace = ? AND workflow_id = ? ORDER BY seq

-- name: all_blob_uses
-- The blobs to which a workflow refers.
SELECT sha256 FROM blob_uses WHERE namespace = ? AND workflow_id = ?

-- name: all_blobs
-- All blobs, one by one.
SELECT namespace, sha256, codec, key_id, CAST(bytes AS BLOB) FROM blobs

-- name: census
-- How many workflows, live workflows, events and blobs there are.
SELECT
    (SELECT count(*) FROM workflows), (SELECT count(*) FROM workflows WHERE live = 1),
    (SELECT count(*) FROM events), (SELECT count(*) FROM blobs)

-- name: rows_without_workflow
-- Rows that belong to a workflow that is not there.
SELECT 'tasks', namespace, workflow_id, count(*) FROM tasks
WHERE NOT EXISTS (SELECT 1 FROM workflows WHERE workflows.namespace = tasks.namespace AND id = workflow_id)
GROUP BY namespace, workflow_id
UNION ALL
SELECT 'labels', namespace, workflow_id, count(*) FROM workflow_labels AS labels
WHERE NOT EXISTS (SELECT 1 FROM workflows WHERE workflows.namespace = labels.namespace AND id = workflow_id)
GROUP BY namespace, workflow_id
UNION ALL
SELECT 'notes of blobs', namespace, workflow_id, count(*) FROM blob_uses AS uses
WHERE NOT EXISTS (SELECT 1 FROM workflows WHERE workflows.namespace = uses.namespace AND id = workflow_id)
GROUP BY namespace, workflow_id
UNION ALL
SELECT 'events', namespace, workflow_id, count(*) FROM events
WHERE NOT EXISTS (SELECT 1 FROM workflows WHERE workflows.namespace = events.namespace AND id = workflow_id)
GROUP BY namespace, workflow_id
HAVING count(*) > 1 OR max(type) <> 'WorkflowDeleted'

-- name: missing_blobs
-- Blobs to which something refers and that are not there.
SELECT namespace, 'workflow ' || workflow_id, sha256 FROM blob_uses AS uses
WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.namespace = uses.namespace AND blobs.sha256 = uses.sha256)
UNION ALL
SELECT namespace, 'memory ' || scope || '/' || key, digest FROM memory_versions AS entries
WHERE deleted = 0
    AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.namespace = entries.namespace AND sha256 = digest)

-- name: count_unused_blobs
-- How many blobs there are to which nothing refers, and their bytes.
SELECT count(*), coalesce(sum(length(bytes)), 0) FROM blobs
WHERE NOT EXISTS (
        SELECT 1 FROM blob_uses AS uses WHERE uses.namespace = blobs.namespace AND uses.sha256 = blobs.sha256
    )
    AND NOT EXISTS (
        SELECT 1 FROM memory_versions AS entries
        WHERE entries.namespace = blobs.namespace AND entries.digest = blobs.sha256
    )

-- name: add_usage
-- Adds to days of the ledger.
INSERT INTO usage_days (
    namespace, day, requests, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_micros,
    attempts, created, completed, failed, cancelled
)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, input_tokens = input_tokens + excluded.input_tokens,
    cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens, cost_micros = cost_micros + excluded.cost_micros,
    attempts = attempts + excluded.attempts, created = created + excluded.created,
    completed = completed + excluded.completed, failed = failed + excluded.failed,
    cancelled = cancelled + excluded.cancelled

-- name: usage_days
-- Days of a namespace's ledger, the latest first.
SELECT day, requests, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_micros,
    attempts, created, completed, failed, cancelled
FROM usage_days WHERE namespace = ? AND day BETWEEN ? AND ? ORDER BY day DESC

-- name: usage_of_all
-- One day of all namespaces' ledgers.
SELECT namespace, day, requests, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_micros,
    attempts, created, completed, failed, cancelled
FROM usage_days WHERE day = ?

-- name: prune_usage
-- Forgets some old days of the ledger.
DELETE FROM usage_days
WHERE (namespace, day) IN (SELECT namespace, day FROM usage_days WHERE day < ? LIMIT ?)

-- name: holdings
-- What a namespace holds.
SELECT bytes, workflows FROM holdings WHERE namespace = ?

-- name: wrong_holdings
-- The namespaces of which it is noted that they hold something else than they do.
SELECT namespace, sum(noted), sum(size), sum(workflows), sum(live) FROM (
    SELECT namespace, bytes AS noted, 0 AS size, workflows, 0 AS live FROM holdings
    UNION ALL
    SELECT namespace, 0, length(bytes), 0, 0 FROM blobs
    UNION ALL
    SELECT namespace, 0, length(body), 0, 0 FROM events
    UNION ALL
    SELECT namespace, 0, 0, 0, status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED') FROM workflows
)
GROUP BY namespace HAVING sum(noted) <> sum(size) OR sum(workflows) <> sum(live) ORDER BY namespace
