"""What there is to draw: the structure of a model, the wiring of a cell and the values of a run."""
