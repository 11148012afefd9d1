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
from .continuous import cfc, grud, ltc, phased_lstm
from .echo_state import echo_state
from .elementwise import indrnn, mingru, minlstm, qrnn, qrnn_cell, sru
from .gated import fastgrnn, janet, ligru
from .gru import gru, gru_cell
from .lstm import lstm, lstm_cell
from .lstm_variants import multiplicative_lstm, nested_lstm, slstm
from .mgu import mgu
from .rnn import rnn, rnn_cell, rnn_relu

PYTORCH = {c.name: c for c in (rnn, rnn_relu, lstm, gru)}  # cells that PyTorch has too
# Cells of papers, as examples of the language.
PAPERS = {
    c.name: c
    for c in (
        slstm, cfc, ltc, phased_lstm, grud, janet, ligru, fastgrnn, multiplicative_lstm,
        nested_lstm, echo_state,
    )
}  # fmt: skip
# By name: a declaration may not give these names to other equations.
BUILT_IN = {name: c for name, c in CELLS.items() if name not in PAPERS}

__all__ = [
    "ACTIVATIONS",
    "BUILT_IN",
    "CELLS",
    "PAPERS",
    "PYTORCH",
    "Cell",
    "activation",
    "cfc",
    "clip",
    "cos",
    "echo_state",
    "exp",
    "fastgrnn",
    "find",
    "gru",
    "gru_cell",
    "grud",
    "indrnn",
    "janet",
    "ligru",
    "log",
    "lstm",
    "lstm_cell",
    "ltc",
    "maximum",
    "mean",
    "mgu",
    "mingru",
    "minimum",
    "minlstm",
    "multiplicative_lstm",
    "nested_lstm",
    "phased_lstm",
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
    "slstm",
    "softplus",
    "sqrt",
    "sru",
    "tanh",
    "trace_cell",
    "where",
]


__getattr__ = module_getattr(__name__)
