"""What there is to draw: the parts of a model and the values of a run."""
