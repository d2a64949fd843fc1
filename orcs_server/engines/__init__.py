"""What drives the core: the Engine promise, the feed that watchers read, and one package for each engine."""
