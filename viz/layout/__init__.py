"""Layout: places of nodes and routes of wires."""
