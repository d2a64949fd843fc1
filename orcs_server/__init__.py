"""ORCS: a durable agent orchestrator behind gRPC."""
