"""Relatives of the LSTM: exponential gates, a multiplicative input, a memory inside the memory."""

from ..equations.expressions import (
    exp,
    maximum,
    minimum,
    product,
    sigmoid,
    softplus,
    tanh,
    where,
)
from ..equations.tracer import trace_cell


@trace_cell("slstm", gates="i f g o", states="h c n m", biases=1)
def slstm(x, h, previous):
    """sLSTM (Beck et al., 2024, "xLSTM: extended long short-term memory").

    The input gate exp(i) and the forget gate sigmoid(f) are divided by exp(m), so that neither
    overflows: m = max(log sigmoid(f) + m, i), and i at the first step. c and the sum of weights n
    are both scaled, h = o c / n. n is at least 1 except in states from elsewhere. Every unit reads
    all units; for heads, set U to blocks on the diagonal and keep its zeros by `fit(freeze=)`.
    """
    i, f, g, o = x.i + h.i, -softplus(-(x.f + h.f)), tanh(x.g + h.g), sigmoid(x.o + h.o)
    m = where(previous.n > 0, maximum(f + previous.m, i), i)
    keep, take = exp(minimum(f + previous.m - m, 0)), exp(i - m)
    c, n = keep * previous.c + take * g, keep * previous.n + take
    return dict(i=i, f=f, g=g, o=o, c=c, n=n, m=m, h=o * (c / maximum(n, 1)))


@trace_cell("multiplicative_lstm", gates="m i f g o", states="h c", biases=1)
def multiplicative_lstm(x, h, previous):
    """Multiplicative LSTM (Krause et al., 2016, "Multiplicative LSTM for sequence modelling").

    m = (W_m x + b_m) (U_m h) takes the place of h in all gates; the paper has no b_m.
    """
    m = x.m * h.m
    i, f, o = (sigmoid(getattr(x, gate) + product(gate, m)) for gate in "ifo")
    g = tanh(x.g + product("g", m))
    c = f * previous.c + i * g
    return dict(m=m, i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))


@trace_cell("nested_lstm", gates="i f g o ix fx gx ox ih fh gh oh", states="h c inner")
def nested_lstm(x, h, previous):
    """Nested LSTM (Moniz and Krueger, 2017, "Nested LSTMs").

    The memory c of an LSTM is the output of an inner LSTM, which reads i g in place of x and f c in
    place of h. The products ix ... ox are those of its gates with i g, ih ... oh those with f c.
    """
    i, f, o = sigmoid(x.i + h.i), sigmoid(x.f + h.f), sigmoid(x.o + h.o)
    g = tanh(x.g + h.g)
    parts = {f"{gate}x": product(f"{gate}x", i * g) for gate in "ifgo"}
    parts |= {f"{gate}h": product(f"{gate}h", f * previous.c) for gate in "ifgo"}
    sums = {gate: parts[f"{gate}x"] + parts[f"{gate}h"] for gate in "ifgo"}
    inner = sigmoid(sums["f"]) * previous.inner + sigmoid(sums["i"]) * tanh(sums["g"])
    c = sigmoid(sums["o"]) * tanh(inner)
    return dict(i=i, f=f, g=g, o=o, **parts, inner=inner, c=c, h=o * tanh(c))
