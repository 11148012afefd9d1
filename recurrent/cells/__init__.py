"""One file, one cell: its equations and where they come from."""

from .activations import ACTIVATIONS, activation
from .equations import CELLS, Cell, cell
from .expressions import clip, exp, maximum, minimum, relu, sigmoid, softplus, sqrt, tanh
from .gru import gru, gru_cell
from .lstm import lstm, lstm_cell
from .rnn import rnn, rnn_cell, rnn_relu

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "Cell",
    "activation",
    "cell",
    "clip",
    "exp",
    "gru",
    "gru_cell",
    "lstm",
    "lstm_cell",
    "maximum",
    "minimum",
    "relu",
    "rnn",
    "rnn_cell",
    "rnn_relu",
    "sigmoid",
    "softplus",
    "sqrt",
    "tanh",
]
