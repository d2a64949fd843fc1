-- Agents that were registered for a namespace, as they were declared. Workflows hold copies of those that they were created with.
CREATE TABLE registered_agents (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    revision TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    principal TEXT NOT NULL,
    declaration BLOB NOT NULL,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;
