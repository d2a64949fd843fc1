-- What waits, or waited, for people. The columns beside the body are for the inbox.
CREATE TABLE pending_inputs (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    open INTEGER NOT NULL,
    kind TEXT NOT NULL,
    task_id TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (namespace, workflow_id, ordinal)
) WITHOUT ROWID;
CREATE INDEX pending_inputs_by_age ON pending_inputs (namespace, open, created_us, workflow_id, ordinal);
CREATE INDEX pending_inputs_in_order ON pending_inputs (namespace, created_us, workflow_id, ordinal);

-- Messages of people to what runs.
CREATE TABLE mail (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (namespace, workflow_id, ordinal)
) WITHOUT ROWID;

-- Where a run's conversation holds which message. The key comes first: SQLite 3.40's integrity_check needs it there.
CREATE TABLE journal_messages (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    path TEXT NOT NULL,
    turn INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (namespace, workflow_id, task_id, run, message_id)
) WITHOUT ROWID;

-- Namespaces in which everything is paused; `thawing` ones are on their way out of it.
CREATE TABLE frozen_namespaces (
    namespace TEXT NOT NULL PRIMARY KEY,
    mode TEXT NOT NULL,
    reason TEXT NOT NULL,
    thawing INTEGER NOT NULL
) WITHOUT ROWID;
