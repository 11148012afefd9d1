"""Recurrent networks on CPUs: fast, exact and open to the eye."""

from . import cells, data, initialisers, losses, optim, schedules
from .charlm import presets
from .charlm.model import CharLM
from .engine.bidirectional import Directions
from .engine.buffers import release as release_memory
from .engine.engine import Engine
from .gradcheck import gradcheck
from .layers import (
    GRU,
    LSTM,
    QRNN,
    RNN,
    Attention,
    Dropout,
    Embedding,
    Gradients,
    Hold,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Memory,
    OneHot,
    Recurrent,
)
from .models.seq2seq import Seq2Seq
from .models.sequential import Sequential
from .training.bptt import TruncatedBPTT
from .training.fit import evaluate, fit
from .user_cells import cell
from .warmup import warmup

Both = Directions
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
    "Directions",
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
