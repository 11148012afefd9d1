"""Minimal gated unit (Zhou et al., 2016, "Minimal gated unit for recurrent neural networks").

(1)  f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)         reset and update gate in one
(2)  n_t = tanh(W_in x_t + b_in + f_t (W_hn h_{t-1} + b_hn))      candidate, reset after product
(3)  h_t = (1 - f_t) h_{t-1} + f_t n_t
"""

from ..equations.expressions import sigmoid, tanh
from ..equations.tracer import trace_cell


@trace_cell("mgu", gates="f n", states="h")
def mgu(x, h, previous):
    f = sigmoid(x.f + h.f)
    n = tanh(x.n + f * h.n)
    return dict(f=f, n=n, h=(1 - f) * previous.h + f * n)
