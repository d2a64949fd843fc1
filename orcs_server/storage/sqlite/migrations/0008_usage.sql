-- What each namespace has consumed and done on each day, in UTC, from this version on. It stays when workflows are deleted.
CREATE TABLE usage_days (
    namespace TEXT NOT NULL,
    day INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_micros INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    created INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    PRIMARY KEY (namespace, day)
) WITHOUT ROWID;
CREATE INDEX usage_days_by_day ON usage_days (day);

-- What each namespace holds: bytes of its texts and events as they lie here, and workflows that have not ended. Kept by the
-- triggers, whoever adds and removes.
CREATE TABLE holdings (
    namespace TEXT NOT NULL PRIMARY KEY,
    bytes INTEGER NOT NULL,
    workflows INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO holdings (namespace, bytes, workflows)
SELECT namespace, sum(size), sum(live) FROM (
    SELECT namespace, length(bytes) AS size, 0 AS live FROM blobs
    UNION ALL
    SELECT namespace, length(body), 0 FROM events
    UNION ALL
    SELECT namespace, 0, status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED') FROM workflows
)
GROUP BY namespace;

CREATE TRIGGER blobs_added AFTER INSERT ON blobs BEGIN
    INSERT OR IGNORE INTO holdings (namespace, bytes, workflows) VALUES (new.namespace, 0, 0);
    UPDATE holdings SET bytes = bytes + length(new.bytes) WHERE namespace = new.namespace;
END;
CREATE TRIGGER blobs_removed AFTER DELETE ON blobs BEGIN
    UPDATE holdings SET bytes = bytes - length(old.bytes) WHERE namespace = old.namespace;
END;
CREATE TRIGGER events_added AFTER INSERT ON events BEGIN
    INSERT OR IGNORE INTO holdings (namespace, bytes, workflows) VALUES (new.namespace, 0, 0);
    UPDATE holdings SET bytes = bytes + length(new.body) WHERE namespace = new.namespace;
END;
CREATE TRIGGER events_removed AFTER DELETE ON events BEGIN
    UPDATE holdings SET bytes = bytes - length(old.body) WHERE namespace = old.namespace;
END;
CREATE TRIGGER workflows_added AFTER INSERT ON workflows BEGIN
    INSERT OR IGNORE INTO holdings (namespace, bytes, workflows) VALUES (new.namespace, 0, 0);
    UPDATE holdings SET workflows = workflows + (new.status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED'))
    WHERE namespace = new.namespace;
END;
CREATE TRIGGER workflows_turned AFTER UPDATE OF status ON workflows
WHEN (old.status IN ('COMPLETED', 'FAILED', 'CANCELLED')) <> (new.status IN ('COMPLETED', 'FAILED', 'CANCELLED')) BEGIN
    UPDATE holdings
    SET workflows = workflows + (old.status IN ('COMPLETED', 'FAILED', 'CANCELLED'))
        - (new.status IN ('COMPLETED', 'FAILED', 'CANCELLED'))
    WHERE namespace = new.namespace;
END;
CREATE TRIGGER workflows_removed AFTER DELETE ON workflows BEGIN
    UPDATE holdings SET workflows = workflows - (old.status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED'))
    WHERE namespace = old.namespace;
END;
