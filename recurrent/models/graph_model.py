"""Graph: a model whose layers form a directed acyclic graph."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from .. import checks, initialisers
from ..engine import ragged
from ..layers.base import Layer
from ..layers.stack import check_layer
from .layered import InputLengths, Layered
from .sequential import Sequential
from .wiring import Wiring, by_name

FORM = 'name: layer, or name: (layer, "source", ...)'


class Graph(Layered):
    """A model whose layers form a directed acyclic graph: branches, joins, shared parameters.

    Each node is a layer with a name. It reads the node before it, or those that are named after the
    layer: `"sum": (Add(), "x", "lstm")`. Names that no node has are the inputs. `Add`, `Multiply`
    and `Concat` join what several nodes compute. Otherwise a Graph is used like a `Sequential`,
    whose layers read each the one before: it has the same methods, and the same layers in a row
    have the same bits. (`model.graph()` and the module `recurrent.graph` are something else: plain
    data, from which pictures are drawn.)

    Several inputs are a dict by name in place of x, in `forward`, `fit`, streams and `gradcheck`;
    `lengths` are then those of all inputs, or a dict. Several outputs are a dict in place of y, in
    the order of `outputs`; dy, targets and what a loss takes and returns are dicts too.

    A layer that is the value of two nodes shares its parameters: the second node has the names of
    the first in `tie`, and states of its own. Where several layers read a value, its gradient is
    the sum of theirs in a fixed order: the output itself, then the layer that runs last, and so on
    to the first.

    Parameters
    ----------
    nodes : dict
        The nodes by name: a layer, or a tuple of a layer and the names of what it reads, nodes or
        inputs, defined before or after it. By default it reads the node before it; the first node
        reads the only input, called "x" if no node names one. A Sequential stands for its layers,
        as in `Sequential`: its name is that of its output, and the parameters are named
        "name.0.weight" and so on.
    outputs : str or sequence of str
        The names of the nodes whose outputs the model returns: one name for an array, several for
        a dict.
    inputs : sequence of str, optional
        The names of the inputs in order. By default those that no node has, as the nodes read them.
    rng : int or numpy.random.Generator, default 0
        Seed or generator of the initial parameters and of dropout.
    dtype : {"float32", "float64"}, default "float32"
        Dtype of the parameters.
    init : str or callable, default "pytorch"
        Initialisation scheme: a name in `recurrent.initialisers`, or a function.
    tie : dict of str to str, optional
        Weight tying, as in `Sequential`: {"out.weight": "words.weight"}.
    batch_first : bool, default False
        Whether arrays are (N, T, ...) rather than (T, N, ...), as in `Sequential`.

    Attributes
    ----------
    names : list of str
        The names of the layers, in the order in which they run; `model["name"]` is the layer.
    inputs, outputs : tuple of str
        The names of inputs and outputs.

    Raises
    ------
    TypeError
        If nodes or names have the wrong type, or a layer has values of another dtype.
    ValueError
        If the nodes form a circle, a name is unknown, a node is not used, sizes do not fit, or a
        layer is part of a model.

    Examples
    --------
    A residual connection, and a second branch beside it:

    >>> from recurrent import GRU, LSTM, Add, Concat, Linear
    >>> model = Graph(
    ...     {
    ...         "lstm": LSTM(8, 8),
    ...         "sum": (Add(), "x", "lstm"),
    ...         "gru": (GRU(8, 4), "x"),
    ...         "both": (Concat(), "sum", "gru"),
    ...         "out": Linear(12, 2),
    ...     },
    ...     "out",
    ... )
    >>> model(np.zeros((7, 3, 8), np.float32)).shape
    (7, 3, 2)
    >>> list(model.parameters)[-2:]
    ['out.weight', 'out.bias']

    Two inputs and two outputs; both questions are read by one layer:

    >>> reader = LSTM(5, 6)
    >>> model = Graph(
    ...     {
    ...         "first": (reader, "a"),
    ...         "second": (reader, "b"),
    ...         "both": (Add(), "first", "second"),
    ...         "class": Linear(6, 3),
    ...         "value": (Linear(6, 1), "both"),
    ...     },
    ...     ["class", "value"],
    ... )
    >>> x = np.zeros((7, 3, 5), np.float32)
    >>> {name: y.shape for name, y in model({"a": x, "b": x}).items()}
    {'class': (7, 3, 3), 'value': (7, 3, 1)}
    """

    def __init__(
        self,
        nodes: dict[str, Any],
        outputs: str | Sequence[str],
        *,
        inputs: Sequence[str] | None = None,
        rng: Any = 0,
        dtype: Any = "float32",
        init: Any = "pytorch",
        tie: dict[str, str] | None = None,
        batch_first: bool = False,
    ):
        self.dtype = checks.dtype(dtype)
        rng, scheme = checks.generator(rng), initialisers.named(init)
        self.batch_first = checks.flag(batch_first, "batch_first")
        read, self.inputs = _read_nodes(nodes, inputs)
        self.outputs = _read_outputs(outputs, read)
        shared = self._flatten(_sorted(read, self.outputs))
        self._assemble(rng, scheme, tie, shared)

    def _flatten(self, nodes: list[_Node]) -> dict[str, str]:
        """Set the layers, names, inner models and wiring; return the ties of shared layers."""
        self.layers, self.names, self._models = [], [], []
        shared: dict[str, str] = {}
        first: dict[int, str] = {}  # the name under which each layer came first
        values = {name: v for v, name in enumerate(self.inputs)}
        reads: list[tuple[int, ...]] = []
        for node in nodes:
            owner, new = None, [(node.name, node.layer)]
            if isinstance(node.layer, Sequential):
                model = node.layer
                self._check_inner(model, f"node {node.name}")
                owner, new = model, []
                for name, layer in zip(model.names, model.layers, strict=True):
                    new.append((f"{node.name}.{name}", layer))
                if id(new[0][1]) not in first:
                    numbers = range(len(self.layers), len(self.layers) + len(new))
                    self._models.append((numbers, model))
            read = tuple(values[source] for source in node.sources)
            for name, layer in new:
                if name in self.names:
                    raise ValueError(f"two nodes must not have one name, got {name} twice")
                if layer.owner is not owner:
                    raise ValueError(
                        f"node {name} ({type(layer).__name__}) is already part of a model; make a "
                        "new layer, or pass the whole model as a node"
                    )
                if id(layer) in first:
                    before, layer = first[id(layer)], copy.copy(layer)
                    shared |= {f"{name}.{n}": f"{before}.{n}" for n in layer.shapes}
                else:
                    first[id(layer)] = name
                self.layers.append(layer)
                self.names.append(name)
                reads.append(read)
                read = (len(self.inputs) + len(reads) - 1,)
            values[node.name] = read[0]
        self._wiring = Wiring(self.inputs, reads, {name: values[name] for name in self.outputs})
        return shared

    def where(self, k):
        try:
            return f"node {self.names[k]} ({type(self.layers[k]).__name__})"
        except (IndexError, TypeError):  # no check before: every layer of every call asks
            return self.where(checks.index(k, "k", len(self.layers), ", the layers"))

    def __getitem__(self, k: int | str) -> Layer:
        if not isinstance(k, str):
            return self.layers[k]
        if k not in self.names:
            raise KeyError(
                f"no node {checks.shown(k)}; the names are {', '.join(self.names)}"
                f"{checks.guess(k, self.names)}"
            )
        return self.layers[self.names.index(k)]

    def __repr__(self):
        nodes, before, read = [], "x", []
        for name, layer, sources in zip(self.names, self.layers, self._source_names(), strict=True):
            is_default = sources == [before] and (nodes or len(self.inputs) == 1)
            words = ", ".join([repr(layer), *map(repr, sources)])
            nodes.append(f"{name!r}: {layer!r}" if is_default else f"{name!r}: ({words})")
            before = name
            read += [one for one in sources if one in self.inputs]
        outputs = [node for _, node in self._output_nodes()]
        options = [
            "{" + ", ".join(nodes) + "}",
            repr(outputs[0] if len(outputs) == 1 else outputs),
        ]
        if tuple(dict.fromkeys(read)) != self.inputs:
            options.append(f"inputs={list(self.inputs)!r}")
        options += [f"tie={self.tie!r}"] if self._tie else []
        options += ["batch_first=True"] if self.batch_first else []
        return f"Graph({', '.join(options)})"

    def _output_nodes(self) -> list[tuple[str, str]]:
        """Return the names of the outputs, each with that of the layer that computes it."""
        names = [*self.inputs, *self.names]
        return [(name, names[v]) for name, v in self._wiring.outputs.items()]

    def _source_names(self) -> list[list[str]]:
        """Return for each layer the names of what it reads."""
        names = [*self.inputs, *self.names]
        return [[names[v] for v in read] for read in self._wiring.reads]

    # Several inputs and outputs

    def prepare_input(self, x, lengths):
        several = self._wiring.several
        if several is None:
            return super().prepare_input(x, lengths)
        arrays, own = self._wiring.named(x), dict.fromkeys(several, lengths)
        if isinstance(lengths, dict):
            own = by_name({**dict.fromkeys(several), **lengths}, "lengths", several, "input")
        are_lists = set()
        for v, name in enumerate(several):
            label = f"x[{name!r}]"
            a, n, listed = ragged.pad_sequences(arrays[name], own[name], label)
            if self.batch_first and not listed:
                a, n = self._by_time(a, n, v, label)
            arrays[name], own[name] = checks.as_array(a, label), n
            are_lists.add(listed)
        if len(are_lists) > 1:
            raise TypeError(
                "x must be lists of sequences for all inputs, or arrays for all; got both"
            )
        self._check_steps(arrays, own)
        found = None if all(n is None for n in own.values()) else InputLengths(own)
        return arrays, found, are_lists.pop()

    def _check_steps(self, arrays, lengths) -> None:
        """Check that inputs which a join brings together have the same steps and lengths.

        Lengths that are given for one of them hold for the others.
        """
        inputs = self.inputs
        for v, name in enumerate(inputs):
            first = inputs[self._clocks[v]]
            if first == name:
                continue
            a, b = arrays[first], arrays[name]
            axes = min(2, a.ndim, b.ndim)
            if a.shape[:axes] != b.shape[:axes] and axes:
                raise ValueError(
                    f"x[{name!r}] must have the steps and sequences of x[{first!r}], as they are "
                    f"joined, {a.shape[:axes]}, got {b.shape[:axes]}"
                )
            one, other = lengths[first], lengths[name]
            if one is not None and other is not None and not np.array_equal(one, other):
                raise ValueError(
                    f"lengths[{name!r}] must be those of {first}, as the inputs are joined"
                )
            lengths[first] = other if one is None else one
        for v, name in enumerate(inputs):
            lengths[name] = lengths[inputs[self._clocks[v]]]

    def output_lengths(self, lengths):
        own = self._value_lengths(lengths)
        found = {
            name: own[v] if self._steps[v] else None for name, v in self._wiring.outputs.items()
        }
        if self._results is None:
            return next(iter(found.values()))
        return None if all(n is None for n in found.values()) else found

    def _prepared_dy(self, dy, tape):
        if self._results is None and self._wiring.several is None:
            return super()._prepared_dy(dy, tape)
        lengths = getattr(tape, "list_lengths", None)
        if self._results is None:
            dy = {self.outputs[0]: dy}
        elif dy is not None:
            checks.instance(dy, dict, "dy", f"a dict of the outputs {', '.join(self.outputs)}")
            dy = by_name({**dict.fromkeys(self.outputs), **dy}, "dy", self.outputs, "output")
        else:
            dy = dict.fromkeys(self.outputs)
        of_values = self._value_lengths(lengths)
        for name, v in self._wiring.outputs.items():
            own = None if lengths is None else of_values[v]
            stand_in = SimpleNamespace(list_lengths=own, y_listed=self._steps[v])
            with checks.naming(f"output {name}"):
                one = ragged.pad_dy(dy[name], stand_in)[0]
                if one is not None:
                    one = checks.as_array(one, "dy")
                    if self.batch_first and lengths is None and self._steps[v]:
                        one = self.swapped(one)
            dy[name] = one
        return dy if self._results else dy[self.outputs[0]], lengths, lengths is not None

    def targets_by_time(self, targets, x):
        if not self.batch_first:
            return targets
        found, origins = {}, self._wiring.origins()
        for n, v in self._wiring.outputs.items():
            own = targets[n] if self._results else targets
            steps = x[self.inputs[origins[v]]] if self._wiring.several else x
            if self._steps[v]:
                own = checks.as_array(own, "targets")
                if own.ndim > 1 and own.shape[:2] == steps.shape[1::-1]:
                    own = np.ascontiguousarray(own.swapaxes(0, 1))
            found[n] = own
        return found if self._results else found[self.outputs[0]]

    def resets_by_time(self, resets, x):
        first = x[self.inputs[0]] if isinstance(x, dict) else x
        return super().resets_by_time(resets, first)

    # Files

    _described = ("inputs", "outputs")

    def describe(self) -> dict:
        description = super().describe()
        reads = self._source_names()
        layers = [
            {**entry, "name": name, "reads": sources}
            for entry, name, sources in zip(description["layers"], self.names, reads, strict=True)
        ]
        outputs = [list(pair) for pair in self._output_nodes()]
        ends = {"inputs": list(self.inputs), "outputs": outputs}
        return {**description, "layers": layers, **ends}

    @staticmethod
    def _described_name(description, k):
        name = description.get("name")
        return checks.line(name, f"name of layer {k} of description", 1)

    @classmethod
    def _of(cls, layers, description, **options):
        nodes: dict[str, Any] = {}
        for (name, layer), entry in zip(layers, description["layers"], strict=True):
            if name in nodes:
                raise ValueError(
                    f"names of layers of description must all differ, got {name} twice"
                )
            reads = entry.get("reads")
            words = f"reads of node {name} of description"
            checks.instance(reads, (list, tuple), words, "a list of names")
            if not reads:
                raise ValueError(f"{words} must name at least one node or input, got none")
            nodes[name] = (layer, *reads)
        outputs, inputs = description["outputs"], description["inputs"]
        checks.instance(outputs, (list, tuple), "outputs of description", "a list")
        checks.instance(inputs, (list, tuple), "inputs of description", "a list")
        names = []
        for pair in outputs:
            words = "outputs of description"
            checks.instance(pair, (list, tuple), words, "pairs of names")
            if len(pair) != 2:
                raise ValueError(f"{words} must be pairs of names, got {checks.shown(pair)}")
            names.append(checks.line(pair[0], "name of an output of description", 1))
        if len(set(names)) < len(names):
            raise ValueError(f"outputs must have different names, got {', '.join(names)}")
        model = cls(nodes, [node for _, node in outputs], inputs=inputs, **options)
        model.name_outputs(names)
        return model

    def name_outputs(self, names: Sequence[str]) -> None:
        """Name the outputs, which have the names of their layers so far.

        Parameters
        ----------
        names : sequence of str
            The names in the order of `outputs`.

        Raises
        ------
        TypeError
            If names is no list of str.
        ValueError
            If names are too few, too many, equal, empty or too long.
        """
        checks.instance(names, (list, tuple), "names", "a list of names")
        names = [checks.line(name, "a name of names", 1) for name in names]
        if len(names) != len(self.outputs) or len(set(names)) < len(names):
            raise ValueError(
                f"names must be {len(self.outputs)} different names, got {', '.join(names)}"
            )
        self.outputs, values = tuple(names), self._wiring.outputs.values()
        outputs = dict(zip(names, values, strict=True))
        self._wiring = Wiring(self.inputs, self._wiring.reads, outputs)
        self._results = self._wiring.results


class _Node(NamedTuple):
    name: str
    layer: Any
    sources: list[str]


def _read_nodes(nodes: Any, inputs: Any) -> tuple[dict[str, _Node], tuple[str, ...]]:
    """Return the nodes by name, with all their sources, and the names of the inputs."""
    checks.instance(nodes, dict, "nodes", f"a dict: {FORM}")
    if not nodes:
        raise ValueError(f"a graph needs at least one node, {FORM}; got none")
    if inputs is not None:
        checks.instance(inputs, (list, tuple), "inputs", "a list of names")
        inputs = [checks.line(name, "a name of inputs", 1) for name in inputs]
        for name in inputs:
            if name in nodes or inputs.count(name) > 1:
                what = "a node" if name in nodes else "another input"
                raise ValueError(f"inputs must have names of their own, but {name} is {what}, too")
        if not inputs:
            raise ValueError("inputs must name at least one input, got none")
    found: dict[str, _Node] = {}
    before = None
    for k, (name, value) in enumerate(nodes.items()):
        checks.line(name, f"name of node {k}", 1)
        layer, *sources = value if isinstance(value, tuple) and value else (value,)
        if not isinstance(layer, Sequential):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"node {name} must be a layer or a Sequential, alone or followed by the names "
                    f"of what it reads, got {checks.shown(value)}"
                )
            check_layer(layer, k)
        sources = [checks.line(one, f"source of node {name}", 1) for one in sources]
        if not sources and before is not None:
            sources = [before]
        found[name] = _Node(name, layer, sources)
        before = name
    read = [one for node in found.values() for one in node.sources]
    outside = list(dict.fromkeys(one for one in read if one not in found))
    first = next(iter(found.values()))
    if not first.sources:
        choice = (outside or ["x"]) if inputs is None else inputs
        if len(choice) != 1:
            raise ValueError(
                f"node {first.name} must name what it reads, "
                f"({type(first.layer).__name__}(...), {choice[0]!r}), because no node has the "
                f"names {', '.join(choice)}, and so they are inputs"
            )
        first.sources.extend(choice)
        if inputs is None and choice[0] in found:
            raise ValueError(
                f"node {first.name} must name what it reads: its input cannot be called "
                f"{choice[0]}, as a node is"
            )
        outside = outside or choice
    if inputs is None:
        if not outside:
            _in_order(found)  # raises the error
        return found, tuple(outside)
    for node in found.values():
        for one in node.sources:
            if one not in found and one not in inputs:
                names = [*inputs, *found]
                raise ValueError(
                    f"node {node.name} reads {checks.shown(one)}, which is no node and none of the "
                    f"inputs {', '.join(inputs)}{checks.guess(one, names)}"
                )
    for name in inputs:
        if name not in outside:
            raise ValueError(f"input {name} is not used: no node reads it; leave it out")
    return found, tuple(inputs)


def _read_outputs(outputs: Any, nodes: dict[str, _Node]) -> tuple[str, ...]:
    """Return the names of the outputs; raise an error unless they are different nodes."""
    names = [outputs] if isinstance(outputs, str) else outputs
    checks.instance(names, (list, tuple), "outputs", "the name of a node, or a list of names")
    if not names:
        raise ValueError("outputs must name at least one node, got none")
    for name in names:
        checks.text(name, "a name of outputs")
        if name not in nodes:
            raise ValueError(
                f"outputs must be names of nodes, {', '.join(nodes)}, got {checks.shown(name)}"
                f"{checks.guess(name, nodes)}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"outputs must be different nodes, got {', '.join(names)}")
    return tuple(names)


def _sorted(nodes: dict[str, _Node], outputs: tuple[str, ...]) -> list[_Node]:
    """Return the nodes, each after what it reads and else in their order; all must be used."""
    order = _in_order(nodes)
    used = set(outputs)
    for node in reversed(order):
        if node.name in used:
            used.update(node.sources)
    for name in nodes:
        if name not in used:
            raise ValueError(
                f"node {name} is not used: no output depends on it; "
                "leave it out, or name it in outputs"
            )
    return order


def _in_order(nodes: dict[str, _Node]) -> list[_Node]:
    """Return the nodes, each after what it reads, else in their order.

    Raises ValueError if nodes read each other in a circle; the message names it.
    """
    numbers, listed = {name: k for k, name in enumerate(nodes)}, list(nodes.values())
    needs = [{one for one in node.sources if one in nodes} for node in listed]
    readers: dict[str, list[int]] = {name: [] for name in nodes}
    for k, some in enumerate(needs):
        for one in some:
            readers[one].append(k)
    ready = [k for k, some in enumerate(needs) if not some]  # a heap: the numbers ascend
    order = []
    while ready:
        node = listed[heapq.heappop(ready)]
        order.append(node)
        for k in readers[node.name]:
            needs[k].discard(node.name)
            if not needs[k]:
                heapq.heappush(ready, k)
    if len(order) < len(listed):
        name = next(node.name for node, some in zip(listed, needs, strict=True) if some)
        path: list[str] = []
        while name not in path:  # what is left reads something that is left
            path.append(name)
            name = min(needs[numbers[name]], key=numbers.__getitem__)
        circle = " -> ".join([*path[path.index(name) :][:8], name])
        raise ValueError(
            f"nodes must not form a circle, but each of these reads the next: {circle}; "
            "a recurrent layer remembers earlier steps"
        )
    return order
