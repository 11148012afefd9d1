"""The network of an estimator: recurrent layers, pooling, a linear layer."""

from __future__ import annotations

from typing import Any

from .. import checks
from ..cells import Cell
from ..layers import (
    GRU,
    LSTM,
    QRNN,
    RNN,
    Attention,
    Dropout,
    Last,
    Layer,
    Linear,
    MaxPool,
    MeanPool,
    Recurrent,
)
from ..models.sequential import Sequential

NAMED = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "qrnn": QRNN}
POOLINGS = ("last", "mean", "max", "attention")


def network(
    cell: str | Cell,
    input_size: int,
    hidden_size: int,
    output_size: int,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    pooling: str | None = "last",
    dropout: float = 0.0,
    rng: Any = 0,
) -> Sequential:
    """Return a new model; without pooling it has an output at every step."""
    layers: list[Layer] = []
    width = input_size
    bidirectional = checks.flag(bidirectional, "bidirectional")
    dropout = checks.number(dropout, "dropout", 0, below=1)
    for k in range(checks.size(num_layers, "num_layers")):
        if k and dropout:
            layers.append(Dropout(dropout))
        layer = _recurrent(cell, width, hidden_size, bidirectional)
        width = layer.out_features
        layers.append(layer)
    layers += _pooling(pooling, width, bidirectional)
    if dropout:
        layers.append(Dropout(dropout))
    return Sequential(*layers, Linear(width, output_size), rng=rng)


def _recurrent(cell, input_size, hidden_size, bidirectional) -> Any:
    """Return a layer of a cell, of its own class where it has one."""
    if isinstance(cell, str) and cell in NAMED:
        return NAMED[cell](input_size, hidden_size, bidirectional=bidirectional)
    return Recurrent(cell, input_size, hidden_size, bidirectional=bidirectional)


def _pooling(pooling, width, bidirectional) -> list[Layer]:
    """Return the layers that turn a sequence into one vector."""
    if pooling is None:
        return []
    checks.choice(pooling, "pooling", POOLINGS)
    if pooling == "last":
        return [Last(bidirectional=bidirectional)]
    if pooling == "attention":
        return [Attention(width, output_size=width), MeanPool()]
    return [MeanPool() if pooling == "mean" else MaxPool()]
