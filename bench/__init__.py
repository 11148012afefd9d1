"""Honest CPU benchmarks: this engine and its peers, the same work side by side in one run."""
