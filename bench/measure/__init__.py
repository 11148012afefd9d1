"""Measurement: processes, timing, memory, and the machine."""
