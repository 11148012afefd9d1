"""Models: layers in order, and an encoder with its decoder."""
