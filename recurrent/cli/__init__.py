"""The command line, `python -m recurrent`: it imports `viz`."""
