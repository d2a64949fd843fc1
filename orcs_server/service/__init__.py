"""What every RPC calls, in the terms of the domain: authorise, complete, check, submit, read, watch. No gRPC and no protobuf."""
