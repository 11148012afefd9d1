"""The nodes of each layer: one table from class of layer to what writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from ... import layers as classes
from ...cells.activations import activation
from ...equations.expressions import Expr
from ...layers.activation import MORE
from .builder import Builder
from .expressions import write
from .recurrent import write_recurrent


@dataclass
class Place:
    """Where a layer is in a model, and what its nodes need beside its input.

    Attributes
    ----------
    b : Builder
        The graph.
    prefix : str
        What precedes the names of the parameters, "0.".
    layer : Layer
        The layer.
    names : dict of str to str
        Names of the initializers by the layer's own names: others if parameters are tied.
    lengths : str, optional
        Lengths of the sequences of x, (N,).
    states : bool
        Whether initial states are inputs of the graph and final states are outputs.
    """

    b: Builder
    prefix: str
    layer: Any
    names: dict[str, str] = field(default_factory=dict)
    lengths: str | None = None
    states: bool = False

    def name(self, own: str) -> str:
        """Return the name of the initializer of a parameter."""
        return self.names.get(own, f"{self.prefix}{own}")

    def parameter(self, own: str) -> str:
        """Return the value of a parameter."""
        return self.b.matrix(self.name(own), self.layer.parameters[own])

    def inside(self, k: int, layer: Any) -> Place:
        """Return the place of a layer inside this one."""
        start = f"{k}."
        names = {n.removeprefix(start): g for n, g in self.names.items() if n.startswith(start)}
        prefix = f"{self.prefix}{start}"
        return Place(self.b, prefix, layer, names, self.lengths, self.states)

    def initial_state(self, layer: Any, state: str, x: str) -> str | None:
        """Return an initial state with a row for each sequence; None for zeros.

        An input of the graph for it is called as a learned initial state, "0.h0". It has one row or
        N, and its default is the learned one or zeros.
        """
        width = layer.state_sizes[state]
        base, found, end = state.partition("_reverse")
        own = f"{base}0{found}{end}"
        if not self.states and own not in layer.initial:
            return None
        value = layer.parameters[own] if own in layer.initial else np.zeros(width, self.b.dtype)
        if not self.states:
            return self.b.rows(self.b.parameter(self.name(own), value[None]), x, width)
        # Layers that share parameters have inputs of their own.
        name = self.b.parameter(f"{self.prefix}{own}", value[None])
        self.b.inputs.append(self.b.info(name, (f"rows of {name}", width)))
        return self.b.rows(name, x, width)

    def final_states(self, states: dict[str, str]) -> None:
        """Make final states outputs of the graph, "0.hn", if they are asked for."""
        for state, value in states.items() if self.states else ():
            base, found, end = state.partition("_reverse")
            name = f"{self.prefix}{base}n{found}{end}"
            self.b.nodes.append(self.b.helper.make_node("Identity", [value], [name], name))
            self.b.outputs.append(self.b.info(name, ("N", self.layer.state_sizes[state])))


def _embedding(b: Builder, p: Place, layer: Any, x: str) -> str:
    return b.add("Gather", p.parameter("weight"), x, axis=0)


def _one_hot(b: Builder, p: Place, layer: Any, x: str) -> str:
    ids = b.add("Unsqueeze", x, b.ints(-1))
    same = b.add("Equal", ids, b.constant(np.arange(layer.rows), np.int64))
    return b.add("Cast", same, to=b.float)


def _linear(b: Builder, p: Place, layer: Any, x: str) -> str:
    y = b.add("MatMul", x, b.add("Transpose", p.parameter("weight"), perm=[1, 0]))
    return b.add("Add", y, p.parameter("bias")) if "bias" in layer.shapes else y


def _activation(b: Builder, p: Place, layer: Any, x: str) -> str:
    if layer.function == "softmax":
        return b.add("Softmax", x, axis=-1)
    source = Expr("input", name="x")
    y = (MORE.get(layer.function) or activation(layer.function))(source)
    return write(b, [y], {source: x})[y]


def _layer_norm(b: Builder, p: Place, layer: Any, x: str) -> str:
    inputs = x, p.parameter("weight"), p.parameter("bias")
    return b.add("LayerNormalization", *inputs, axis=-1, epsilon=layer.eps)


def _crf(b: Builder, p: Place, layer: Any, x: str) -> str:
    rows = b.add("Unsqueeze", p.parameter("start_transitions"), b.ints(0))
    rows = b.add("Concat", p.parameter("transitions"), rows, axis=0)
    column = b.add("Concat", p.parameter("end_transitions"), b.constant([0]), axis=0)
    table = b.add("Concat", rows, b.add("Unsqueeze", column, b.ints(1)), axis=1)
    # x (T, N, 1, K), with a zero at its end, is added to each row of the table.
    emissions = b.add("Pad", b.add("Unsqueeze", x, b.ints(2)), b.ints(*[0] * 7, 1))
    pairs = b.add("Add", emissions, table)
    return b.add("Reshape", pairs, b.ints(0, 0, layer.out_features))


def _dropout(b: Builder, p: Place, layer: Any, x: str) -> str:
    return x


def _taken(b: Builder, p: Place, x: str, first: bool) -> str:
    """Return the first or the last valid step of each sequence."""
    if not p.lengths:
        return b.add("Gather", x, b.constant(0 if first else -1, np.int64), axis=0)
    # Step t is the last valid one if lengths is t + 1; the first one is step 0 of lengths above 0.
    one = b.constant(1, np.int32)
    if first:
        chosen = b.valid(b.once("Min", p.lengths, one), x)
    else:
        later = b.valid(b.once("Sub", p.lengths, one), x)
        chosen = b.add("Xor", b.valid(p.lengths, x), later)
    return b.add("ReduceSum", b.masked(x, chosen), b.ints(0), keepdims=0)


def _last(b: Builder, p: Place, layer: Any, x: str) -> str:
    if not layer.bidirectional:
        return _taken(b, p, x, layer.reverse)
    forward, backward = b.add_many("Split", [x], 2, axis=-1)
    return b.add("Concat", _taken(b, p, forward, False), _taken(b, p, backward, True), axis=-1)


def _hold(b: Builder, p: Place, layer: Any, x: str) -> str:
    if not p.lengths:
        return x
    last = b.add("Unsqueeze", _taken(b, p, x, False), b.ints(0))
    return b.add("Where", b.valid(p.lengths, x), x, last)


def _mean_pool(b: Builder, p: Place, layer: Any, x: str) -> str:
    if not p.lengths:
        return b.add("ReduceMean", x, axes=[0], keepdims=0)
    total = b.add("ReduceSum", b.masked(x, b.valid(p.lengths, x)), b.ints(0), keepdims=0)
    steps = b.add("Max", b.add("Cast", p.lengths, to=b.float), b.constant(1))
    return b.add("Div", total, b.add("Unsqueeze", steps, b.ints(1)))


def _max_pool(b: Builder, p: Place, layer: Any, x: str) -> str:
    if not p.lengths:
        return b.add("ReduceMax", x, axes=[0], keepdims=0)
    most = b.add("ReduceMax", b.masked(x, b.valid(p.lengths, x), -np.inf), axes=[0], keepdims=0)
    some = b.add("Greater", p.lengths, b.constant(0, np.int32))
    return b.masked(most, b.add("Unsqueeze", some, b.ints(1)))


def _conv1d(b: Builder, p: Place, layer: Any, x: str) -> str:
    inputs = [p.parameter(name) for name in layer.shapes]
    x = b.masked(x, b.valid(p.lengths, x) if p.lengths else None)
    y = b.add(
        "Conv",
        b.add("Transpose", x, perm=[1, 2, 0]),
        *inputs,
        kernel_shape=[layer.kernel_size],
        strides=[layer.stride],
        pads=[layer.left, layer.right],
        dilations=[layer.dilation],
        group=layer.groups,
    )
    y = b.add("Transpose", y, perm=[2, 0, 1])
    return b.masked(y, b.valid(output_lengths(b, layer, p.lengths), y) if p.lengths else None)


def output_lengths(b: Builder, layer: Any, lengths: str) -> str:
    """Return the lengths of the output of a layer."""
    if layer.keeps_steps:
        return lengths

    def number(k: int) -> str:
        return b.constant(k, np.int32)

    room = b.once("Add", lengths, number(layer.left + layer.right - layer.past - 1))
    # Division rounds towards 0: what is negative becomes 0 windows.
    steps = b.once("Div", b.once("Max", room, number(-layer.stride)), number(layer.stride))
    count = b.once("Add", steps, number(1))
    none = b.once("Or", b.once("Less", room, number(0)), b.once("Less", lengths, number(1)))
    return b.once("Where", none, number(0), count)


def _attention(b: Builder, p: Place, layer: Any, x: str) -> str:
    valid = b.valid(p.lengths, x) if p.lengths else None
    queries = b.add("Transpose", x, perm=[1, 0, 2])  # (N, T, Q)
    memory = b.add("Transpose", b.masked(x, valid), perm=[1, 0, 2])

    def times(value: str, name: str) -> str:
        return b.add("MatMul", value, b.add("Transpose", p.parameter(name), perm=[1, 0]))

    if layer.score == "additive":
        q = b.add("Add", times(queries, "weight_query"), p.parameter("bias_query"))
        q = b.add("Unsqueeze", q, b.ints(2))
        k = b.add("Unsqueeze", times(memory, "weight_memory"), b.ints(1))
        scores = times(b.add("Tanh", b.add("Add", q, k)), "weight_score")
        scores = b.add("Squeeze", scores, b.ints(3))
    else:
        q = times(queries, "weight_query") if layer.score == "general" else queries
        scores = b.add("MatMul", q, b.add("Transpose", memory, perm=[0, 2, 1]))
    if valid:
        columns = b.add("Transpose", valid, perm=[1, 2, 0])  # (N, 1, T)
        weights = b.add("Softmax", b.masked(scores, columns, float(np.finfo(b.dtype).min)), axis=-1)
        weights = b.masked(weights, columns)
    else:
        weights = b.add("Softmax", scores, axis=-1)
    y = b.add("Concat", b.add("MatMul", weights, memory), queries, axis=-1)
    if "weight_output" in layer.shapes:
        y = b.add("Tanh", b.add("Add", times(y, "weight_output"), p.parameter("bias_output")))
    return b.add("Transpose", y, perm=[1, 0, 2])


def _residual(b: Builder, p: Place, layer: Any, x: str) -> str:
    y = x
    for k, inner in enumerate(layer.inner):
        y = write_layer(p.inside(k, inner), y)
    return b.add("Add", x, y)


def _join(operator: str) -> Callable[..., str]:
    return lambda b, p, layer, x: reduce(lambda u, v: b.add(operator, u, v), x)


def _concat(b: Builder, p: Place, layer: Any, x: Any) -> str:
    return b.add("Concat", *x, axis=-1)


WRITERS: dict[type, Callable[..., str]] = {
    classes.Recurrent: write_recurrent,
    classes.Embedding: _embedding,
    classes.OneHot: _one_hot,
    classes.Linear: _linear,
    classes.Activation: _activation,
    classes.LayerNorm: _layer_norm,
    classes.CRF: _crf,
    classes.Dropout: _dropout,
    classes.Last: _last,
    classes.Hold: _hold,
    classes.MeanPool: _mean_pool,
    classes.MaxPool: _max_pool,
    classes.Conv1d: _conv1d,
    classes.Attention: _attention,
    classes.Residual: _residual,
    classes.Add: _join("Add"),
    classes.Multiply: _join("Mul"),
    classes.Concat: _concat,
}


def known_class(layer: Any) -> type | None:
    """Return the class in the table that computes what a layer does; None for another `forward`."""
    for kind in type(layer).__mro__:
        if kind in WRITERS:
            return kind if type(layer).forward is kind.forward else None
    return None


def refused(layer: Any) -> str:
    """Return why ONNX cannot say a layer; "" if it can."""
    if known_class(layer) is None:
        return f"to_onnx knows no nodes for {type(layer).__name__}"
    if isinstance(layer, classes.Attention) and not layer.over_itself:
        return "an Attention with memory_size reads a memory that a graph does not have"
    inner = [refused(one) for one in getattr(layer, "inner", ())]
    return next((why for why in inner if why), "")


def write_layer(place: Place, x: Any) -> str:
    """Add the nodes of a layer; return the name of its output."""
    before, place.b.place = place.b.place, place.prefix.rstrip(".")
    kind: Any = known_class(place.layer)
    y = WRITERS[kind](place.b, place, place.layer, x)
    place.b.place = before
    return y
