"""The built-in cells, and the vocabulary that equations of cells are written in.

`recurrent.cell` declares a cell by the equations of one unit, a function of

    x.g           row g of W_ih x + b_ih; of a name in `inputs` that column of x, for all units
    h.g           row g of W_hh h + b_hh, h the first state of the step before
    previous.c    this unit's state c of the step before
    p.w           a parameter of this unit, or of all units if it is one of `scalars`
    *, leak=0.5   a hyper-parameter, a constant: mine(leak=0.3), Recurrent("mine", 5, 9, leak=0.3)

that returns a dict of all gates and new states. Values are symbols: no if, no math or NumPy
functions. y is the result; the error is in units in the last place (ulp), in either dtype.

    expression           derivative by a; by b       notes
    -------------------  --------------------------  -------------------------------------------
    a + b                1; 1
    a - b                1; -1
    a * b                b; a
    a / b                1 / b; -y / b
    -a                   -1
    abs(a)               where(a > 0, 1, -1)
    a % b                1; -(a - y) / b             sign of b, NaN if b is 0; exact up to |a / b|
                                                     of 2^23 (float64 2^52), or to an ulp of a on
                                                     processors without FMA; x - x % 1 rounds down
    a ** 3               3 * a ** 2                  whole numbers to 64 (and below 0): products
    a ** 0.5             0.5 / y                     the square root
    a ** b               b * a ** (b - 1); y*log(a)  a > 0; 2 + 2 |b log(a)| ulp
    2 ** a               y * log(2)                  2 + 2 |a log(2)| ulp
    a > b                0; 0                        1 or 0; 0 if either is NaN; < likewise
    a >= b               0; 0                        1 or 0; 0 if either is NaN; <= likewise
    where(a > b, a, b)   a > b; b >= a               the derivative of the choice not made is
                                                     multiplied by 0: it must be finite
    maximum(a, b)        a > b; b >= a               NaN if either is; b has the gradient if equal
    minimum(a, b)        b > a; a >= b               NaN if either is; b has the gradient if equal
    clip(a, 0.7)         (a > -0.7) * (0.7 > a)      to [-0.7, 0.7]; derivative 0 at the ends
    relu(a)              a > 0                       derivative 0 at 0
    sigmoid(a)           y - y * y                   absolute error 2 eps; saturates at 0 and 1
    tanh(a)              1 - y * y                   6 ulp (float64 4); saturates at -1 and 1
    softplus(a)          1 - exp(-y)                 log(1 + exp(a)); 4 ulp
    exp(a)               y                           1.5 ulp; infinite or 0 out of range
    log(a)               1 / a                       1 ulp; -inf at 0, NaN below
    sqrt(a)              0.5 / y                     exact; infinite derivative at 0, NaN below
    sin(a)               cos(a)                      2 ulp; NaN for |a| above a million
    cos(a)               -sin(a)                     2 ulp; NaN for |a| above a million

Over units, each the same for sequence and stream:

    mean(a)              the mean of a over all units of the layer
    product("g", a)      W_hh a + b_hh by the rows of gate g, which h.g then must not use
    projection(a)        W_hr a, H values to P: the first state, if anything

Comparisons combine by arithmetic: a * b is `and`, maximum(a, b) is `or`, 1 - a is `not`. Kernels
treat numbers below the smallest normal one as 0.

PyTorch's cells are rnn, rnn_relu, lstm and gru; further ones are mgu, indrnn, mingru, minlstm, qrnn
and sru. Cells of papers, to use and to read as examples: slstm, cfc, ltc, phased_lstm, grud, janet,
ligru, fastgrnn, multiplicative_lstm, nested_lstm and echo_state. Their equations are in the
docstrings of `recurrent/cells`.
"""

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
