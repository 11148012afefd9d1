"""The rooms behind `viz.explore`: what a run is to a page, its figures, its tables, and the file itself."""
