"""Models that to_onnx writes: each layer, options of recurrent layers, and a graph of branches."""

import numpy as np

from recurrent import (
    CRF,
    GRU,
    LSTM,
    QRNN,
    RNN,
    Activation,
    Add,
    Attention,
    Concat,
    Conv1d,
    Dropout,
    Embedding,
    Graph,
    Hold,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Multiply,
    OneHot,
    Residual,
)

# Recurrent layers, and the operator that they become in float32.
RECURRENT = [
    (lambda: RNN(3, 4), "RNN"),
    (lambda: RNN(3, 4, nonlinearity="relu", biases=1), "RNN"),
    (lambda: RNN(3, 4, reverse=True, biases=0), "RNN"),
    (lambda: LSTM(3, 4), "LSTM"),
    (lambda: LSTM(3, 4, bidirectional=True, learn_state=True), "LSTM"),
    (lambda: LSTM(3, 4, peephole=True, bidirectional=True, merge="mul", biases=1), "LSTM"),
    (lambda: LSTM(3, 4, biases=0, reverse=True), "LSTM"),
    (lambda: GRU(3, 4, bidirectional=True, merge="sum"), "GRU"),
    (lambda: GRU(3, 4, reset_after=False, bidirectional=True, merge="average"), "GRU"),
    (lambda: GRU(3, 4, biases=1, learn_state=True), "GRU"),
    (lambda: RNN(3, 4, nonlinearity="softsign", clip=0.4), "RNN"),
    (lambda: LSTM(3, 4, clip=0.3, peephole=True, reverse=True), "LSTM"),
    (lambda: GRU(3, 4, clip=0.3, bidirectional=True), "GRU"),
    (lambda: LSTM(3, 4, proj_size=2, bidirectional=True), "Scan"),
    (lambda: LSTM(3, 4, layer_norm=True, reverse=True), "Scan"),
    (lambda: LSTM(3, 4, coupled=True, cell_clip=0.3, clip=0.5, learn_state=True), "Scan"),
    (lambda: LSTM(3, 4, zoneout=0.2, activations=("hardsigmoid", "softsign", "elu")), "Scan"),
    (lambda: GRU(3, 4, z_keeps=False, layer_norm=True, bidirectional=True, merge="sum"), "Scan"),
    (lambda: QRNN(3, 4, window=3, bidirectional=True), "Scan"),
]


# Layers of a Sequential that reads x (T, N, 3) or ids below 7.
LAYERS = {
    "embedding": lambda: [Embedding(7, 3), RNN(3, 2), Last(), Linear(2, 3)],
    "one-hot": lambda: [OneHot(7), GRU(7, 2), Linear(2, 3, bias=False)],
    "normalised": lambda: [LayerNorm(3, eps=1e-3), Dropout(0.3), Activation("softmax")],
    "last of both": lambda: [LSTM(3, 2, bidirectional=True), Last(bidirectional=True)],
    "last of reverse": lambda: [GRU(3, 2, reverse=True), Last(reverse=True)],
    "last": lambda: [Linear(3, 2), Last()],
    "mean": lambda: [Linear(3, 2), MeanPool()],
    "max": lambda: [Linear(3, 2), MaxPool(), Linear(2, 2)],
    "same convolution": lambda: [Conv1d(3, 4, 3, padding="same", bias=False), RNN(4, 2)],
    "causal convolution": lambda: [Conv1d(3, 4, 2, padding="causal", dilation=2), MeanPool()],
    "grouped convolution": lambda: [Linear(3, 4), Conv1d(4, 6, 3, padding=1, groups=2)],
    "strided convolution": lambda: [Conv1d(3, 2, 3, stride=2, padding=2), LSTM(2, 2), MaxPool()],
    "hold": lambda: [GRU(3, 2), Hold()],
    "residual": lambda: [Linear(3, 4), Residual(LSTM(4, 4), LayerNorm(4)), Linear(4, 2)],
    "tagger": lambda: [GRU(3, 4), Linear(4, 2), CRF(2)],
    "general attention": lambda: [Attention(3)],
    "dot attention": lambda: [GRU(3, 2), Attention(2, score="dot", output_size=3), MeanPool()],
    "additive attention": lambda: [Attention(3, score="additive", score_size=2), Linear(6, 2)],
}


def graph_of_branches(**options):
    """Return a model with a residual connection, a shared layer and two outputs."""
    shared = GRU(4, 4)
    return Graph(
        {
            "words": (Embedding(7, 4), "ids"),
            "one": shared,
            "sum": (Add(), "words", "one", "words"),
            "two": (shared, "sum"),
            "product": (Multiply(), "one", "two"),
            "both": (Concat(), "product", "x"),
            "class": Linear(7, 3),
            "value": (MeanPool(), "both"),
        },
        ["class", "value"],
        inputs=["ids", "x"],
        **options,
    )


def randomised(model, seed=0):
    """Fill all parameters with numbers that are not zero: learned states and biases too."""
    rng = np.random.default_rng(seed)
    for a in model.parameters.values():
        a[...] = rng.uniform(-0.6, 0.6, a.shape) + 0.05
    return model


def inputs(model, T, N, rng, width=3):
    """Return x for a model: ids if its first layer reads them."""
    first = model.layers[0]
    shape = (N, T) if model.batch_first else (T, N)
    if first.gives_lookup:
        return rng.integers(0, first.rows, shape)
    return rng.standard_normal((*shape, first.in_features or width)).astype(model.dtype)
