"""The messages and stubs of package orcs.v1. Generated from protos/orcs/v1 by `make protos`; do not edit."""
