"""CPU benchmarks of this engine and its peers: the same work, measured side by side in one run."""
