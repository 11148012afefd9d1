"""How it is measured: processes, timing, memory, the machine."""
