"""The language of cells: expressions, their derivatives, and cells as graphs of expressions."""
