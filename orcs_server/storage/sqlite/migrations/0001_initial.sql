-- The log's identity, drawn once. A restore from a backup draws it anew.
CREATE TABLE log (epoch TEXT NOT NULL);
INSERT INTO log (epoch) VALUES (lower(hex(randomblob(8))));

CREATE TABLE workflows (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    status TEXT NOT NULL,
    live INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    wake_at_us INTEGER,
    title TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    progress BLOB NOT NULL,
    spec BLOB NOT NULL,
    caller BLOB,
    PRIMARY KEY (namespace, id)
);
CREATE INDEX workflows_by_age ON workflows (namespace, created_us, id, status);
CREATE INDEX workflows_live ON workflows (created_us, namespace, id) WHERE live = 1;

CREATE TABLE workflow_labels (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (namespace, workflow_id, key)
) WITHOUT ROWID;
CREATE INDEX workflow_labels_by_value ON workflow_labels (namespace, key, value, workflow_id);

CREATE TABLE tasks (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    progress BLOB NOT NULL,
    spec BLOB NOT NULL,
    PRIMARY KEY (namespace, workflow_id, ordinal)
) WITHOUT ROWID;
CREATE UNIQUE INDEX tasks_by_id ON tasks (namespace, workflow_id, id);

CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    cause TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (namespace, workflow_id, seq)
);

CREATE TABLE blobs (
    namespace TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    codec TEXT NOT NULL,
    key_id TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (namespace, sha256)
);

CREATE TABLE blob_uses (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (namespace, workflow_id, sha256)
) WITHOUT ROWID;
CREATE INDEX blob_uses_by_blob ON blob_uses (namespace, sha256);

CREATE TABLE requests (
    namespace TEXT NOT NULL,
    principal TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id TEXT NOT NULL,
    command_hash TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    PRIMARY KEY (namespace, principal, method, request_id)
) WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (created_us);

CREATE TABLE memory_entries (
    namespace TEXT NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    writer TEXT NOT NULL,
    PRIMARY KEY (namespace, scope, key, version)
) WITHOUT ROWID;
CREATE INDEX memory_entries_by_blob ON memory_entries (namespace, digest);
