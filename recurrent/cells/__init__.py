"""The built-in cells, one family per file, and the functions that equations are written with."""

from ..checks.guided import module_getattr
from ..equations.cell import CELLS, Cell, find, register
from ..equations.expressions import (
    clip,
    cos,
    exp,
    log,
    maximum,
    mean,
    minimum,
    product,
    projection,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
    where,
)
from ..equations.tracer import trace_cell
from .activations import ACTIVATIONS, activation
from .elementwise import indrnn, mingru, minlstm, qrnn, qrnn_cell, sru
from .gru import gru, gru_cell
from .lstm import lstm, lstm_cell
from .mgu import mgu
from .rnn import rnn, rnn_cell, rnn_relu

PYTORCH = {c.name: c for c in (rnn, rnn_relu, lstm, gru)}  # cells that PyTorch has too
# By name: a declaration may not give these names to other equations.
BUILT_IN = dict(CELLS)

__all__ = [
    "ACTIVATIONS",
    "BUILT_IN",
    "CELLS",
    "PYTORCH",
    "Cell",
    "activation",
    "clip",
    "cos",
    "exp",
    "find",
    "gru",
    "gru_cell",
    "indrnn",
    "log",
    "lstm",
    "lstm_cell",
    "maximum",
    "mean",
    "mgu",
    "mingru",
    "minimum",
    "minlstm",
    "product",
    "projection",
    "qrnn",
    "qrnn_cell",
    "register",
    "relu",
    "rnn",
    "rnn_cell",
    "rnn_relu",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "sru",
    "tanh",
    "trace_cell",
    "where",
]


__getattr__ = module_getattr(__name__)
