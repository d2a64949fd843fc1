-- Memory's statements, by name. `/*columns*/` stands for the columns of a version, in the order in which they are decoded;
-- `/*index*/` for a namespace's text index.

-- name: memory_space
-- What is known of a namespace.
SELECT number, position, time_us, entries, snapshots, indexed FROM memory_spaces WHERE namespace = ?

-- name: add_memory_space
-- Begins a namespace.
INSERT INTO memory_spaces (namespace, position, time_us, entries, snapshots, indexed) VALUES (?, 0, 0, 0, 0, 0)
RETURNING number

-- name: put_memory_space
-- Notes how far a namespace has come.
UPDATE memory_spaces SET position = ?, time_us = ?, entries = ?, snapshots = ?, indexed = ? WHERE number = ?

-- name: memory_head
-- The last version of a key, be it past or not.
SELECT /*columns*/ FROM memory_versions WHERE namespace = ? AND scope = ? AND key = ? ORDER BY version DESC LIMIT 1

-- name: memory_newest
-- The newest version of a key with its value.
SELECT /*columns*/, codec, key_id, bytes
FROM memory_versions LEFT JOIN blobs ON blobs.namespace = memory_versions.namespace AND sha256 = digest
WHERE memory_versions.namespace = ? AND scope = ? AND key = ? AND until IS NULL AND deleted = 0

-- name: memory_version
-- One version of a key.
SELECT /*columns*/ FROM memory_versions WHERE namespace = ? AND scope = ? AND key = ? AND version = ?

-- name: memory_as_of
-- The version of a key that was the newest at a position, or the last one before that is kept.
SELECT /*columns*/ FROM memory_versions
WHERE namespace = ? AND scope = ? AND key = ? AND +position <= ? ORDER BY version DESC LIMIT 1

-- name: memory_oldest_version
-- The number of the oldest version of a key that is kept.
SELECT min(version) FROM memory_versions WHERE namespace = ? AND scope = ? AND key = ?

-- name: memory_history
-- A page of a key's versions, the newest first.
SELECT /*columns*/ FROM memory_versions
WHERE namespace = ? AND scope = ? AND key = ? AND version < ? ORDER BY version DESC LIMIT ?

-- name: memory_all_versions
-- All versions of a key that are kept, the newest first.
SELECT /*columns*/ FROM memory_versions WHERE namespace = ? AND scope = ? AND key = ? ORDER BY version DESC

-- name: memory_page
-- A page of keys that have a value. A further condition is put in the place of the comment.
SELECT /*columns*/ FROM memory_versions
WHERE namespace = ? AND scope = ? AND key > ? AND until IS NULL AND deleted = 0
    AND (expires_us IS NULL OR expires_us > ?) /*conditions*/
ORDER BY key LIMIT ?

-- name: memory_scope_from
-- The first scope from one on that holds anything.
SELECT scope FROM memory_versions WHERE namespace = ? AND scope >= ? ORDER BY scope LIMIT 1

-- name: memory_keys
-- A stretch of a scope's keys that have a value, with the time of each.
SELECT key, time_us FROM memory_versions
WHERE namespace = ? AND scope = ? AND key > ? AND until IS NULL AND deleted = 0
    AND (expires_us IS NULL OR expires_us > ?)
ORDER BY key LIMIT ?

-- name: memory_scope_newest
-- The newest of a scope's versions, of so many, and how many there were.
SELECT max(id), count(*) FROM (
    SELECT id FROM memory_versions INDEXED BY memory_versions_by_key WHERE namespace = ? AND scope = ? LIMIT ?
)

-- name: memory_scope_lately
-- The newest of a scope's versions among the last so many of the namespace.
SELECT max(id) FROM (
    SELECT id, scope FROM memory_versions INDEXED BY memory_log WHERE namespace = ? ORDER BY position DESC LIMIT ?
) WHERE scope = ?

-- name: memory_time_of
-- When a version was written.
SELECT time_us FROM memory_versions WHERE id = ?

-- name: memory_scan
-- A stretch of a scope's versions, key by key. A further condition is put in the place of the comment.
SELECT /*columns*/ FROM memory_versions
WHERE namespace = ? AND scope = ? AND key > ? /*conditions*/ ORDER BY key, version LIMIT ?

-- name: memory_position_from
-- The first change at a position or after it.
SELECT position, time_us FROM memory_versions WHERE namespace = ? AND position >= ? ORDER BY position LIMIT 1

-- name: memory_time_at
-- The time of the last change up to a position.
SELECT time_us FROM memory_versions WHERE namespace = ? AND position <= ? ORDER BY position DESC LIMIT 1

