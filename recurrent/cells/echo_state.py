"""Echo state networks: recurrent weights that are drawn once and not trained."""

from ..equations.expressions import tanh
from ..equations.tracer import trace_cell


@trace_cell("echo_state", gates="h", states="h", biases=1)
def echo_state(x, h, previous, *, leak=1.0):
    """Leaky echo state (Jaeger, 2001, "The echo state approach ..."; Jaeger et al., 2007).

    h_t = (1 - leak) h + leak tanh(W x + U h + b). U starts sparse with a given spectral radius by
    `initialisers.Reservoir`; `fit(..., freeze="0.")` trains only the layers behind layer 0.
    """
    a = tanh(x.h + h.h)
    return dict(h=(1 - leak) * previous.h + leak * a)
