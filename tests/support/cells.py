"""Cells defined for the tests."""

from recurrent.cells import trace_cell
from recurrent.equations.expressions import exp, maximum, relu, sigmoid, sqrt, tanh


@trace_cell(
    "peephole_test", gates="i f g o", states="h c", parameters="p_i p_f p_o", register=False
)
def peephole(x, h, previous, p):
    """Peepholes (Gers and Schmidhuber, 2000): i and f see the old c, o the new one."""
    i = sigmoid(x.i + h.i + p.p_i * previous.c)
    f = sigmoid(x.f + h.f + p.p_f * previous.c)
    g = tanh(x.g + h.g)
    c = f * previous.c + i * g
    o = sigmoid(x.o + h.o + p.p_o * c)
    return dict(i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))


@trace_cell("split_test", gates="a b", states="h", register=False)
def split(x, h, previous):
    """Every gate uses its terms from x and h separately, as in a multiplicative cell."""
    a = tanh(x.a * h.a)
    b = sigmoid(x.b) * h.b
    return dict(a=a, b=b, h=a - relu(b) + 0.5 * previous.h)


@trace_cell("input_gates_test", gates="z n", states="h", register=False)
def input_gates(x, h, previous):
    """minGRU: gates see x only, so that W_hh has no rows."""
    z, n = sigmoid(x.z), tanh(x.n)
    return dict(z=z, n=n, h=(1 - z) * previous.h + z * n)


@trace_cell("three_states_test", gates="i f", states="h c m", parameters="w", register=False)
def three_states(x, h, previous, p):
    """A cell with three states, one of which is a term of a gate's pre-activation."""
    i = tanh(x.i + h.i)
    f = sigmoid(x.f + h.f - previous.m)
    c = f * previous.c + i
    m = p.w * previous.m + f * i
    return dict(i=i, f=f, c=c, m=m, h=tanh(c) * m)


@trace_cell("gate_is_state_test", gates="n", states="h", register=False)
def gate_is_state(x, h, previous):
    """The gate is the new state under another name."""
    n = tanh(x.n + h.n)
    return dict(n=n, h=n)


@trace_cell("exponential_test", gates="i f z", states="h c n m", register=False)
def exponential(x, h, previous):
    """sLSTM's exponential gates with their stabiliser m (Beck et al., 2024).

    The denominator differs from the paper's, to stay away from 0.
    """
    i, f, z = x.i + h.i, x.f + h.f, tanh(x.z + h.z)
    m = maximum(f + previous.m, i)
    c = exp(f + previous.m - m) * previous.c + exp(i - m) * z
    n = exp(f + previous.m - m) * previous.n + exp(i - m)
    return dict(i=i, f=f, z=z, c=c, n=n, m=m, h=c / sqrt(1 + n * n))


@trace_cell("linear", gates="a", states="s", register=False)
def linear(x, h, previous):
    """The smallest cell: no activation, and a state that is not called h."""
    return dict(a=x.a + h.a, s=x.a + h.a)


@trace_cell("three", gates="u w", states="h c m", register=False)
def three(x, h, previous):
    """Three states of which h is the last to be computed."""
    u, w = sigmoid(x.u + h.u), relu(x.w)
    m, c = 0.5 * previous.m + u, previous.c * u + w
    return dict(u=u, w=w, m=m, c=c, h=tanh(c + m) - previous.h)


@trace_cell("minimal", gates="f n", states="h", register=False)
def minimal(x, h, previous):
    """A minimal gated unit that forgets after the product."""
    f = sigmoid(x.f + h.f)
    n = tanh(x.n + f * h.n)
    return dict(f=f, n=n, h=(1 - f) * previous.h + f * n)


OWN = [peephole, split, input_gates, three_states, gate_is_state, exponential]
