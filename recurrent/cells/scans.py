"""Element-wise recurrences: no unit sees another's past, so there is no recurrent product; W_hh has no rows.

All products are with x, over all steps at once where that is faster; what is left of a step is a unit's own arithmetic.
"""

from .equations import cell
from .expressions import relu, sigmoid, softplus, tanh


@cell("indrnn", gates="h", states="h", parameters="u", biases=1)
def indrnn(x, h, previous, p):
    """IndRNN (Li et al., 2018, "Independently recurrent neural network"): h_t = relu(W x_t + b + u h_{t-1}), u per unit."""
    return dict(h=relu(x.h + p.u * previous.h))


@cell("mingru", gates="z n", states="h", biases=1)
def mingru(x, h, previous):
    """minGRU (Feng et al., 2024, "Were RNNs all we needed?"): z_t = sigmoid(W_z x_t), n_t = W_n x_t, no tanh."""
    z = sigmoid(x.z)
    return dict(z=z, n=x.n, h=(1 - z) * previous.h + z * x.n)


@cell("minlstm", gates="f i n", states="h", biases=1)
def minlstm(x, h, previous):
    """minLSTM (the same paper): sigmoid(W_f x_t) and sigmoid(W_i x_t), scaled to a sum of 1, by way of their logarithms."""
    f = sigmoid(softplus(-x.i) - softplus(-x.f))
    return dict(f=f, i=1 - f, n=x.n, h=f * previous.h + (1 - f) * x.n)


@cell("qrnn", gates="z f o", states="h c", biases=1)
def qrnn(x, h, previous):
    """QRNN of window 1 with fo-pooling (Bradbury et al., 2017, "Quasi-recurrent neural networks")."""
    z, f, o = tanh(x.z), sigmoid(x.f), sigmoid(x.o)
    c = f * previous.c + (1 - f) * z
    return dict(z=z, f=f, o=o, c=c, h=o * c)


@cell("sru", gates="n f r s", states="h c", parameters="v_f v_r", biases=1)
def sru(x, h, previous, p):
    """SRU (Lei et al., 2018, "Simple recurrent units for highly parallelizable recurrence").

    v_f and v_r let a unit's gates see its own memory. The highway past it, s, has a matrix of its own, as in the paper where
    D and H differ.
    """
    f = sigmoid(x.f + p.v_f * previous.c)
    r = sigmoid(x.r + p.v_r * previous.c)
    c = f * previous.c + (1 - f) * x.n
    return dict(n=x.n, f=f, r=r, s=x.s, c=c, h=r * c + (1 - r) * x.s)
