"""A cell as the graph of its equations for one unit, the gradients derived from it, and the registry of cells."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import NamedTuple

from ..graph import Edge, Graph, Node
from .expressions import CROSS_UNIT, Expr, fingerprint, operation, topological
from .widths import projected_nodes


class Accumulator(NamedTuple):
    """One dot product of a unit: the pre-activation of a gate, or its x part or h part where a cell keeps them apart."""

    gate: str
    x: bool  # takes W_ih x + b_ih
    h: bool  # takes W_hh h + b_hh
    input: Expr


class Run(NamedTuple):
    """Neighbouring accumulators that are neighbouring gates in a weight matrix too: one block of rows."""

    accumulator: int
    gate: int
    count: int


class Backward(NamedTuple):
    """Gradients as expressions of what a forward pass leaves behind."""

    d_new: tuple[Expr, ...]  # inputs: gradient of the loss with respect to each new state
    d_accumulators: tuple[Expr, ...]
    d_parameters: tuple[Expr, ...]
    d_products: tuple[Expr, ...]  # with respect to products within the step, a projection last
    d_previous: tuple[Expr, ...]  # the direct part; what flows through W_hh is a matrix product
    d_states: tuple[
        Expr, ...
    ]  # with respect to each new state, what it does within the step included
    saved: tuple[
        tuple[str, Expr], ...
    ]  # name and node of everything the tape keeps besides the states
    vectors: tuple[int, ...]  # where in `saved` the vectors of products within the step are


@dataclass(frozen=True, eq=False)
class Cell:
    """A traced cell. Made by the decorator `cell`."""

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    parameters: tuple[str, ...]  # names of per-unit parameters, one number a unit each
    accumulators: tuple[Accumulator, ...]
    previous: tuple[Expr, ...]
    parameter_inputs: tuple[Expr, ...]
    values: dict[str, Expr]  # every named value: gates and new states
    biases: int = 2  # vectors of them: b_ih and b_hh, b_ih alone, none
    initial: dict[str, float] = field(
        default_factory=dict
    )  # of per-unit parameters that do not begin at random
    masks: tuple[
        str, ...
    ] = ()  # names of what a unit gets at each step besides, the last of `parameter_inputs`: masks
    output: int = 0  # which state the layer puts out

    def __reduce__(self):
        return _again, (
            self.name,
            self.digest,
            self.gates,
            {f.name: getattr(self, f.name) for f in fields(self)},
        )

    @property
    def new(self) -> tuple[Expr, ...]:
        """New states, in the order of `states`."""
        return tuple(self.values[s] for s in self.states)

    @cached_property
    def x_gates(self) -> tuple[str, ...]:
        """Gates that have rows in W_ih, in order."""
        return tuple(g for g in self.gates if any(a.gate == g and a.x for a in self.accumulators))

    @cached_property
    def h_gates(self) -> tuple[str, ...]:
        """Gates that have rows in W_hh, in order."""
        used = {a.gate for a in self.accumulators if a.h} | {
            e.name for e in self.products if e.op == "product"
        }
        return tuple(g for g in self.gates if g in used)

    @cached_property
    def cross_unit_ops(self) -> tuple[Expr, ...]:
        """Nodes in which units meet within a step, each after those that it needs; none in most cells."""
        return tuple(e for e in topological(self.values.values()) if e.op in CROSS_UNIT)

    @cached_property
    def products(self) -> tuple[Expr, ...]:
        """Those of them that multiply by rows of W_hh, and a projection, by W_hr, as the last one."""
        return tuple(
            e for op in ("product", "projection") for e in self.cross_unit_ops if e.op == op
        )

    @cached_property
    def has_projection(self) -> bool:
        """Whether what it hands on is W_hr times its units' output: P numbers from H units, or H from H."""
        return any(e.op == "projection" for e in self.cross_unit_ops)

    @cached_property
    def projected_nodes(self) -> dict[Expr, bool]:
        """Of every node, those of the backward pass too, whether it has P numbers instead of H."""
        b = self.backward
        back = (*b.d_accumulators, *b.d_parameters, *b.d_products, *b.d_previous, *b.d_states)
        roots = [*self.new, *(e for _, e in b.saved), *back]
        return projected_nodes(roots, *self._widths, b.d_new)

    @cached_property
    def projected_states(self) -> tuple[bool, ...]:
        """Which states have P numbers."""
        found = projected_nodes(self.new, *self._widths)
        return tuple(found[e] for e in self.new)

    @property
    def _widths(self):
        return self.new, self.previous, [a.input for a in self.accumulators], self.has_projection

    @property
    def columns(self) -> int:
        """Gradients of a unit and step: of accumulators and products within the step."""
        return len(self.accumulators) + len(self.products)

    @cached_property
    def x_runs(self) -> tuple[Run, ...]:
        return _runs(
            [(k, self.x_gates.index(a.gate)) for k, a in enumerate(self.accumulators) if a.x]
        )

    @cached_property
    def h_runs(self) -> tuple[Run, ...]:
        return _runs(
            [(k, self.h_gates.index(a.gate)) for k, a in enumerate(self.accumulators) if a.h]
        )

    @cached_property
    def backward(self) -> Backward:
        return _differentiate(self)

    @cached_property
    def digest(self) -> str:
        """Identifies the equations, whatever the cell is called: the key of compiled code."""
        b = self.backward
        back = (*b.d_accumulators, *b.d_parameters, *b.d_products, *b.d_previous, *b.d_states)
        roots = (*self.new, *(e for _, e in b.saved), *back)
        return fingerprint(
            roots,
            self.states,
            self.parameters,
            self.masks,
            self.output,
            [a[:3] for a in self.accumulators],
        )

    def graph(self) -> Graph:
        """One unit as a graph: `vector:x` and `vector:h`, a `sum` for each dot product, scalar operations, states.

        An operation that is a gate or a new state bears its name as id (`i`, `c`), others a number (`op3`), accumulators
        `sum:i`, states of the step before `previous:c`; `values` leads from every name to its node, edges of delay 1
        from a state to where it is used one step later. `vector:h` is the one state that reaches the dot products of all
        units, where a cell has such. Nodes that the declaration says are one thing are among the graph's `composites`.
        """
        g = Graph([Node("vector:x", "vector", "x")])
        if self.h_gates:
            g.nodes.append(Node("vector:h", "vector", self.states[0]))
        names = {e: n for n, e in self.values.items()}
        ids = {}
        for k, e in enumerate(topological(self.values.values())):
            accumulator = next((a for a in self.accumulators if a.input is e), None)
            if accumulator:
                # Split in two, the parts of a gate's pre-activation are told apart by their source.
                both = sum(a.gate == accumulator.gate for a in self.accumulators) == 1
                part = "" if both else ".x" if accumulator.x else ".h"
                ids[e] = f"sum:{accumulator.gate}{part}"
                g.nodes.append(Node(ids[e], "sum", accumulator.gate))
                used = (("x", accumulator.x), ("h", accumulator.h))
                g.edges += [Edge(f"vector:{s}", ids[e]) for s, yes in used if yes]
            elif e.op == "input":
                kind, name = e.name.split(".")
                ids[e] = f"{kind}:{name}"
                g.nodes.append(
                    Node(ids[e], "previous" if kind == "previous" else "parameter", name)
                )
            elif e.op == "const":
                ids[e] = f"const{k}"
                g.nodes.append(Node(ids[e], "const", f"{e.value:g}"))
            else:
                ids[e] = names.get(e, f"op{k}")
                g.nodes.append(Node(ids[e], e.op, names.get(e, "")))
                g.edges += [Edge(ids[a], ids[e]) for a in e.args]
        for e in ids:
            if e.part_of:
                g.composites.setdefault(e.part_of, []).append(ids[e])
        g.values.update({name: ids[e] for name, e in self.values.items()})
        for s, p in zip(self.states, self.previous, strict=True):
            if p in ids:
                g.edges.append(Edge(g.values[s], ids[p], s, delay=1))
        if self.h_gates:
            g.edges.append(Edge(g.values[self.states[0]], "vector:h", self.states[0], delay=1))
        return g

    def __repr__(self):
        return f"Cell({self.name}: gates {' '.join(self.gates)}, states {' '.join(self.states)})"


