"""Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate: Gers et al., 2000), PyTorch's `nn.LSTM`.

(1)  i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)      input gate
(2)  f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)      forget gate
(3)  g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)         candidate
(4)  o_t = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)      output gate
(5)  c_t = f_t c_{t-1} + i_t g_t                               memory: each unit sees its own c only
(6)  h_t = o_t tanh(c_t)                                       output: every unit sees all of h
"""

from .equations import cell
from .expressions import sigmoid, tanh


@cell("lstm", gates="i f g o", states="h c")
def lstm(x, h, previous):
    i = sigmoid(x.i + h.i)
    f = sigmoid(x.f + h.f)
    g = tanh(x.g + h.g)
    o = sigmoid(x.o + h.o)
    c = f * previous.c + i * g
    return dict(i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))
