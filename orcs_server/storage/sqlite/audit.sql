-- Every statement about the audit log, by name. `/*rows*/` stands before a tuple that is repeated for each row.

-- name: add_audit_records
-- Adds records.
INSERT INTO audit_records
    (namespace, number, time_us, principal, roles, operation, method, resource, outcome, request_id, peer, agent, workflow_id,
     task_id, details, previous_hash, hash)
VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: audit_chain
-- Where a chain ends and begins.
SELECT number, hash, removed, removed_hash FROM audit_chains WHERE namespace = ?

-- name: all_audit_chains
-- All chains, that of the server first.
SELECT namespace, number, hash, removed, removed_hash FROM audit_chains ORDER BY namespace

-- name: stray_audit_records
-- The namespaces that have records and no chain.
SELECT DISTINCT namespace FROM audit_records WHERE namespace NOT IN (SELECT namespace FROM audit_chains) ORDER BY namespace

-- name: end_audit_chain
-- Notes where a chain ends now.
INSERT INTO audit_chains (namespace, number, hash) VALUES (?, ?, ?)
ON CONFLICT (namespace) DO UPDATE SET number = excluded.number, hash = excluded.hash

-- name: cut_audit_chain
-- Notes the last record that was removed from a chain's beginning.
UPDATE audit_chains SET removed = ?, removed_hash = ? WHERE namespace = ?

-- name: audit_records
-- A chain's records after a number, in its order.
SELECT number, time_us, principal, roles, operation, method, resource, outcome, request_id, peer, agent, workflow_id, task_id,
    details, previous_hash, hash
FROM audit_records WHERE namespace = ? AND number > ? ORDER BY number LIMIT ?

-- name: find_audit_records
-- Those of a chain's records between two numbers that fit, in its order or the other way round.
SELECT number, time_us, principal, roles, operation, method, resource, outcome, request_id, peer, agent, workflow_id, task_id,
    details, previous_hash, hash
FROM audit_records WHERE namespace = ? AND number BETWEEN ? AND ? /*conditions*/ ORDER BY number /*order*/ LIMIT ?

-- name: old_audit_chains
-- The chains whose oldest record is older than a time.
SELECT namespace FROM audit_chains AS chain
WHERE EXISTS (
    SELECT 1 FROM audit_records AS oldest
    WHERE oldest.namespace = chain.namespace AND oldest.number = chain.removed + 1 AND oldest.time_us < ?
)
ORDER BY namespace

-- name: remove_audit_records
-- Removes a chain's records up to a number.
DELETE FROM audit_records WHERE namespace = ? AND number <= ?
