"""Layers: each owns its parameters, checks shapes and calls one engine function per direction."""

from .activation import Activation, ReLU, Sigmoid, Softmax, Tanh
from .attention import Attention, Memory
from .base import Gradients, Layer
from .conv1d import Conv1d
from .crf import CRF
from .feedforward import Dropout, Embedding, Linear, OneHot
from .hold import Hold
from .joins import Add, Concat, Multiply
from .layer_norm import LayerNorm
from .pooling import Last, MaxPool, MeanPool
from .recurrent import GRU, LSTM, QRNN, RNN, Recurrent, layer_from_cell
from .residual import Residual

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "QRNN",
    "RNN",
    "Activation",
    "Add",
    "Attention",
    "Concat",
    "Conv1d",
    "Dropout",
    "Embedding",
    "Gradients",
    "Hold",
    "Last",
    "Layer",
    "LayerNorm",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Memory",
    "Multiply",
    "OneHot",
    "ReLU",
    "Recurrent",
    "Residual",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "layer_from_cell",
]
