"""Gated recurrent unit, reset after the product (Cho et al., 2014, in the form of cuDNN), PyTorch's `nn.GRU`.

(1)  r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)          reset gate
(2)  z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)          update gate
(3)  n_t = tanh(W_in x_t + b_in + r_t (W_hn h_{t-1} + b_hn))       candidate: its x part and h part stay apart
(4)  h_t = (1 - z_t) n_t + z_t h_{t-1}

Reset before the product, as the paper has it: (3)  n_t = tanh(W_in x_t + b_in + W_hn (r_t h_{t-1}) + b_hn).
Layer normalisation: see normal.py.
"""

from types import SimpleNamespace

from ..equations.cell import register
from ..equations.expressions import clip as clipped
from ..equations.expressions import product
from ..equations.tracer import trace_cell
from .activations import activation
from .layer_norm import gains, normalised
from .options import cell_family


@cell_family(
    "gru", reset_after=True, z_keeps=True, layer_norm=False, clip=None, activations=("sigmoid", "tanh"), biases=2
)  # fmt: skip
def gru_cell(name, reset_after, z_keeps, layer_norm, clip, activations, biases):
    """The GRU. `reset_after`: r times the product with h; False: the product with r h. `z_keeps`: z weighs the old state;
    False: the candidate, h = z n + (1 - z) h, as in char-rnn. `layer_norm`: see normal.py; a gate has one bias then.
    `clip`: what goes into an activation is kept within +-clip, as in ONNX. `activations`: of gates, candidate.
    """
    gate, candidate = (activation(a) for a in activations)
    parameters = gains("r z n") if layer_norm else {}

    def within(a):
        return clipped(a, clip) if clip else a

    @trace_cell(
        name, gates="r z n", states="h", parameters=" ".join(parameters), initial=parameters,
        biases=0 if layer_norm else biases, register=False,
    )  # fmt: skip
    def equations(x, h, previous, p=None):
        a, b = normalised(x, h, p, "r z") if layer_norm else (x, h)
        r = gate(within(a.r + b.r))
        z = gate(within(a.z + b.z))
        past = h if reset_after else SimpleNamespace(n=product("n", r * previous.h))
        a, b = normalised(x, past, p, "n") if layer_norm else (x, past)
        n = candidate(within(a.n + (r * b.n if reset_after else b.n)))
        return dict(
            r=r,
            z=z,
            n=n,
            h=(1 - z) * n + z * previous.h if z_keeps else z * n + (1 - z) * previous.h,
        )

    return equations


gru = register(gru_cell())
