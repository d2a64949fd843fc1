"""MCP servers as tool sources: `servers` has the connections, `tools` what agents get of them."""
