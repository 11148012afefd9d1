"""The command line, `python -m recurrent`: the only package that imports `viz`."""
