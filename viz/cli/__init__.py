"""The command line of `python -m viz`."""
