"""What there is to draw of a cell, read from its graph: neurons, operations, states, and which wires connect them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from recurrent.cells import Cell

from ..draw import notation, palette
from .folding import KIND, Fold, folded, folds

ACTIVATIONS = ("sigmoid", "tanh", "relu")
DENSE = ("product", "projection")
SIDES = {"x": "x part", "h": "h part"}


@dataclass(frozen=True)
class Neuron:
    """One dot product of a unit, with its activation where nothing comes between."""

    id: str
    gate: str
    name: str
    label: str
    colour: str
    x: bool  # has a weight for each input
    h: bool  # has a weight for each unit's h of the step before
    value: str = ""  # the gate whose value comes out


@dataclass(frozen=True)
class Operation:
    """One operation on scalars; `gate` where its result is a gate's value. `dense`: no scalars, but a product of W_hh with
    what all units have at this step."""

    id: str
    label: str
    gate: str = ""
    name: str = ""
    colour: str = palette.OPERATION
    dense: bool = False  # a product of a matrix with what all units have
    fold: Fold | None = None  # the composite that it is a result of


@dataclass
class Wiring:
    """A unit: `wires` lead between ids of neurons, operations, parameters and `state:NAME`; `loops` from a state to its own
    use one step later. `arguments`: what each operation takes, in the order of the equations, states of the step before as
    `previous:NAME`, constants left out. `makers`: what computes each state."""

    neurons: list[Neuron]
    operations: list[Operation]
    states: tuple[str, ...]
    parameters: list[str]
    wires: list[tuple[str, str]]
    loops: list[tuple[str, str]] = field(default_factory=list)
    arguments: dict[str, list[str]] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)
    output: str = ""  # what the circle of the first state stands for: the state, or what of a unit is projected to it

    @property
    def bars(self) -> list[dict[str, str]]:
        """Of each composite that takes neurons alone, which nothing else uses: the neuron below each of its results."""
        neurons, uses = (
            {a.id for a in self.neurons},
            Counter(a for args in self.arguments.values() for a in args),
        )
        uses.update(self.makers.values())
        found = {id(o.fold): o.fold.taken for o in self.operations if o.fold}
        found = [
            taken for taken in found.values() if all(len(args) == 1 for args in taken.values())
        ]
        bars = [{r: args[0] for r, args in taken.items()} for taken in found]
        return [bar for bar in bars if all(a in neurons and uses[a] == 1 for a in bar.values())]

    @property
    def kept(self) -> list[str]:
        """States that stay in their unit: all but the output, and that too where its own equations take it."""
        looping = {s for s, _ in self.loops}
        return [s for s in self.states if s in looping or s != self.states[0]]


def cell_wiring(cell: Cell) -> Wiring:
    """The wiring of one unit of a cell."""
    whole = cell.graph()
    graph, fold = folded(whole), {r: f for f in folds(whole) for r in f.taken}
    kinds = {n.id: n.kind for n in graph.nodes}
    now = [(e.source, e.target) for e in graph.edges if not e.delay]
    gates = list(cell.gates)
    made_by = {s: graph.values[s] for s in cell.states}
    merged = {}  # activation -> the sum that feeds it alone
    for n in graph.nodes:
        feeds = [a for a, b in now if b == n.id]
        alone = (
            len(feeds) == 1 and kinds[feeds[0]] == "sum" and sum(a == feeds[0] for a, _ in now) == 1
        )
        if n.kind in ACTIVATIONS and alone and feeds[0] not in graph.values.values():
            merged[n.id] = feeds[0]
    absorbed = {s: a for a, s in merged.items()}
    neurons, operations, parameters = [], [], []
    for n in graph.nodes:
        if n.kind == "sum":
            gate, side = n.label, n.id.partition(".")[2]
            name, colour = palette.gate(gate, gates)
            whole = absorbed.get(n.id)
            label = f"Σ → {notation.operation(kinds[whole])}" if whole else "Σ"
            name += f": {SIDES[side]}" if side else ""
            x, h = (f"vector:{v}" in [a for a, b in now if b == n.id] for v in "xh")
            value = next((g for g in gates if graph.values[g] == (whole or n.id)), "")
            neurons.append(Neuron(whole or n.id, gate, name, label, colour, x, h, value))
        elif n.kind == "parameter":
            parameters.append(n.id)
        elif n.kind not in ("vector", "previous") and n.id not in merged:
            if n.kind == "const" and n.id not in made_by.values():
                continue
            label = (
                n.label
                if n.kind == "const"
                else _label(n, [graph.node(a) for a, b in now if b == n.id])
            )
            gate = next((g for g in gates if graph.values[g] == n.id and g not in cell.states), "")
            name, colour = palette.gate(gate, gates) if gate else ("", palette.OPERATION)
            operations.append(
                Operation(n.id, label, gate, name, colour, n.kind in DENSE, fold.get(n.id))
            )
    wires = [(made_by[s], f"state:{s}") for s in cell.states]
    circle = {
        made_by[s]: f"state:{s}" for s in reversed(cell.states)
    }  # what uses a new state takes it from its circle
    drawn = {n.id for n in neurons} | {o.id for o in operations} | set(parameters)
    for a, b in now:
        if b in drawn and b not in merged and (absorbed.get(a, a) in drawn):
            wires.append((circle.get(a, absorbed.get(a, a)), b))
    loops = [(graph.node(a).label, b) for a, b in now if kinds[a] == "previous"]
    arguments = {
        o.id: [absorbed.get(a, a) for a, b in now if b == o.id and kinds[a] != "const"]
        for o in operations
    }
    makers = {s: absorbed.get(k, k) for s, k in made_by.items()}
    wires = list(dict.fromkeys(wires))
    return Wiring(
        neurons,
        operations,
        cell.states,
        parameters,
        wires,
        loops,
        arguments,
        makers,
        cell.states[0],
    )


def unit_wiring(cell: Cell) -> Wiring:
    """The wiring of one unit up to the number that it puts out: what a projection makes of those is no part of it."""
    whole = cell_wiring(cell)
    if not cell.has_projection:
        return whole
    graph = cell.graph()
    projection = next(n.id for n in graph.nodes if n.kind == "projection")
    out = next(a for a, b in whole.wires if b == projection)
    wide = [
        s for s, projected in zip(cell.states, cell.projected_states, strict=True) if not projected
    ]
    kept = {out, *(whole.makers[s] for s in wide)}
    while (
        more := {a for a, b in whole.wires if b in kept or b in {f"state:{s}" for s in wide}} - kept
    ):
        kept |= more
    first = cell.states[0]
    wires = [
        (a, b)
        for a, b in whole.wires
        if a in kept and (b in kept or b in {f"state:{s}" for s in wide})
    ]
    return Wiring(
        whole.neurons,
        [o for o in whole.operations if o.id in kept],
        (first, *wide),
        whole.parameters,
        [*wires, (out, f"state:{first}")],
        [(s, b) for s, b in whole.loops if b in kept and s in wide],
        {k: a for k, a in whole.arguments.items() if k in kept},
        {first: out, **{s: whole.makers[s] for s in wide}},
        "m" if "m" not in cell.states else "out",
    )


def _label(node, inputs):
    """The sign of an operation, a constant of its two inputs written beside it."""
    sign = node.label if node.kind == KIND else notation.operation(node.kind)
    if len(inputs) == 2:
        first, second = (n.label if n.kind == "const" else "" for n in inputs)
        return f"{first} {sign} {second}".strip()
    return sign
