-- One row per agent run that stored calls before its end: which attempt writes, and the last one whose calls came to an end.
CREATE TABLE journals (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    grown_in INTEGER NOT NULL,
    PRIMARY KEY (namespace, workflow_id, task_id, run)
) WITHOUT ROWID;

CREATE TABLE journal_model_calls (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    path TEXT NOT NULL,
    turn INTEGER NOT NULL,
    input_hash TEXT NOT NULL,
    response TEXT NOT NULL,
    PRIMARY KEY (namespace, workflow_id, task_id, run, path, turn)
) WITHOUT ROWID;

CREATE TABLE journal_tool_calls (
    namespace TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    path TEXT NOT NULL,
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    repeatable INTEGER NOT NULL,
    result TEXT,
    dropped INTEGER NOT NULL,
    PRIMARY KEY (namespace, workflow_id, task_id, run, path, call_id)
) WITHOUT ROWID;
