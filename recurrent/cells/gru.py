"""Gated recurrent unit, reset after the product (Cho et al., 2014, in the form of cuDNN), PyTorch's `nn.GRU`.

(1)  r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)          reset gate
(2)  z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)          update gate
(3)  n_t = tanh(W_in x_t + b_in + r_t (W_hn h_{t-1} + b_hn))       candidate: its x part and h part stay apart
(4)  h_t = (1 - z_t) n_t + z_t h_{t-1}
"""

from .activations import activation
from .equations import cell, enlist
from .expressions import clip as clipped
from .options import family


@family("gru", z_keeps=True, clip=None, activations=("sigmoid", "tanh"), biases=2)
def gru_cell(name, z_keeps, clip, activations, biases):
    """The GRU. `z_keeps`: z weighs the old state; False: the candidate, h = z n + (1 - z) h, as in the paper's first version
    and char-rnn. `clip`: what goes into an activation is kept within +-clip, as in ONNX. `activations`: of gates, candidate.
    """
    gate, candidate = (activation(a) for a in activations)

    def within(a):
        return clipped(a, clip) if clip else a

    @cell(name, gates="r z n", states="h", biases=biases, register=False)
    def equations(x, h, previous):
        r = gate(within(x.r + h.r))
        z = gate(within(x.z + h.z))
        n = candidate(within(x.n + r * h.n))
        return dict(r=r, z=z, n=n, h=(1 - z) * n + z * previous.h if z_keeps else z * n + (1 - z) * previous.h)

    return equations


gru = enlist(gru_cell())
