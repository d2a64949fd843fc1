"""What ORCS keeps: the `Store` protocol with its plain types, the codec of stored rows, and the SQLite store."""
