"""The command line: `python -m recurrent`. The only place that imports `viz`."""
