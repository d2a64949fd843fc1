"""Memory in the SQLite file: versions, their log, the text index of each namespace."""
