"""Small gated cells: fewer gates or fewer weights than a GRU."""

from ..equations.expressions import relu, sigmoid, tanh
from ..equations.tracer import trace_cell


@trace_cell("janet", gates="f g", states="h", biases=1, initial={"f": 1.0})
def janet(x, h, previous, *, beta=1.0):
    """JANET (van der Westhuizen and Lasenby, 2018, "The unreasonable effectiveness ...").

    s = W_f x + U_f h + b_f; h_t = sigmoid(s) h + (1 - sigmoid(s - beta)) g, with the forget gate
    alone. The paper's biases are those of `initialisers.Chrono`.
    """
    s, g = x.f + h.f, tanh(x.g + h.g)
    f = sigmoid(s)
    return dict(f=f, g=g, h=f * previous.h + (1 - sigmoid(s - beta)) * g)


@trace_cell("ligru", gates="z n", states="h", biases=1)
def ligru(x, h, previous):
    """Li-GRU (Ravanelli et al., 2018, "Light gated recurrent units for speech recognition").

    A GRU without reset gate and with relu: n = relu(W_n x + U_n h), h_t = z h + (1 - z) n. The
    paper normalises W x over the batch; here there is no batch normalisation.
    """
    z, n = sigmoid(x.z + h.z), relu(x.n + h.n)
    return dict(z=z, n=n, h=z * previous.h + (1 - z) * n)


@trace_cell(
    "fastgrnn", gates="a", states="h", parameters="b_z b_n", scalars="zeta nu", biases=0,
    initial={"b_z": 1.0, "b_n": 1.0, "zeta": 1.0, "nu": -4.0},
)  # fmt: skip
def fastgrnn(x, h, previous, p):
    """FastGRNN (Kusupati et al., 2018, "FastGRNN: a fast, accurate, stable and tiny ...").

    One W and one U for gate and candidate: z = sigmoid(W x + U h + b_z), n = tanh(W x + U h + b_n),
    h_t = (zeta (1 - z) + nu) n + z h. The scalars zeta and nu are sigmoids of the parameters.
    """
    a = x.a + h.a
    z, n = sigmoid(a + p.b_z), tanh(a + p.b_n)
    return dict(a=a, h=(sigmoid(p.zeta) * (1 - z) + sigmoid(p.nu)) * n + z * previous.h)