CELLS: dict[str, Cell] = {}


def _again(name: str, digest: str, gates: tuple[str, ...], values: dict) -> Cell:
    """The cell of a pickle: that of this process, where one is known by the name and has the same equations."""
    known = CELLS.get(name)
    return known if known and (known.digest, known.gates) == (digest, gates) else Cell(**values)


def register(cell: Cell) -> Cell:
    """Put a cell where it is found by its name."""
    CELLS[cell.name] = cell
    return cell


def find(cell: str | Cell) -> Cell:
    """A cell by its name, or the cell itself. Raises ValueError for an unknown name, TypeError for what is no cell."""
    if isinstance(cell, Cell):
        return cell
    if not isinstance(cell, str):
        raise TypeError(f"cells must be names or cells, got {type(cell).__name__}")
    if cell not in CELLS:
        raise ValueError(f"unknown cell {cell!r}; known are {', '.join(CELLS)}")
    return CELLS[cell]


def _runs(pairs) -> tuple[Run, ...]:
    runs = []
    for accumulator, gate in sorted(pairs, key=lambda p: p[1]):
        last = runs[-1] if runs else None
        if last and last.accumulator + last.count == accumulator and last.gate + last.count == gate:
            runs[-1] = last._replace(count=last.count + 1)
        else:
            runs.append(Run(accumulator, gate, 1))
    return tuple(runs)


