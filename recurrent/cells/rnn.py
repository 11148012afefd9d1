"""The vanilla recurrent cell (Elman, 1990, "Finding structure in time"), as PyTorch's `nn.RNN`.

(1)  h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh),  f = tanh, relu or any other activation
"""

from ..equations.cell import register
from ..equations.expressions import clip as clip_to
from ..equations.tracer import trace_cell
from .activations import activation
from .options import cell_family


@cell_family(
    "rnn", aliases={"rnn(nonlinearity='relu')": "rnn_relu"}, nonlinearity="tanh", clip=None,
    biases=2,
)  # fmt: skip
def rnn_cell(name, nonlinearity, clip, biases):
    """Return the vanilla cell with these options.

    `nonlinearity` is its activation. `clip` limits the pre-activation to [-clip, clip], as in ONNX.
    `biases` is the number of bias vectors.
    """
    f = activation(nonlinearity)

    def clip_input(a):
        return clip_to(a, clip) if clip else a

    @trace_cell(name, gates="h", states="h", biases=biases, register=False)
    def equations(x, h, previous):
        return dict(h=f(clip_input(x.h + h.h)))

    return equations


rnn = register(rnn_cell())
rnn_relu = register(rnn_cell(nonlinearity="relu"))
