"""Gated recurrent unit (Cho et al., 2014), in cuDNN's form, as PyTorch's `nn.GRU`.

(1)  r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)         reset gate
(2)  z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)         update gate
(3)  n_t = tanh(W_in x_t + b_in + r_t (W_hn h_{t-1} + b_hn))      candidate, reset after product
(4)  h_t = (1 - z_t) n_t + z_t h_{t-1}

Options change these equations:

reset_after=False : n_t = tanh(W_in x_t + b_in + W_hn (r_t h_{t-1}) + b_hn), as in the paper.
z_keeps=False : h_t = z_t n_t + (1 - z_t) h_{t-1}, as in char-rnn.
layer_norm : all pre-activations are normalised: see layer_norm.py.
"""

from types import SimpleNamespace

from ..equations.cell import register
from ..equations.expressions import clip as clip_to
from ..equations.expressions import product
from ..equations.tracer import trace_cell
from .activations import activation
from .layer_norm import gains, normalise_gates
from .options import cell_family


@cell_family(
    "gru", reset_after=True, z_keeps=True, layer_norm=False, clip=None,
    activations=("sigmoid", "tanh"), biases=2,
)  # fmt: skip
def gru_cell(name, reset_after, z_keeps, layer_norm, clip, activations, biases):
    """Return the GRU cell with these options.

    `reset_after`, `z_keeps` and `layer_norm` are described at the top of the module. `clip` limits
    the pre-activations to [-clip, clip], as in ONNX. `activations` are those of the gates and the
    candidate. `biases` is the number of bias vectors per gate; with `layer_norm` there is one,
    after the normalisation.
    """
    # These are sigmoid and tanh unless `activations` says otherwise.
    sigmoid, tanh = (activation(a) for a in activations)
    initial = gains("r z n") if layer_norm else {}

    def clip_input(a):
        return clip_to(a, clip) if clip else a

    @trace_cell(
        name, gates="r z n", states="h", parameters=" ".join(initial), initial=initial,
        biases=0 if layer_norm else biases, register=False,
    )  # fmt: skip
    def equations(x, h, previous, p=None):
        def normalise(x, h, gates):
            return normalise_gates(x, h, p, gates) if layer_norm else (x, h)

        # With layer_norm, r and z are normalised together, n apart from them.
        a, b = normalise(x, h, "r z")
        r = sigmoid(clip_input(a.r + b.r))
        z = sigmoid(clip_input(a.z + b.z))
        if not reset_after:
            h = SimpleNamespace(n=product("n", r * previous.h))
        a, b = normalise(x, h, "n")
        n = tanh(clip_input(a.n + (r * b.n if reset_after else b.n)))
        h = (1 - z) * n + z * previous.h if z_keeps else z * n + (1 - z) * previous.h
        return dict(r=r, z=z, n=n, h=h)

    return equations


gru = register(gru_cell())
