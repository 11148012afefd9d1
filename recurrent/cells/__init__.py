"""One file, one cell: its equations and where they come from."""

from .equations import CELLS, Cell, cell
from .expressions import exp, maximum, relu, sigmoid, sqrt, tanh
from .gru import gru
from .lstm import lstm
from .rnn import rnn, rnn_relu

__all__ = [
    "CELLS",
    "Cell",
    "cell",
    "exp",
    "gru",
    "lstm",
    "maximum",
    "relu",
    "rnn",
    "rnn_relu",
    "sigmoid",
    "sqrt",
    "tanh",
]
