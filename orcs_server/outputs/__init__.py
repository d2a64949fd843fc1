"""What a client gets to see: a workflow's result in the format that it asks for, and its plan as a graph."""
