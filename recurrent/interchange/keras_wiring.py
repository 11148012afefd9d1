"""The wiring of a model of Keras: which layer reads the outputs of which, from its configuration.

Models within models are written out: the result is one list of calls of layers. A layer that is
called twice has two calls and one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .assemble import Part
from .keras_files import Place

MODELS = ("Sequential", "Functional", "Model")
JOINS = ("Add", "Multiply", "Concatenate")
MOST_CALLS = 2048
MOST_DEPTH = 16  # models within models
STATES = "pass states to forward, or see recurrent.Seq2Seq"


class Tensor(NamedTuple):
    """One output of a call, as a configuration names it: layer, number of the call, and output."""

    layer: str
    node: int
    index: int
    rank: int | None = None  # axes; None if the configuration does not say


@dataclass
class Call:
    """A call of a layer: reads values by their names, and its output has the call's name."""

    name: str
    part: Part
    reads: list[str]


@dataclass
class Wiring:
    """The calls of a model.

    Attributes
    ----------
    calls : list of Call
        Each after those whose outputs it reads.
    inputs : dict of str to (int or None)
        The names of the inputs, and how many axes they have.
    outputs : dict of str to str
        The values that the model returns, by the names that Keras gives them.
    """

    calls: list[Call] = field(default_factory=list)
    inputs: dict[str, int | None] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def chain(self) -> list[Part] | None:
        """Return the parts in order if each reads the output of the one before, else None."""
        values = [*self.inputs, *(call.name for call in self.calls)]
        reads = [call.reads for call in self.calls]
        shared = len({call.part.name for call in self.calls}) < len(self.calls)
        if len(self.inputs) != 1 or shared or [*self.outputs.values()] != values[-1:]:
            return None
        if reads != [[value] for value in values[:-1]]:
            return None
        return [call.part for call in self.calls]


PartOf = Callable[[str, str, dict, Place], Part]


def wiring(config: dict, place: Place, part_of: PartOf) -> Wiring:
    """Return the wiring of a model.

    Parameters
    ----------
    config : dict
        Its configuration, with "class_name" and "config".
    place : Place
        Where its arrays are.
    part_of : callable
        Returns the part of a layer: of its name, class, configuration and place.

    Returns
    -------
    Wiring

    Raises
    ------
    ValueError
        If the configuration is none, or layers are called in a way that has no equal here.
    """
    found = _Writer(part_of)
    outputs = found.model(config, place, "", "", None)
    own = config["config"]
    ends = own.get("output_layers") if isinstance(own, dict) else None
    names = list(map(str, ends)) if isinstance(ends, dict) else outputs
    if len(names) != len(outputs) or len(set(outputs)) < len(outputs):
        raise ValueError("the outputs must be the values of different layers")
    return Wiring(found.calls, found.inputs, dict(zip(names, outputs, strict=True)))


