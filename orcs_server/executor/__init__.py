"""One attempt, one planning, one allocation: what engines have carried out, written as pipelines that can be read."""
