"""Summaries: one row a layer, with its output, its parameters and the state that it carries."""

from __future__ import annotations

import inspect
import math
from itertools import groupby
from typing import Any, NamedTuple

from ..engine.bidirectional import REVERSE
from ..graph import Graph

LONGEST = 44  # characters of a layer
HEADINGS = ("", "layer", "output", "parameters", "state")


class Row(NamedTuple):
    """One layer of a summary, in words."""

    name: str  # what the names of its parameters begin with
    layer: str
    output: str
    parameters: str
    state: str


def summary(model: Any) -> str:
    """Return the table of `model.summary()`."""
    end = Row("", "total", "", f"{model.size:,}", f"{model.weights}, {size(model)}")
    return "\n".join([type(model).__name__, *_columns([Row(*HEADINGS), *rows(model), end])])


def rows(model: Any) -> list[Row]:
    """Return a row for each layer, in the order of `model.layers`."""
    found = []
    for part, stack in model.parts.items():
        graph = stack.graph()
        for k, layer in enumerate(stack.layers):
            name, tied = stack.names[k], stack.tied(k)
            count = layer.size - sum(math.prod(layer.shapes[n]) for n in tied)
            notes = [_state(graph, f"layer{k}"), *(f"{n} is {other}" for n, other in tied.items())]
            notes += ["frozen"] * (layer.size > 0 and not layer.trainable)
            found.append(
                Row(
                    f"{part}.{name}" if part else name,
                    _layer(layer),
                    _shape(graph.node(f"layer{k}").shape),
                    f"{count:,}",
                    ", ".join(filter(None, notes)),
                )
            )
    return found


def _layer(layer: Any) -> str:
    """Return a layer as one would write it: sizes without their names, other options with them."""
    options, words = dict(layer.options), [_layer(inner) for inner in layer.inner]
    for name in inspect.signature(type(layer)).parameters:
        value = options.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            break
        words.append(repr(options.pop(name)))
    words += [f"{name}={value!r}" for name, value in options.items()]
    text = f"{type(layer).__name__}({', '.join(words)})"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _shape(shape: tuple) -> str:
    return f"({', '.join(map(str, shape))})"


def _state(graph: Graph, node: str) -> str:
    """Return the names of the states of a layer, with their shapes, such as "h, c (N, 5)"."""
    loops = [e for e in graph.edges if e.source == e.target == node]
    forward = [e for e in loops if not e.label.endswith(REVERSE)]
    words = [
        f"{', '.join(e.label for e in group)} {_shape(shape)}"
        for shape, group in groupby(forward, lambda e: e.shape)
    ]
    way = " in reverse" * any(e.delay < 0 for e in forward)
    return ", ".join(words) + (" in both directions" if len(forward) < len(loops) else way)


def size(model: Any) -> str:
    """Return the memory of the parameters with three digits and its unit."""
    count, units = float(model.nbytes), ["GB", "MB", "kB", "B"]
    while count >= 999.5 and len(units) > 1:
        count /= 1000
        units.pop()
    return f"{count:.3g} {units[-1]}"


def _columns(table: list[Row]) -> list[str]:
    """Return the rows as aligned lines; numbers of parameters end in one column."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            text.rjust(width) if k == 3 else text.ljust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(["", *cells]).rstrip())
    return lines