-- name: memory_changes
-- A stretch of the log.
SELECT /*columns*/ FROM memory_versions WHERE namespace = ? AND position > ? ORDER BY position LIMIT ?

-- name: add_memory_version
-- Adds a version.
INSERT INTO memory_versions (
    namespace, scope, key, version, position, past_us, digest, media_type, size, deleted, trust, time_us, expires_us,
    principal, agent, workflow_id, task_id, attempt, origin
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: end_memory_version
-- Notes that a version was followed.
UPDATE memory_versions SET until = ?, past_us = coalesce(past_us, ?) WHERE id = ?

-- name: remove_old_memory_versions
-- Removes the versions of a key up to one, but for those that a snapshot needs.
DELETE FROM memory_versions
WHERE namespace = ? AND scope = ? AND key = ? AND version <= ? AND until IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM memory_snapshots AS held
    WHERE held.namespace = memory_versions.namespace AND held.scope = memory_versions.scope
        AND held.position >= memory_versions.position AND held.position < memory_versions.until
)
RETURNING position, until, digest

-- name: past_memory_versions
-- A page of versions that were past before a time.
SELECT id, past_us, namespace FROM memory_versions
WHERE past_us IS NOT NULL AND (past_us, id) > (?, ?) AND past_us < ? ORDER BY past_us, id LIMIT ?

-- name: remove_past_memory_version
-- Removes a version that is past, but for one that a snapshot needs, and a deletion that older versions still stand behind.
DELETE FROM memory_versions
WHERE id = ? AND past_us < ?
    AND (deleted = 1 OR NOT EXISTS (
        SELECT 1 FROM memory_snapshots AS held
        WHERE held.namespace = memory_versions.namespace AND held.scope = memory_versions.scope
            AND held.position >= memory_versions.position AND held.position < memory_versions.until
    ))
    AND (until IS NOT NULL OR NOT EXISTS (
        SELECT 1 FROM memory_versions AS older
        WHERE older.namespace = memory_versions.namespace AND older.scope = memory_versions.scope
            AND older.key = memory_versions.key AND older.version < memory_versions.version
    ))
RETURNING scope, position, coalesce(until, position), digest

-- name: expired_memory
-- A page of entries that have expired.
SELECT namespace, scope, key FROM memory_versions
WHERE expires_us IS NOT NULL AND until IS NULL AND deleted = 0 AND expires_us <= ? ORDER BY expires_us LIMIT ?

-- name: memory_scope
-- How far back a scope's history is whole.
SELECT horizon, oldest FROM memory_scopes WHERE namespace = ? AND scope = ?

-- name: memory_oldest
-- From which position on the log of a namespace is whole.
SELECT coalesce(max(oldest), 0) FROM memory_scopes WHERE namespace = ?

-- name: raise_memory_scope
-- Notes that a scope's history is not whole before some positions.
INSERT INTO memory_scopes (namespace, scope, horizon, oldest) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET horizon = max(horizon, excluded.horizon), oldest = max(oldest, excluded.oldest)

-- name: add_memory_snapshot
-- Remembers a scope.
INSERT INTO memory_snapshots (namespace, number, scope, position, time_us, title, principal) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: memory_snapshots
-- A page of snapshots, the newest first.
SELECT number, scope, position, time_us, title, principal FROM memory_snapshots
WHERE namespace = ? AND number < ? AND (?3 IS NULL OR scope = ?3) ORDER BY number DESC LIMIT ?4

-- name: count_memory_snapshots
-- How many snapshots a namespace has.
SELECT count(*) FROM memory_snapshots WHERE namespace = ?

-- name: memory_snapshot_at
-- Whether a snapshot keeps a scope as of a position.
SELECT 1 FROM memory_snapshots WHERE namespace = ? AND scope = ? AND position = ?

-- name: remove_memory_snapshot
-- Forgets a snapshot.
DELETE FROM memory_snapshots WHERE namespace = ? AND number = ?

-- name: memory_of_run
-- A page of the keys to which a run has written. Further conditions are put in the place of the comment.
SELECT DISTINCT scope, key FROM memory_versions INDEXED BY memory_versions_by_run
WHERE namespace = ? AND workflow_id = ? AND workflow_id <> '' AND (scope, key) > (?, ?) /*conditions*/
ORDER BY scope, key LIMIT ?

-- name: memory_with_origin
-- A stretch of a namespace's entries.
SELECT /*columns*/ FROM memory_versions INDEXED BY memory_newest
WHERE namespace = ? AND (scope, key) > (?, ?) AND until IS NULL AND deleted = 0 ORDER BY scope, key LIMIT ?

