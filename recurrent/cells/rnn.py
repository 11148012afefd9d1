"""The vanilla recurrent cell (Elman, 1990, "Finding structure in time"), PyTorch's `nn.RNN`.

(1)  h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh),  f = tanh, relu or any other activation
"""

from ..equations.cell import register
from ..equations.expressions import clip as clipped
from ..equations.tracer import trace_cell
from .activations import activation
from .options import cell_family


@cell_family(
    "rnn", called={"rnn(nonlinearity='relu')": "rnn_relu"}, nonlinearity="tanh", clip=None, biases=2
)
def rnn_cell(name, nonlinearity, clip, biases):
    """The vanilla cell. `clip`: what goes into the activation is kept within +-clip, as in ONNX."""
    f = activation(nonlinearity)

    @trace_cell(name, gates="h", states="h", biases=biases, register=False)
    def equations(x, h, previous):
        a = x.h + h.h
        return dict(h=f(clipped(a, clip) if clip else a))

    return equations


rnn, rnn_relu = register(rnn_cell()), register(rnn_cell(nonlinearity="relu"))
