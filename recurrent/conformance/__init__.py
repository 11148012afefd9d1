"""What must be true of the engine on every machine: checked by the tests, and by `python -m recurrent selftest`."""
