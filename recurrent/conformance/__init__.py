"""Promises that the engine keeps on every machine.

The tests check them, and so does `python -m recurrent selftest`.
"""