class _Writer:
    """Writes out the calls of a model and those within it."""

    def __init__(self, part_of: PartOf):
        self.part_of = part_of
        self.calls: list[Call] = []
        self.inputs: dict[str, int | None] = {}
        self.parts: dict[str, Part] = {}
        self.places: dict[str, list[Place]] = {}
        self.names: set[str] = set()
        self.count = 0

    def model(
        self, config: dict, place: Place, full: str, prefix: str, given: list[str] | None
    ) -> list[str]:
        """Write the calls of a model that reads these values; return those that it returns.

        `full` is the name of the model, the same at each call, and `prefix` that of this call;
        the outermost model reads inputs of its own.
        """
        where = f"{full}: " if full else ""
        if full.count("/") > MOST_DEPTH:
            raise ValueError(f"{where}models must be nested at most {MOST_DEPTH} deep")
        entries = _entries(config, where)
        labels = [str(e["config"].get("name", e.get("name", k))) for k, e in enumerate(entries)]
        if len(set(labels)) < len(labels):
            raise ValueError(f"{where}layers must have different names")
        if full not in self.places:  # once: an archive numbers the layers in their order
            self.places[full] = [
                place.layer(k, e["class_name"], label)
                for k, (e, label) in enumerate(zip(entries, labels, strict=True))
            ]
        layers = {
            label: _Layer(e, label, f"{full}/{label}" if full else label, own)
            for e, label, own in zip(entries, labels, self.places[full], strict=True)
        }
        if config["class_name"] == "Sequential":
            return self._sequential(list(layers.values()), prefix, given, where)
        return self._functional(config["config"], layers, prefix, given, where)

    def _sequential(self, layers, prefix, given, where):
        if given is not None and len(given) != 1:
            raise ValueError(f"{where}a Sequential reads one input, got {len(given)}")
        value = given[0] if given else None
        for layer in layers:
            if layer.kind == "InputLayer" and value is None:
                value = self._input(layer)
            elif layer.kind != "InputLayer":
                if value is None:
                    self.inputs["x"] = None
                    value = "x"
                values = self._called(layer, 0, [value], prefix)
                if len(values) != 1:
                    raise ValueError(f"{where}{layer.label} returns {len(values)} values")
                value = values[0]
        return [] if value is None else [value]

    def _functional(self, config, layers, prefix, given, where):
        ends = [_ends(config.get(f"{end}_layers"), f"{where}{end}_layers")
                for end in ("input", "output")]  # fmt: skip
        values: dict[tuple[str, int], list[str]] = {}
        if given is not None and len(given) != len(ends[0]):
            raise ValueError(f"{where}it has {len(ends[0])} inputs, and reads {len(given)} values")
        for k, end in enumerate(ends[0]):
            if end.layer not in layers:
                raise ValueError(f"{where}input_layers names {end.layer!r:.60}, which is no layer")
            layer = layers[end.layer]
            values[end.layer, end.node] = [self._input(layer) if given is None else given[k]]
        called = [
            (layer, k, call)
            for layer in layers.values()
            for k, call in enumerate(_calls(layer.entry))
            if (layer.label, k) not in values
        ]
        while called:
            left = []
            for layer, k, call in called:
                if all((t.layer, t.node) in values for t in call.tensors):
                    self._check(layer, call, layers, where)
                    reads = [_value(values, t, f"{where}{layer.words}", layers)
                             for t in call.tensors]  # fmt: skip
                    values[layer.label, k] = self._called(layer, k, reads, prefix)
                else:
                    left.append((layer, k, call))
            if len(left) == len(called):
                layer, _, call = left[0]
                missing = next(t for t in call.tensors if (t.layer, t.node) not in values)
                raise ValueError(
                    f"{where}{layer.words} reads {missing.layer!r:.60}, which no layer before it "
                    "computes"
                )
            called = left
        for end in ends[1]:
            if (end.layer, end.node) not in values:
                raise ValueError(f"{where}output_layers names {end.layer!r:.60}, which is no layer")
        return [_value(values, end, f"{where}the output", layers) for end in ends[1]]

    def _check(self, layer: _Layer, call: _Read, layers: dict[str, _Layer], where: str) -> None:
        """Raise ValueError for a way to call a layer that has no equal here."""
        label, count = f"{where}{layer.words}", len(call.tensors)
        sources = " and ".join(t.layer for t in call.tensors[:8])
        if call.states or (layer.is_recurrent and count > 1):
            raise ValueError(
                f"{label} takes its initial_state from another layer, which no model here does: "
                f"{STATES}"
            )
        if call.masks:
            raise ValueError(f"{label} takes a mask from another layer: pass lengths instead")
        if call.training:
            raise ValueError(f"{label} is called with training=True, which a model here never is")
        if layer.kind in MODELS:
            if call.named and count > 1:
                raise ValueError(f"{label} reads a dict of values; pass them as a list")
        elif layer.kind in JOINS:
            if count < 2:
                raise ValueError(f"{label} must read two layers or more, got {sources or 'none'}")
            axis, rank = layer.entry["config"].get("axis", -1), call.tensors[0].rank
            last = axis in (-1, 2) or (axis == 1 and rank == 2)
            if layer.kind == "Concatenate" and (not last or isinstance(axis, bool)):
                raise ValueError(f"{label} must join the last axis, axis=-1, got axis={axis!r:.60}")
        elif not count:
            raise ValueError(f"{label} reads nothing: its inbound_nodes name no layer")
        elif count > 1:
            raise ValueError(
                f"{label} reads {sources}; layers that read several are {', '.join(JOINS)}"
            )

    def _input(self, layer: _Layer) -> str:
        """Add an input of the model; return its name."""
        own = layer.entry["config"]
        shape = own.get("batch_shape", own.get("batch_input_shape"))
        name = self._unique(layer.label)
        self.inputs[name] = len(shape) if isinstance(shape, (list, tuple)) else None
        return name

    def _called(self, layer: _Layer, k: int, reads: list[str], prefix: str) -> list[str]:
        """Write a call of a layer or a model; return the names of its outputs."""
        self.count += 1
        if self.count > MOST_CALLS:
            raise ValueError(f"a model must have at most {MOST_CALLS} layers")
        name = prefix + layer.label + (f"_{k}" if k else "")
        if layer.kind in MODELS:
            return self.model(layer.entry, layer.place, layer.full, f"{name}/", reads)
        if layer.full not in self.parts:
            own = layer.entry["config"]
            self.parts[layer.full] = self.part_of(layer.full, layer.kind, own, layer.place)
        name = self._unique(name)
        self.calls.append(Call(name, self.parts[layer.full], reads))
        return [name]

    def _unique(self, name: str) -> str:
        """Return a name that no value has yet."""
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name


