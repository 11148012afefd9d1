"""The vanilla recurrent cell (Elman, 1990, "Finding structure in time"), PyTorch's `nn.RNN`.

(1)  h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh),  f = tanh or relu
"""

from .equations import cell
from .expressions import relu, tanh


@cell("rnn", gates="h", states="h")
def rnn(x, h, previous):
    return dict(h=tanh(x.h + h.h))


@cell("rnn_relu", gates="h", states="h")
def rnn_relu(x, h, previous):
    return dict(h=relu(x.h + h.h))
