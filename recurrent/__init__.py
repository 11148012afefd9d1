"""Recurrent networks on CPUs: fast, exact and open to the eye."""

from . import cells, data, initialisers, losses, optim, presets, schedules
from .attention import Attention, Memory
from .bidirectional import Both
from .buffers import release as release_memory
from .charlm import CharLM
from .custom import cell
from .derivatives import gradcheck
from .engine import Engine
from .holding import Hold
from .layer import Gradients
from .layernorm import LayerNorm
from .layers import GRU, LSTM, QRNN, RNN, Dropout, Embedding, Linear, Recurrent
from .model import Sequential
from .onehot import OneHot
from .pooling import Last, MaxPool, MeanPool
from .seq2seq import Seq2Seq
from .train import evaluate, fit
from .truncated import TruncatedBPTT
from .warm import warmup

rnn, rnn_relu, lstm, gru = map(Engine, (cells.rnn, cells.rnn_relu, cells.lstm, cells.gru))
mgu, indrnn, mingru, minlstm, qrnn, sru = map(
    Engine, (cells.mgu, cells.indrnn, cells.mingru, cells.minlstm, cells.qrnn, cells.sru)
)

__version__ = "0.1.0"
__all__ = [
    "GRU",
    "LSTM",
    "QRNN",
    "RNN",
    "Attention",
    "Both",
    "CharLM",
    "Dropout",
    "Embedding",
    "Engine",
    "Gradients",
    "Hold",
    "Last",
    "LayerNorm",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Memory",
    "OneHot",
    "Recurrent",
    "Seq2Seq",
    "Sequential",
    "TruncatedBPTT",
    "cell",
    "data",
    "evaluate",
    "fit",
    "gradcheck",
    "gru",
    "indrnn",
    "initialisers",
    "losses",
    "lstm",
    "mgu",
    "mingru",
    "minlstm",
    "optim",
    "presets",
    "qrnn",
    "release_memory",
    "rnn",
    "rnn_relu",
    "schedules",
    "sru",
    "warmup",
]
