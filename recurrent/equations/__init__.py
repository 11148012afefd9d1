"""The small language that cells are written in: expressions, their derivatives, and the cell as a graph of them."""
