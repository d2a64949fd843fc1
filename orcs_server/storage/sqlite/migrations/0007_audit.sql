-- Who did what: one chain of records for each namespace, and one for the server itself, whose namespace is ''.
CREATE TABLE audit_records (
    namespace TEXT NOT NULL,
    number INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    principal TEXT NOT NULL,
    roles TEXT NOT NULL,
    operation TEXT NOT NULL,
    method TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL,
    request_id TEXT NOT NULL,
    peer TEXT NOT NULL,
    agent TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    details TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (namespace, number)
) WITHOUT ROWID;

-- Where each chain ends, and the last record that retention has removed from its beginning (0: none).
CREATE TABLE audit_chains (
    namespace TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    hash TEXT NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0,
    removed_hash TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
