"""The structure of a model, the wiring of a cell and the values of a run, for all views."""