def _differentiate(cell: Cell) -> Backward:
    """Reverse mode over the graph of one step, as a graph."""
    d_new = tuple(Expr("input", name=f"d.{s}") for s in cell.states)
    adjoint: dict[Expr, Expr] = {}

    def add(e, d):
        if e.op != "const":
            adjoint[e] = adjoint[e] + d if e in adjoint else d

    for e, d in zip(cell.new, d_new, strict=True):
        add(e, d)
    for e in reversed(topological(cell.new)):
        if e in adjoint and e.args:
            for a, d in zip(e.args, operation(e.op).gradients(e, e.args, adjoint[e]), strict=True):
                add(a, d)
    zero = Expr("const", value=0.0)
    d_accumulators = tuple(adjoint.get(a.input, zero) for a in cell.accumulators)
    d_parameters = tuple(
        adjoint.get(p, zero) for p in cell.parameter_inputs[: len(cell.parameters)]
    )
    d_previous = tuple(adjoint.get(p, zero) for p in cell.previous)
    # The tape keeps the states and the gates. What else the gradients need is computed again from those;
    # a pre-activation that cannot be is kept as well (the h part of the GRU's candidate).
    d_states = tuple(adjoint[e] for e in cell.new)
    saved = [(g, cell.values[g]) for g in cell.gates if cell.values[g] not in cell.new]
    known = {e for _, e in saved} | set(cell.new)
    inputs = {a.input: f"{'x' if a.x else 'h'}.{a.gate}" for a in cell.accumulators}
    inputs |= {
        e: f"{e.op}{k}" for k, e in enumerate(cell.cross_unit_ops) if e.op != "mean"
    }  # a mean is quickly computed again
    d_products = tuple(adjoint.get(e, zero) for e in cell.products)
    vectors = tuple(range(len(saved), len(saved) + len(cell.products)))
    saved += [(f"vector.{e.name or e.op}", e.args[0]) for e in cell.products]
    known |= {e for _, e in saved}

    def need(e):
        if e in known:
            return
        known.add(e)
        if e in inputs:
            saved.append((inputs[e], e))
            return
        for a in e.args:
            need(a)

    for d in (*d_accumulators, *d_parameters, *d_products, *d_previous, *d_states):
        need(d)
    return Backward(
        d_new, d_accumulators, d_parameters, d_products, d_previous, d_states, tuple(saved), vectors
    )
