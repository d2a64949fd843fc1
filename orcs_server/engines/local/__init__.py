"""The engine for one machine: asyncio and the store, nothing else."""
