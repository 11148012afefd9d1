"""Recurrent networks on CPUs: fast, exact and open to the eye."""

from . import cells, data, initialisers, losses, optim, schedules
from .attention import Attention, Memory
from .bidirectional import Both
from .charlm import CharLM
from .derivatives import gradcheck
from .engine import Engine
from .layer import Gradients
from .layers import GRU, LSTM, RNN, Dropout, Embedding, Linear
from .model import Sequential
from .pooling import Last, MaxPool, MeanPool
from .seq2seq import Seq2Seq
from .train import evaluate, fit
from .warm import warmup

rnn, rnn_relu, lstm, gru = (Engine(c) for c in (cells.rnn, cells.rnn_relu, cells.lstm, cells.gru))

__version__ = "0.1.0"
__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Attention",
    "Both",
    "CharLM",
    "Dropout",
    "Embedding",
    "Engine",
    "Gradients",
    "Last",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Memory",
    "Seq2Seq",
    "Sequential",
    "data",
    "evaluate",
    "fit",
    "gradcheck",
    "gru",
    "initialisers",
    "losses",
    "lstm",
    "optim",
    "rnn",
    "rnn_relu",
    "schedules",
    "warmup",
]
