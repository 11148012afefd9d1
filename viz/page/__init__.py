"""The page of `viz.explore`: the numbers of a run, figures, tables, and the HTML file."""