-- name: doomed_memory
-- A page of the versions of a range of keys. A condition is put in the place of the comment.
SELECT id, key, digest, until IS NULL, deleted, position FROM memory_versions
WHERE namespace = ? AND scope = ? /*conditions*/ ORDER BY key, version LIMIT ?

-- name: remove_memory_version
-- Removes a version.
DELETE FROM memory_versions WHERE id = ?

-- name: memory_rules
-- The newest access rules.
SELECT version, time_us, principal, rules FROM memory_rules WHERE namespace = ? ORDER BY version DESC LIMIT 1

-- name: memory_rules_version
-- The access rules of a version.
SELECT version, time_us, principal, rules FROM memory_rules WHERE namespace = ? AND version = ?

-- name: add_memory_rules
-- Stores new access rules.
INSERT INTO memory_rules (namespace, version, time_us, principal, rules) VALUES (?, ?, ?, ?, ?)

-- name: remove_old_memory_rules
-- Lets go of old access rules.
DELETE FROM memory_rules WHERE namespace = ? AND version <= ?

-- name: add_memory_reads
-- Counts reads of a key that has a value.
INSERT INTO memory_reads (namespace, scope, key, reads, last_us)
SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (
    SELECT 1 FROM memory_versions WHERE namespace = ?1 AND scope = ?2 AND key = ?3 AND until IS NULL AND deleted = 0
)
ON CONFLICT DO UPDATE SET reads = reads + excluded.reads, last_us = max(last_us, excluded.last_us)

-- name: count_memory_reads
-- How often a key was read.
SELECT reads FROM memory_reads WHERE namespace = ? AND scope = ? AND key = ?

-- name: hot_memory
-- The keys that were read most.
SELECT scope, key, reads, last_us FROM memory_reads WHERE namespace = ? ORDER BY reads DESC, scope DESC, key DESC LIMIT ?

-- name: remove_memory_reads
-- Forgets how often a key was read.
DELETE FROM memory_reads WHERE namespace = ? AND scope = ? AND key = ?

-- name: read_memory_keys
-- Which of a stretch of keys were read.
SELECT key FROM memory_reads WHERE namespace = ? AND scope = ? AND key >= ? AND key <= ?

-- name: make_memory_index
-- Makes a namespace's text index.
CREATE VIRTUAL TABLE IF NOT EXISTS /*index*/ USING fts5(scope, key, body, tokenize = 'unicode61 remove_diacritics 2')

-- name: index_memory
-- Adds a version to the index.
INSERT INTO /*index*/ (rowid, scope, key, body) VALUES (?, ?, ?, ?)

-- name: unindex_memory
-- Removes a version from the index.
DELETE FROM /*index*/ WHERE rowid = ?

-- name: merge_memory_index
-- Merges a piece of the index's parts: what was removed is in the older ones still. Negative numbers begin anew.
INSERT INTO /*index*/ (/*index*/, rank) VALUES ('merge', ?)

-- name: count_word
-- How many entries hold a word, up to a number.
SELECT count(*) FROM (SELECT 1 FROM /*index*/ WHERE /*index*/ MATCH ? LIMIT ?)

-- name: rank_memory
-- How well entries match words of which few hold any. bm25 is the better the smaller it is.
SELECT rowid, bm25(/*index*/, 0.0, 2.0, 1.0) FROM /*index*/ WHERE /*index*/ MATCH ?

-- name: match_memory
-- The newest entries that match.
SELECT rowid FROM /*index*/ WHERE /*index*/ MATCH ? ORDER BY rowid DESC LIMIT ?

-- name: holds_memory
-- Whether an entry matches.
SELECT 1 FROM /*index*/ WHERE /*index*/ MATCH ? AND rowid = ?

-- name: memory_snippet
-- The part of an entry's text around the words.
SELECT snippet(/*index*/, 2, '', '', '…', 32) FROM /*index*/ WHERE /*index*/ MATCH ? AND rowid = ?

-- name: memory_by_id
-- A version by the store's own number.
SELECT /*columns*/ FROM memory_versions WHERE id = ? AND until IS NULL AND deleted = 0

-- name: migrated_memory
-- All versions with their values.
SELECT memory_versions.namespace, id, scope, key, media_type, until IS NULL, codec, key_id, bytes
FROM memory_versions JOIN blobs ON blobs.namespace = memory_versions.namespace AND sha256 = digest
WHERE deleted = 0 ORDER BY id

-- name: measure_memory
-- Notes how long a value is.
UPDATE memory_versions SET size = ? WHERE id = ?
