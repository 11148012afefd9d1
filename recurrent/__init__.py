"""Recurrent networks on CPUs: fast, exact and open to the eye."""

from . import cells
from .engine import Engine
from .layers import GRU, LSTM, RNN, Dropout, Embedding, Gradients, Linear
from .model import Sequential

rnn, rnn_relu, lstm, gru = (Engine(c) for c in (cells.rnn, cells.rnn_relu, cells.lstm, cells.gru))

__version__ = "0.1.0"
__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Dropout",
    "Embedding",
    "Engine",
    "Gradients",
    "Linear",
    "Sequential",
    "gru",
    "lstm",
    "rnn",
    "rnn_relu",
]
