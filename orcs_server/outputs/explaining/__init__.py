"""Why a workflow and its tasks stand where they stand, from their rows and their log alone: no model, no clock, the same every time."""
