"""The neurons, operations, states and wires of a cell, read from its graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from recurrent.cells import Cell

from ..draw import notation, palette
from . import gates, nodes
from .folding import KIND, Fold, folded, folds

ACTIVATIONS = ("sigmoid", "tanh", "relu")
DENSE = ("product", "projection")
SIDES = {"x": "x part", "h": "h part"}
MARKS = {  # of the operands of an operation whose order matters
    "sub": ("+", "−"),
    "div": ("a", "b"),
    "remainder": ("a", "b"),
    "greater": ("a", "b"),
    "at_least": ("a", "b"),
    "where": ("if", "then", "else"),
}


@dataclass(frozen=True)
class Neuron:
    """One dot product of a unit, together with its activation if nothing comes between."""

    id: str
    gate: str
    name: str
    operation: str  # the sign of its activation, "" without one
    colour: str
    x: bool  # has a weight for each input
    h: bool  # has a weight for each unit's previous h
    value: str = ""  # the gate whose value it computes

    @property
    def label(self) -> str:
        """Σ and the activation."""
        return f"Σ → {self.operation}" if self.operation else "Σ"

    @property
    def short_label(self) -> str:
        """The activation alone, Σ without one."""
        return self.operation or "Σ"


@dataclass(frozen=True)
class Operation:
    """One operation on scalars, or a matrix product if `dense`; `gate` if its result is a gate."""

    id: str
    label: str
    gate: str = ""
    name: str = ""
    colour: str = palette.OPERATION
    dense: bool = False  # the product of a matrix with a vector of all units
    fold: Fold | None = None  # the composite whose result it is
    marks: tuple[str, ...] = ()  # of its operands, if their order matters


@dataclass
class Wiring:
    """The wiring of one unit.

    `wires` connect the ids of neurons, operations, parameters and new states. `loops` connect a
    state with the operation that uses it one step later. `arguments` lists the operands of each
    operation, in the order of the equations and without constants. `makers` names the node that
    computes each state.
    """

    neurons: list[Neuron]
    operations: list[Operation]
    states: tuple[str, ...]
    parameters: list[str]
    wires: list[tuple[str, str]]
    loops: list[tuple[str, str]] = field(default_factory=list)
    arguments: dict[str, list[str]] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)
    output: str = ""  # the unit's output: the first state, or the number that W_hr projects

    @property
    def bars(self) -> list[dict[str, str]]:
        """The neuron under each result, for every composite whose neurons have no other use."""
        neurons = {a.id for a in self.neurons}
        uses = Counter(a for args in self.arguments.values() for a in args)
        uses.update(self.makers.values())
        bars = []
        for taken in {id(o.fold): o.fold.taken for o in self.operations if o.fold}.values():
            if all(len(args) == 1 for args in taken.values()):
                bar = {result: args[0] for result, args in taken.items()}
                if all(a in neurons and uses[a] == 1 for a in bar.values()):
                    bars.append(bar)
        return bars

    @property
    def kept(self) -> list[str]:
        """States that stay in their unit: all but the output, unless its own equations use it."""
        looping = {s for s, _ in self.loops}
        return [s for s in self.states if s in looping or s != self.states[0]]


def cell_wiring(cell: Cell) -> Wiring:
    """Return the wiring of one unit of a cell."""
    return _Reader(cell).wiring()


class _Reader:
    """Reads a cell's folded graph; activations are merged with the sums that feed them alone."""

    def __init__(self, cell):
        whole = cell.graph()
        self.cell, self.graph, self.gates = cell, folded(whole), list(cell.gates)
        self.folds = {r: f for f in folds(whole) for r in f.taken}
        self.kinds = {n.id: n.kind for n in self.graph.nodes}
        self.now = [(e.source, e.target) for e in self.graph.edges if not e.delay]
        self.made_by = {s: self.graph.values[s] for s in cell.states}
        self.merged = self._merged()  # activation -> sum
        self.absorbed = {s: a for a, s in self.merged.items()}  # sum -> activation

    def _inputs(self, node):
        return [a for a, b in self.now if b == node]

    def _merged(self):
        found = {}
        for n in self.graph.nodes:
            feeds = self._inputs(n.id)
            alone = len(feeds) == 1 and self.kinds[feeds[0]] == "sum"
            alone = alone and sum(a == feeds[0] for a, _ in self.now) == 1
            if n.kind in ACTIVATIONS and alone and feeds[0] not in self.graph.values.values():
                found[n.id] = feeds[0]
        return found

    def wiring(self):
        neurons = [self._neuron(n) for n in self.graph.nodes if n.kind == "sum"]
        operations = [self._operation(n) for n in self.graph.nodes if self._is_operation(n)]
        parameters = [n.id for n in self.graph.nodes if n.kind == "parameter"]
        drawn = {n.id for n in (*neurons, *operations)} | set(parameters)
        loops = [(self.graph.node(a).label, b) for a, b in self.now if self.kinds[a] == "previous"]
        arguments = {
            o.id: [self._of(a) for a in self._inputs(o.id) if self.kinds[a] != "const"]
            for o in operations
        }
        makers = {s: self._of(k) for s, k in self.made_by.items()}
        wires = list(dict.fromkeys(self._wires(drawn)))
        states = self.cell.states
        return Wiring(
            neurons, operations, states, parameters, wires, loops, arguments, makers, states[0]
        )

    def _of(self, node):
        """Return the activation that absorbed a sum; other nodes stand for themselves."""
        return self.absorbed.get(node, node)

    def _neuron(self, n):
        gate, side = n.label, nodes.summed_part(n.id)
        name, colour = gates.look(self.cell, gate)
        name += f": {SIDES[side]}" if side else ""
        activation = self.absorbed.get(n.id)
        operation = notation.operation(self.kinds[activation]) if activation else ""
        x, h = (nodes.vector(v) in self._inputs(n.id) for v in "xh")
        end = activation or n.id
        value = next((g for g in self.gates if self.graph.values[g] == end), "")
        return Neuron(end, gate, name, operation, colour, x, h, value)

    def _is_operation(self, n):
        """Return whether a node is drawn as an operation; constants only as new states."""
        if n.kind in ("vector", "previous", "sum", "parameter") or n.id in self.merged:
            return False
        return n.kind != "const" or n.id in self.made_by.values()

    def _operation(self, n):
        label, inputs = n.label, [self.graph.node(a) for a in self._inputs(n.id)]
        if n.kind != "const":
            label = _label(n, inputs)
        pairs = zip(MARKS.get(n.kind, ()), inputs, strict=False)
        marks = tuple(mark for mark, a in pairs if a.kind != "const")
        named = (g for g in self.gates if self.graph.values[g] == n.id)
        gate = next((g for g in named if g not in self.cell.states), "")
        name, colour = gates.look(self.cell, gate) if gate else ("", palette.OPERATION)
        return Operation(
            n.id,
            label,
            gate,
            name,
            colour,
            n.kind in DENSE,
            self.folds.get(n.id),
            marks if len(marks) > 1 else (),
        )

    def _wires(self, drawn):
        """Yield the wires; operations that use a new state take it from the state's circle."""
        for s in self.cell.states:
            yield self.made_by[s], nodes.new(s)
        circle = {self.made_by[s]: nodes.new(s) for s in reversed(self.cell.states)}
        for a, b in self.now:
            if b in drawn and b not in self.merged and self._of(a) in drawn:
                yield circle.get(a, self._of(a)), b