class _Layer:
    """A layer of one model: its entry in the configuration, its name there and at all."""

    def __init__(self, entry: dict, label: str, full: str, place: Place):
        self.entry, self.label, self.full, self.place = entry, label, full, place
        self.kind: str = entry["class_name"]
        self.words = f"{label} ({self.kind})"
        self.is_recurrent = self.kind in (
            "SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU", "Bidirectional",
        )  # fmt: skip


class _Read(NamedTuple):
    """Holds what a call reads, as the configuration says it."""

    tensors: list[Tensor]
    states: bool
    masks: bool
    training: bool
    named: bool


def _entries(config: dict, where: str) -> list[dict]:
    """Return the entries of the layers of a model; raise ValueError if they are none."""
    kind, own = config.get("class_name"), config.get("config")
    if kind not in MODELS:
        raise ValueError(f"{where}the model must be one of {', '.join(MODELS)}, got {kind!r:.60}")
    layers = own if isinstance(own, list) else own.get("layers") if isinstance(own, dict) else None
    if not isinstance(layers, list) or (kind != "Sequential" and not isinstance(own, dict)):
        raise ValueError(f"{where}the configuration lists no layers")
    for entry in layers:
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("class_name"), str)
            and isinstance(entry.get("config"), dict)
        ):
            raise ValueError(f"{where}each layer must have a class_name and a config")
    if len(layers) > MOST_CALLS:
        raise ValueError(f"{where}a model must have at most {MOST_CALLS} layers")
    return layers


def _value(
    values: dict[tuple[str, int], list[str]],
    tensor: Tensor,
    reader: str,
    layers: dict[str, _Layer],
) -> str:
    """Return the name of the value that a tensor stands for."""
    outputs = values[tensor.layer, tensor.node]
    if 0 <= tensor.index < len(outputs):
        return outputs[tensor.index]
    source = layers[tensor.layer]
    if source.is_recurrent:
        raise ValueError(
            f"{reader} reads a final state of {source.words}, return_state=True, which no model "
            f"here does: {STATES}"
        )
    raise ValueError(f"{reader} reads output {tensor.index} of {source.words}, which has none")


def _ends(value: Any, name: str) -> list[Tensor]:
    """Return the inputs or outputs of a model: one, a list or a dict of them."""
    found = list(_tensors(value))
    if not found:
        raise ValueError(f"{name} must list at least one layer, got {value!r:.60}")
    return found


def _calls(entry: dict) -> Iterator[_Read]:
    """Yield what each call of a layer reads."""
    nodes = entry.get("inbound_nodes", [])
    if not isinstance(nodes, (list, tuple)):
        raise ValueError(f"inbound_nodes must be a list, got {nodes!r:.60}")
    for node in nodes:
        if isinstance(node, dict):  # Keras 3
            args, options = node.get("args", ()), node.get("kwargs")
            options = options if isinstance(options, dict) else {}
        else:  # the last entry of a tensor holds the named arguments
            args, options = node, {}
            for one in node if isinstance(node, (list, tuple)) else ():
                if isinstance(one, (list, tuple)) and len(one) > 3 and isinstance(one[3], dict):
                    options |= one[3]
        others = [v for n, v in options.items() if n not in ("initial_state", "mask")]
        first = args[0] if isinstance(args, (list, tuple)) and args else None
        yield _Read(
            [*_tensors(args), *_tensors(others)],
            any(_tensors(options.get("initial_state"))),
            any(_tensors(options.get("mask"))),
            options.get("training") is True,
            isinstance(first, dict) and "class_name" not in first,
        )


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Yield the tensors in the arguments of a call, as Keras 3 and those before it write them."""
    if depth > 12:
        raise ValueError("the arguments of a layer are nested too deep")
    if isinstance(value, dict):
        own = value.get("config")
        if value.get("class_name") == "__keras_tensor__" and isinstance(own, dict):
            shape = own.get("shape")
            rank = len(shape) if isinstance(shape, (list, tuple)) else None
            for one in _tensors(own.get("keras_history"), depth + 1):
                yield one._replace(rank=rank)
            return
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return
    if len(value) >= 3 and isinstance(value[0], str) and all(type(n) is int for n in value[1:3]):
        yield Tensor(*value[:3])
        return
    for one in value:
        yield from _tensors(one, depth + 1)
