"""Between the messages of `protos/orcs/v1` and the domain, in both directions."""
