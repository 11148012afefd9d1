"""Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate: Gers et al., 2000), PyTorch's `nn.LSTM`.

(1)  i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)      input gate
(2)  f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)      forget gate
(3)  g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)         candidate
(4)  o_t = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)      output gate
(5)  c_t = f_t c_{t-1} + i_t g_t                               memory: each unit sees its own c only
(6)  h_t = o_t tanh(c_t)                                       output: every unit sees all of h

Peepholes (Gers and Schmidhuber, 2000): i and f see p_i c_{t-1} and p_f c_{t-1} besides, o sees p_o c_t.
Projection (Sak, Senior and Beaufays, 2014, "Long short-term memory recurrent neural network architectures for large scale
acoustic modeling"): (6) is then h_t = W_hr (o_t tanh(c_t)), shorter than c_t; W_hr has no bias, as in PyTorch.
Layer normalisation: see normal.py; (6) is then h_t = o_t tanh(LN(c_t)), with a gain and a bias.
Coupled gates (Greff et al., 2017, "LSTM: a search space odyssey"): f = 1 - i, which has no weights of its own.
"""

from ..equations.cell import register
from ..equations.expressions import clip as clipped
from ..equations.expressions import projection as projected
from ..equations.tracer import trace_cell
from .activations import activation
from .layer_norm import gains, normal, normalised
from .options import cell_family


@cell_family(
    "lstm", peephole=False, coupled=False, layer_norm=False, projection=False, clip=None, cell_clip=None,
    activations=("sigmoid", "tanh", "tanh"), biases=2,
)  # fmt: skip
def lstm_cell(
    name, peephole, coupled, layer_norm, projection, clip, cell_clip, activations, biases
):
    """The LSTM. `peephole`: gates see the memory. `coupled`: f = 1 - i. `layer_norm`: see normal.py; a gate has one bias then.
    `projection`: h is W_hr times the units' output. `clip`: what goes into an activation of a gate is kept within +-clip,
    as in ONNX. `cell_clip`: c is. `activations`: of the gates, the candidate, the output.
    """
    gate, candidate, output = (activation(a) for a in activations)

    weighed = "i g o" if coupled else "i f g o"
    initial = {**gains(weighed), "gain_c": 1.0, "bias_c": 0.0} if layer_norm else {}
    peepholes = [f"p_{g}" for g in ("io" if coupled else "ifo")] if peephole else []

    def within(a):
        return clipped(a, clip) if clip else a

    @trace_cell(
        name, gates="i f g o", states="h c", parameters=" ".join([*peepholes, *initial]), initial=initial,
        biases=0 if layer_norm else biases, register=False,
    )  # fmt: skip
    def equations(x, h, previous, p=None):
        if layer_norm:
            x, h = normalised(x, h, p, weighed)

        def sees(a, weight, c):
            return within(a + getattr(p, weight) * c if peephole else a)

        i = gate(sees(x.i + h.i, "p_i", previous.c))
        f = 1 - i if coupled else gate(sees(x.f + h.f, "p_f", previous.c))
        g = candidate(within(x.g + h.g))
        c = f * previous.c + i * g
        c = clipped(c, cell_clip) if cell_clip else c
        o = gate(sees(x.o + h.o, "p_o", c))
        shown = normal([c], [p.gain_c], [p.bias_c])[0] if layer_norm else c
        h = o * output(shown)
        return dict(i=i, f=f, g=g, o=o, c=c, h=projected(h) if projection else h)

    return equations


lstm = register(lstm_cell())
