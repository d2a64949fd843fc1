-- What memory knows of each namespace. The positions of its log are the namespace's own: nobody else's writes show in them.
CREATE TABLE memory_spaces (
    number INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    snapshots INTEGER NOT NULL,
    indexed INTEGER NOT NULL
);

-- Every version of every key. `until` is the position of the version that followed; the newest has none. `past_us` is when it
-- ceased to be something that is read: when it was followed, or, for a deletion, when it was made.
CREATE TABLE memory_versions (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    until INTEGER,
    past_us INTEGER,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    trust INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    expires_us INTEGER,
    principal TEXT NOT NULL,
    agent TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    origin BLOB NOT NULL
);

INSERT INTO memory_versions (
    namespace, scope, key, version, position, digest, media_type, size, deleted, trust, time_us,
    principal, agent, workflow_id, task_id, attempt, origin
)
SELECT namespace, scope, key, version,
    row_number() OVER (PARTITION BY namespace ORDER BY time_us, scope, key, version),
    digest, media_type, 0, deleted, iif(substr(writer, 1, 6) = 'agent:', 1, 2), time_us,
    iif(substr(writer, 1, 6) = 'agent:', '', writer), iif(substr(writer, 1, 6) = 'agent:', substr(writer, 7), ''),
    '', '', 0, X'7B7D'
FROM memory_entries
ORDER BY namespace, time_us, scope, key, version;

CREATE UNIQUE INDEX memory_versions_by_key ON memory_versions (namespace, scope, key, version);

UPDATE memory_versions SET until = following.position, past_us = following.time_us
FROM memory_versions AS following
WHERE following.namespace = memory_versions.namespace AND following.scope = memory_versions.scope
    AND following.key = memory_versions.key AND following.version = memory_versions.version + 1;
UPDATE memory_versions SET past_us = time_us WHERE deleted = 1;

CREATE UNIQUE INDEX memory_newest ON memory_versions (namespace, scope, key) WHERE until IS NULL AND deleted = 0;
CREATE UNIQUE INDEX memory_log ON memory_versions (namespace, position);
CREATE INDEX memory_versions_by_run ON memory_versions (namespace, workflow_id, task_id, attempt)
    WHERE workflow_id <> '';
CREATE INDEX memory_versions_by_blob ON memory_versions (namespace, digest);
CREATE INDEX memory_expiring ON memory_versions (expires_us)
    WHERE expires_us IS NOT NULL AND until IS NULL AND deleted = 0;
CREATE INDEX memory_past ON memory_versions (past_us, id) WHERE past_us IS NOT NULL;

INSERT INTO memory_spaces (namespace, position, time_us, entries, snapshots, indexed)
SELECT namespace, max(position), max(time_us), sum(until IS NULL AND deleted = 0), 0, 0
FROM memory_versions GROUP BY namespace ORDER BY namespace;

DROP TABLE memory_entries;

-- How far back a scope's history is whole: `horizon` for what was read at a position, `oldest` for who follows the log.
CREATE TABLE memory_scopes (
    namespace TEXT NOT NULL,
    scope TEXT NOT NULL,
    horizon INTEGER NOT NULL,
    oldest INTEGER NOT NULL,
    PRIMARY KEY (namespace, scope)
) WITHOUT ROWID;

CREATE TABLE memory_snapshots (
    namespace TEXT NOT NULL,
    number INTEGER NOT NULL,
    scope TEXT NOT NULL,
    position INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    title TEXT NOT NULL,
    principal TEXT NOT NULL,
    PRIMARY KEY (namespace, number)
) WITHOUT ROWID;
CREATE INDEX memory_snapshots_by_position ON memory_snapshots (namespace, scope, position);

-- Who may do what: each change adds a version.
CREATE TABLE memory_rules (
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    principal TEXT NOT NULL,
    rules BLOB NOT NULL,
    PRIMARY KEY (namespace, version)
) WITHOUT ROWID;

-- How often keys were read.
CREATE TABLE memory_reads (
    namespace TEXT NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    reads INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    PRIMARY KEY (namespace, scope, key)
) WITHOUT ROWID;
CREATE INDEX memory_reads_by_count ON memory_reads (namespace, reads);
