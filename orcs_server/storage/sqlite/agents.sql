-- The statements about registered agents.

-- name: registered_agents
-- A namespace's agents.
SELECT id, revision, time_us, principal, declaration FROM registered_agents WHERE namespace = ? ORDER BY id

-- name: registered_agent
-- One agent.
SELECT id, revision, time_us, principal, declaration FROM registered_agents WHERE namespace = ? AND id = ?

-- name: registered_agents_size
-- How many agents a namespace has beside one, and the bytes of what they were declared as.
SELECT count(*), coalesce(sum(length(declaration)), 0) FROM registered_agents WHERE namespace = ? AND id <> ?

-- name: put_registered_agent
-- Stores an agent, or replaces it.
INSERT OR REPLACE INTO registered_agents (namespace, id, revision, time_us, principal, declaration)
VALUES (?, ?, ?, ?, ?, ?)

-- name: remove_registered_agent
-- Removes an agent.
DELETE FROM registered_agents WHERE namespace = ? AND id = ?
