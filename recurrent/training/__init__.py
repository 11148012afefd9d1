"""Training: the loop, truncated back-propagation through time, checkpoints."""