def unit_wiring(cell: Cell) -> Wiring:
    """Return the wiring of one unit up to its output, without the projection of the layer."""
    whole = cell_wiring(cell)
    if not cell.has_projection:
        return whole
    projection = next(n.id for n in cell.graph().nodes if n.kind == "projection")
    out = next(a for a, b in whole.wires if b == projection)
    projected = dict(zip(cell.states, cell.projected_states, strict=True))
    own = [s for s in cell.states if not projected[s]]
    ends = {nodes.new(s) for s in own}
    kept = {out, *(whole.makers[s] for s in own)}
    while more := {a for a, b in whole.wires if b in kept or b in ends} - kept:
        kept |= more
    first = cell.states[0]
    wires = [(a, b) for a, b in whole.wires if a in kept and (b in kept or b in ends)]
    return Wiring(
        neurons=whole.neurons,
        operations=[o for o in whole.operations if o.id in kept],
        states=(first, *own),
        parameters=whole.parameters,
        wires=[*wires, (out, nodes.new(first))],
        loops=[(s, b) for s, b in whole.loops if b in kept and s in own],
        arguments={k: a for k, a in whole.arguments.items() if k in kept},
        makers={first: out, **{s: whole.makers[s] for s in own}},
        output="m" if "m" not in cell.states else "out",
    )


def _label(node, inputs):
    """Return the sign of an operation, with the constants among its inputs written beside it."""
    sign = node.label if node.kind == KIND else notation.operation(node.kind)
    if node.kind == "where":
        pairs = zip(MARKS["where"], inputs, strict=True)
        fixed = [f"{mark} {n.label}" for mark, n in pairs if n.kind == "const"]
        return " ".join(["where", *fixed])
    if MARKS.get(node.kind, ("",))[0] == "a" and all(n.kind != "const" for n in inputs):
        return f"a {sign} b"
    if len(inputs) == 2:
        first, second = (n.label if n.kind == "const" else "" for n in inputs)
        return f"{first} {sign} {second}".strip()
    return sign
