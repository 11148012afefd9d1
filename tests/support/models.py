"""Hypothesis strategies for models with any combination of options, and batches for them."""

import numpy as np
from hypothesis import strategies as st
from oracles import naive

from recurrent import (
    GRU,
    LSTM,
    RNN,
    Dropout,
    Hold,
    Last,
    Linear,
    MaxPool,
    MeanPool,
    Recurrent,
    ReLU,
    Residual,
    Sequential,
    Tanh,
)
from recurrent.cells import PYTORCH
from recurrent.engine.bidirectional import MERGES

RATES = st.sampled_from([0.0, 0.0, 0.3, 0.6])
CELL_OPTIONS = {
    RNN: dict(
        nonlinearity=st.sampled_from(["tanh", "relu", "softsign"]),
        clip=st.sampled_from([None, 0.7]),
    ),
    LSTM: dict(
        peephole=st.booleans(),
        coupled=st.booleans(),
        layer_norm=st.booleans(),
        cell_clip=st.sampled_from([None, 0.5]),
    ),
    GRU: dict(reset_after=st.booleans(), z_keeps=st.booleans(), layer_norm=st.booleans()),
}
BY_NAME = sorted(set(naive.UNITS) - set(PYTORCH))  # which other tests compile too


@st.composite
def recurrent_layers(draw, D, cell_options=True):
    """A recurrent layer with D input features.

    Without `cell_options` only cells that other tests compile too.
    """
    kind = draw(st.sampled_from([RNN, LSTM, GRU, Recurrent] if cell_options else [LSTM, GRU]))
    H, options = draw(st.integers(3, 5)), {}
    if draw(st.booleans()):
        merge = draw(st.sampled_from([*MERGES, "none"]))
        options |= dict(bidirectional=True, merge=merge) if merge in MERGES else dict(reverse=True)
    options["learn_state"] = draw(st.booleans())
    name = (draw(st.sampled_from(BY_NAME)),) if kind is Recurrent else ()
    if name or not cell_options:
        chosen = {}
    else:
        chosen = {k: draw(v) for k, v in CELL_OPTIONS[kind].items()}
        if kind is LSTM:
            chosen["proj_size"] = draw(st.sampled_from([0, 2]))
        chosen |= dict(biases=draw(st.sampled_from([0, 1, 2])))
    cell = kind(*name, D, H, **chosen).cell
    options |= dict(zoneout=draw(RATES)) if cell_options else {}
    if cell.h_gates:
        options["weight_drop"] = draw(RATES)
        if cell_options and not any(e.op == "product" for e in cell.products):
            options["recurrent_dropout"] = draw(RATES)
    return kind(*name, D, H, **chosen, **{k: v for k, v in options.items() if v})


@st.composite
def stacks(draw, dtype=None, pooled=True, **options):
    """A model of one or two recurrent layers and what may precede, separate and follow them."""
    D = draw(st.integers(1, 4))
    layers, width = [], D
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.booleans()):
            layers.append(Dropout(0.4, **draw(st.sampled_from([{}, dict(per="sequence")]))))
        layers.append(draw(recurrent_layers(width, **options)))
        width = layers[-1].out_features
        if draw(st.booleans()):
            layers.append(draw(st.sampled_from([ReLU, Tanh]))())
    recurrent = [layer for layer in layers if isinstance(layer, Recurrent)]
    both, reverse = getattr(recurrent[-1], "merge", None), recurrent[-1].reverse
    if draw(st.booleans()):
        layers.append(Residual(GRU(width, 2), Dropout(0.3), Linear(2, width, bias=False)))
        both, reverse = None, False
    ends = dict(bidirectional=both == "concat", reverse=reverse)
    last = [] if both not in (None, "concat") else [lambda: Last(**ends)]
    after = draw(st.sampled_from([None, Hold, *([MeanPool, MaxPool, *last] if pooled else [])]))
    if after is not None:
        layers.append(after())
    if draw(st.booleans()):
        layers.append(Linear(width, 2, bias=draw(st.booleans())))
    model = Sequential(
        *layers,
        rng=draw(st.integers(0, 999)),
        dtype=dtype or draw(st.sampled_from(["float32", "float64"])),
    )
    # Initial values of zero or one would hide mistakes.
    for name, a in model.parameters.items():
        a += 0.3 * np.random.default_rng(len(name)).standard_normal(a.shape).astype(a.dtype)
    return model


@st.composite
def batches(draw, model):
    """x, shape (T, N, D), and lengths, a mask or None."""
    T, N, rng = (
        draw(st.integers(1, 5)),
        draw(st.integers(1, 4)),
        np.random.default_rng(draw(st.integers(0, 999))),
    )
    D = next(layer.in_features for layer in model.layers if layer.in_features is not None)
    x = rng.standard_normal((T, N, D)).astype(model.dtype)
    kind = draw(st.sampled_from(["full", "lengths", "mask"]))
    return x, {
        "full": None,
        "lengths": rng.integers(0, T + 1, N),
        "mask": rng.random((T, N)) < 0.6,
    }[kind]
