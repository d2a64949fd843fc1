"""The pure core: what a workflow is and how it moves. No async, no I/O, no clock, no random, no SDK, no protobuf."""
