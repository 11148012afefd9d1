"""Gated recurrent unit, reset after the product (Cho et al., 2014, in the form of cuDNN), PyTorch's `nn.GRU`.

(1)  r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)          reset gate
(2)  z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)          update gate
(3)  n_t = tanh(W_in x_t + b_in + r_t (W_hn h_{t-1} + b_hn))       candidate: its x part and h part stay apart
(4)  h_t = (1 - z_t) n_t + z_t h_{t-1}
"""

from .equations import cell
from .expressions import sigmoid, tanh


@cell("gru", gates="r z n", states="h")
def gru(x, h, previous):
    r = sigmoid(x.r + h.r)
    z = sigmoid(x.z + h.z)
    n = tanh(x.n + r * h.n)
    return dict(r=r, z=z, n=n, h=(1 - z) * n + z * previous.h)
