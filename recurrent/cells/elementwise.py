"""Element-wise recurrences: no unit sees another's past, so there is no recurrent product; W_hh has no rows.

All products are with x, over all steps at once where that is faster; what is left of a step is a unit's own arithmetic.
"""

from ..equations.cell import register
from ..equations.expressions import relu, sigmoid, softplus, tanh
from ..equations.tracer import trace_cell
from .options import cell_family


@trace_cell("indrnn", gates="h", states="h", parameters="u", biases=1)
def indrnn(x, h, previous, p):
    """IndRNN (Li et al., 2018, "Independently recurrent neural network"): h_t = relu(W x_t + b + u h_{t-1}), u per unit."""
    return dict(h=relu(x.h + p.u * previous.h))


@trace_cell("mingru", gates="z n", states="h", biases=1)
def mingru(x, h, previous):
    """minGRU (Feng et al., 2024, "Were RNNs all we needed?"): z_t = sigmoid(W_z x_t), n_t = W_n x_t, no tanh."""
    z = sigmoid(x.z)
    return dict(z=z, n=x.n, h=(1 - z) * previous.h + z * x.n)


@trace_cell("minlstm", gates="f i n", states="h", biases=1)
def minlstm(x, h, previous):
    """minLSTM (the same paper): sigmoid(W_f x_t) and sigmoid(W_i x_t), scaled to a sum of 1, by way of their logarithms."""
    f = sigmoid(softplus(-x.i) - softplus(-x.f))
    return dict(f=f, i=1 - f, n=x.n, h=f * previous.h + (1 - f) * x.n)


@cell_family("qrnn", window=1)
def qrnn_cell(name, window):
    """QRNN with fo-pooling (Bradbury et al., 2017, "Quasi-recurrent neural networks").

    `window`: how many steps of x a gate sees. z_t = tanh(W x_t + W1 x_{t-1} + ...), where what a step gives to later ones is
    multiplied when it comes and waits in a state of its own: z1_t = W1 x_t + z2_{t-1}, z2_t = W2 x_t + ... Each gate has one
    bias: b_ih of window 1, else a parameter of the unit, for there are more rows in W_ih than gates.
    """
    later = range(1, window)
    waiting = [f"{g}{k}" for k in later for g in "zfo"]
    own = "bias_z bias_f bias_o" if window > 1 else ""

    @trace_cell(
        name, gates=" ".join(["z f o", *waiting]), states=" ".join(["h c", *waiting]), parameters=own,
        biases=0 if own else 1, register=False,
    )  # fmt: skip
    def equations(x, h, previous, p=None):
        def seen(g):
            return (
                getattr(x, g) + getattr(p, f"bias_{g}") + getattr(previous, f"{g}1")
                if own
                else getattr(x, g)
            )

        def left(g, k):
            here = getattr(x, f"{g}{k}")
            return here + getattr(previous, f"{g}{k + 1}") if k + 1 < window else here

        z, f, o = tanh(seen("z")), sigmoid(seen("f")), sigmoid(seen("o"))
        c = f * previous.c + (1 - f) * z
        return dict(
            z=z, f=f, o=o, c=c, h=o * c, **{f"{g}{k}": left(g, k) for k in later for g in "zfo"}
        )

    return equations


qrnn = register(qrnn_cell())


@trace_cell("sru", gates="n f r s", states="h c", parameters="v_f v_r", biases=1)
def sru(x, h, previous, p):
    """SRU (Lei et al., 2018, "Simple recurrent units for highly parallelizable recurrence").

    v_f and v_r let a unit's gates see its own memory. The highway past it, s, has a matrix of its own, as in the paper where
    D and H differ.
    """
    f = sigmoid(x.f + p.v_f * previous.c)
    r = sigmoid(x.r + p.v_r * previous.c)
    c = f * previous.c + (1 - f) * x.n
    return dict(n=x.n, f=f, r=r, s=x.s, c=c, h=r * c + (1 - r) * x.s)
