"""Cells that know the time: a step takes the gap since the last step, or the time itself.

The gap `dt` or the time `t` is the last column of x, which W_ih does not multiply. Irregular series
need no resampling for them.
"""

from ..equations.expressions import exp, product, relu, sigmoid, softplus, tanh, where
from ..equations.tracer import trace_cell


@trace_cell("cfc", gates="u v a b", states="h", inputs="dt", biases=1)
def cfc(x, h, previous):
    """CfC (Hasani et al., 2022, "Closed-form continuous-time neural networks"), without a backbone.

    h_t = u (1 - s) + v s with u = tanh(W_u [x, h]), v = tanh(W_v [x, h]) and the time gate
    s = sigmoid(dt W_a [x, h] + W_b [x, h]). It equals ncps' `CfC(..., backbone_layers=0)`. A
    backbone is a layer before it.
    """
    u, v, a, b = tanh(x.u + h.u), tanh(x.v + h.v), x.a + h.a, x.b + h.b
    s = sigmoid(a * x.dt + b)
    return dict(u=u, v=v, a=a, b=b, h=u * (1 - s) + s * v)


@trace_cell(
    "ltc", gates="s", states="h", parameters="A rate", inputs="dt", biases=1,
    initial={"A": (-1, 1), "rate": 0.5},
)  # fmt: skip
def ltc(x, h, previous, p):
    """LTC (Hasani et al., 2021, "Liquid time-constant networks"), one step of the fused solver.

    dh/dt = -(1/tau + s) h + s A with s = sigmoid(W x + U h + b) gives
    h_t = (h + dt s A) / (1 + dt (1/tau + s)), and 1/tau = softplus(rate) is positive. The paper
    takes six such steps for one input: repeat each input with dt / 6. The LTC of ncps differs: it
    has a sigmoid in every synapse, which is no product of a matrix with a vector.
    """
    s = sigmoid(x.s + h.s)
    return dict(s=s, h=(previous.h + x.dt * s * p.A) / (1 + x.dt * (softplus(p.rate) + s)))


@trace_cell(
    "phased_lstm", gates="i f g o", states="h c", inputs="t", biases=1,
    parameters="p_i p_f p_o log_tau shift", initial={"log_tau": (0, 6), "shift": (0, 1)},
)  # fmt: skip
def phased_lstm(x, h, previous, p, *, r_on=0.05, leak=0.001):
    """Phased LSTM (Neil, Pfeiffer and Liu, 2016, "Accelerating recurrent network training ...").

    An LSTM with peepholes whose unit is open for the part r_on of its period tau = exp(log_tau):
    phi = (t - s) mod tau / tau with s = tau shift, k = 2 phi / r_on while it opens,
    2 - 2 phi / r_on while it closes and leak phi while it is closed. Then c = k c~ + (1 - k) c and
    h = k h~ + (1 - k) h. A small leak keeps gradients in training; 0 is for evaluation.
    """
    i = sigmoid(x.i + h.i + p.p_i * previous.c)
    f = sigmoid(x.f + h.f + p.p_f * previous.c)
    g = tanh(x.g + h.g)
    new = f * previous.c + i * g
    o = sigmoid(x.o + h.o + p.p_o * new)
    phi = (x.t * exp(-p.log_tau) - p.shift) % 1
    rise = phi / (r_on / 2)
    k = where(phi < r_on / 2, rise, where(phi < r_on, 2 - rise, leak * phi))
    c = k * new + (1 - k) * previous.c
    return dict(i=i, f=f, g=g, o=o, c=c, h=k * (o * tanh(new)) + (1 - k) * previous.h)


@trace_cell("grud", gates="d r z n", states="h", biases=1)
def grud(x, h, previous):
    """GRU-D (Che et al., 2018, "Recurrent neural networks for multivariate time series ...").

    x holds values, masks (1 where observed) and the gaps since each value was last observed. The
    state decays before the step: h' = exp(-max(0, W_d x + b_d)) h; then a GRU as in the paper, with
    the reset before the product. In the paper W_d reads the gaps alone, the gates read values
    and masks; here each reads all of x, unless `fit(freeze=)` keeps zeros in W_ih. A unit has no
    feature of its own, so the decay of a missing value towards its mean, exp(-max(0, w gap + b)),
    belongs before this layer.
    """
    d = exp(-relu(x.d))
    decayed = d * previous.h
    r = sigmoid(x.r + product("r", decayed))
    z = sigmoid(x.z + product("z", decayed))
    n = tanh(x.n + product("n", r * decayed))
    return dict(d=d, r=r, z=z, n=n, h=(1 - z) * decayed + z * n)
