"""One file, one cell: its equations and where they come from."""

from .equations import CELLS, Cell, cell
from .expressions import relu, sigmoid, tanh
from .gru import gru
from .lstm import lstm
from .rnn import rnn, rnn_relu

__all__ = ["CELLS", "Cell", "cell", "gru", "lstm", "relu", "rnn", "rnn_relu", "sigmoid", "tanh"]
