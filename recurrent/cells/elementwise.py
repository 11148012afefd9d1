"""Element-wise recurrences: a unit depends on its own previous state only, so W_hh has no rows.

All matrix products are with x, so they are computed for all time steps at once. The rest of a step
is elementwise.
"""

from ..equations.cell import register
from ..equations.expressions import relu, sigmoid, softplus, tanh
from ..equations.tracer import trace_cell
from .options import cell_family


@trace_cell("indrnn", gates="h", states="h", parameters="u", biases=1)
def indrnn(x, h, previous, p):
    """IndRNN (Li et al., 2018, "Independently recurrent neural network (IndRNN)").

    h_t = relu(W x_t + b + u h_{t-1}), with one u per unit.
    """
    return dict(h=relu(x.h + p.u * previous.h))


@trace_cell("mingru", gates="z n", states="h", biases=1)
def mingru(x, h, previous):
    """minGRU (Feng et al., 2024, "Were RNNs all we needed?").

    z_t = sigmoid(W_z x_t), n_t = W_n x_t without a tanh, h_t = (1 - z_t) h_{t-1} + z_t n_t.
    """
    z = sigmoid(x.z)
    return dict(z=z, n=x.n, h=(1 - z) * previous.h + z * x.n)


@trace_cell("minlstm", gates="f i n", states="h", biases=1)
def minlstm(x, h, previous):
    """minLSTM (Feng et al., 2024).

    f_t = sigmoid(W_f x_t) and i_t = sigmoid(W_i x_t), divided by their sum. The quotient is
    computed from their logarithms, so that the sum cannot underflow.
    """
    f = sigmoid(softplus(-x.i) - softplus(-x.f))
    return dict(f=f, i=1 - f, n=x.n, h=f * previous.h + (1 - f) * x.n)


@cell_family("qrnn", window=1)
def qrnn_cell(name, window):
    """Return the QRNN cell (Bradbury et al., 2017, "Quasi-recurrent neural networks"), fo-pooling.

    `window` is the number of time steps of x that a gate sees: z_t = tanh(W x_t + W1 x_{t-1} ...).
    Each product with x_t is computed at step t; those for later steps wait in states of their own:
    z1_t = W1 x_t + z2_{t-1}, z2_t = W2 x_t ... Each gate has one bias: b_ih if the window is 1,
    otherwise a per-unit parameter, because W_ih then has more rows than there are gates.
    """
    delays = range(1, window)
    waiting = [f"{g}{k}" for k in delays for g in "zfo"]

    @trace_cell(
        name, gates=" ".join(["z f o", *waiting]), states=" ".join(["h c", *waiting]),
        parameters="bias_z bias_f bias_o" if window > 1 else "", biases=0 if window > 1 else 1,
        register=False,
    )  # fmt: skip
    def equations(x, h, previous, p=None):
        def convolution(g):
            """The pre-activation of a gate."""
            if window == 1:
                return getattr(x, g)
            return getattr(x, g) + getattr(p, f"bias_{g}") + getattr(previous, f"{g}1")

        def waiting_sum(g, k):
            """The part of the pre-activation k steps later that is known now."""
            now = getattr(x, f"{g}{k}")
            return now + getattr(previous, f"{g}{k + 1}") if k + 1 < window else now

        z = tanh(convolution("z"))
        f = sigmoid(convolution("f"))
        o = sigmoid(convolution("o"))
        c = f * previous.c + (1 - f) * z
        sums = {f"{g}{k}": waiting_sum(g, k) for k in delays for g in "zfo"}
        return dict(z=z, f=f, o=o, c=c, h=o * c, **sums)

    return equations


qrnn = register(qrnn_cell())


@trace_cell("sru", gates="n f r s", states="h c", parameters="v_f v_r", biases=1)
def sru(x, h, previous, p):
    """SRU (Lei et al., 2018, "Simple recurrent units for highly parallelizable recurrence").

    v_f and v_r multiply a unit's own memory cell in its gates. The highway connection s has a
    weight matrix of its own, as in the paper when D and H differ.
    """
    f = sigmoid(x.f + p.v_f * previous.c)
    r = sigmoid(x.r + p.v_r * previous.c)
    c = f * previous.c + (1 - f) * x.n
    return dict(n=x.n, f=f, r=r, s=x.s, c=c, h=r * c + (1 - r) * x.s)
