"""Models: layers in sequence, and an encoder with a decoder."""
