"""Long short-term memory (Hochreiter and Schmidhuber, 1997), as PyTorch's `nn.LSTM`.

(1)  i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)      input gate
(2)  f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)      forget gate (Gers et al., 2000)
(3)  g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)         candidate
(4)  o_t = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)      output gate
(5)  c_t = f_t c_{t-1} + i_t g_t                               memory cell, private to its unit
(6)  h_t = o_t tanh(c_t)                                       output, seen by all units

Options change these equations:

peephole : the pre-activations of i and f include p_i c_{t-1} and p_f c_{t-1}, that of o includes
    p_o c_t (Gers and Schmidhuber, 2000, "Recurrent nets that time and count").
coupled : f_t = 1 - i_t, without weights of its own (Greff et al., 2017, "LSTM: a search space
    odyssey").
projection : h_t = W_hr (o_t tanh(c_t)), which has P values; W_hr has no bias, as in PyTorch (Sak,
    Senior and Beaufays, 2014, "Long short-term memory recurrent neural network architectures for
    large scale acoustic modeling").
layer_norm : all pre-activations are normalised (see layer_norm.py), and h_t = o_t tanh(LN(c_t)).
"""

from typing import Any

from ..equations.cell import register
from ..equations.expressions import clip as clip_to
from ..equations.expressions import projection as project
from ..equations.tracer import trace_cell
from .activations import activation
from .layer_norm import gains, normalise, normalise_gates
from .options import cell_family


@cell_family(
    "lstm", peephole=False, coupled=False, layer_norm=False, projection=False, clip=None,
    cell_clip=None, activations=("sigmoid", "tanh", "tanh"), biases=2,
)  # fmt: skip
def lstm_cell(
    name, peephole, coupled, layer_norm, projection, clip, cell_clip, activations, biases
):
    """Return the LSTM cell with these options.

    `peephole`, `coupled`, `layer_norm` and `projection` are described at the top of the module.
    `clip` limits the pre-activations of the gates to [-clip, clip], as in ONNX; `cell_clip` does
    the same to c. `activations` are those of the gates, the candidate and the output. `biases` is
    the number of bias vectors per gate; with `layer_norm` there is one, after the normalisation.
    """
    # These are sigmoid and tanh unless `activations` says otherwise.
    sigmoid, tanh, output_tanh = (activation(a) for a in activations)

    weighted_gates = "i g o" if coupled else "i f g o"
    peephole_gates = ("io" if coupled else "ifo") if peephole else ""
    initial = {**gains(weighted_gates), "gain_c": 1.0, "bias_c": 0.0} if layer_norm else {}

    def clip_input(a):
        return clip_to(a, clip) if clip else a

    def clip_memory(c):
        return clip_to(c, cell_clip) if cell_clip else c

    @trace_cell(
        name, gates="i f g o", states="h c",
        parameters=" ".join([*(f"p_{g}" for g in peephole_gates), *initial]), initial=initial,
        biases=0 if layer_norm else biases, register=False,
    )  # fmt: skip
    def equations(x, h, previous, p: Any = None):
        def with_peephole(a, weight, c):
            return a + getattr(p, weight) * c if peephole else a

        def normalise_memory(c):
            return normalise([c], [p.gain_c], [p.bias_c])[0] if layer_norm else c

        if layer_norm:
            x, h = normalise_gates(x, h, p, weighted_gates)

        i = sigmoid(clip_input(with_peephole(x.i + h.i, "p_i", previous.c)))
        f = 1 - i if coupled else sigmoid(clip_input(with_peephole(x.f + h.f, "p_f", previous.c)))
        g = tanh(clip_input(x.g + h.g))
        c = clip_memory(f * previous.c + i * g)
        o = sigmoid(clip_input(with_peephole(x.o + h.o, "p_o", c)))
        h = o * output_tanh(normalise_memory(c))
        return dict(i=i, f=f, g=g, o=o, c=c, h=project(h) if projection else h)

    return equations


lstm = register(lstm_cell())
