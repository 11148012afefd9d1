"""Cells: the equations of one unit as a graph, their derivatives, and a registry by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

from .. import checks
from ..graph import Edge, Graph, Node
from .expressions import CROSS_UNIT, Expr, fingerprint, operation, topological
from .widths import projected_nodes


class Accumulator(NamedTuple):
    """One dot product of a unit: the pre-activation of a gate.

    A cell that uses W_ih x + b_ih and W_hh h + b_hh of a gate separately has one accumulator per
    part.
    """

    gate: str
    x: bool  # includes W_ih x + b_ih
    h: bool  # includes W_hh h + b_hh
    input: Expr  # stands for its value in the equations


class Run(NamedTuple):
    """Consecutive accumulators whose gates are consecutive in a weight matrix."""

    accumulator: int
    gate: int
    count: int  # type: ignore[assignment]  # shadows tuple.count


class Backward(NamedTuple):
    """Gradients of one step, as expressions of the values that its forward pass saves."""

    d_new: tuple[Expr, ...]  # inputs: gradient of the loss with respect to each new state
    d_accumulators: tuple[Expr, ...]
    d_parameters: tuple[Expr, ...]
    d_products: tuple[Expr, ...]  # with respect to products within the step, a projection last
    d_previous: tuple[Expr, ...]  # without the part through W_hh, which is a matrix product
    d_states: tuple[Expr, ...]  # with respect to each new state, its uses within the step included
    saved: tuple[tuple[str, Expr], ...]  # name and node of each value on the tape, except states
    vectors: tuple[int, ...]  # indices into `saved` of the vectors that products multiply


@dataclass(frozen=True, eq=False)
class Cell:
    """A traced cell: the equations of one unit. `trace_cell` creates it."""

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    parameters: tuple[str, ...]  # names of the parameters that have one value per unit
    accumulators: tuple[Accumulator, ...]
    previous: tuple[Expr, ...]  # inputs: the states of the previous step
    parameter_inputs: tuple[Expr, ...]  # inputs: parameters, then masks
    values: dict[str, Expr]  # gates and new states by name
    biases: int = 2  # bias vectors per gate: 2 (b_ih and b_hh), 1 (b_ih) or 0
    # Initial values of parameters and biases of gates: a number, or the ends of a uniform range.
    initial: dict[str, float | tuple[float, float]] = field(default_factory=dict)
    masks: tuple[str, ...] = ()  # names of the masks that each unit has at each step
    output: int = 0  # index of the state that the layer outputs
    inputs: tuple[str, ...] = ()  # names of the last columns of x, which units read as they are
    scalars: tuple[str, ...] = ()  # those of the parameters that all units of a layer share
    options: dict[str, Any] = field(default_factory=dict)  # hyper-parameters and their values
    # Traces the equations with other hyper-parameters: a family's cells are the same for the same.
    variant: Callable[..., Cell] | None = None

    def __call__(self, **options: Any) -> Cell:
        """Return the cell with other values of some hyper-parameters.

        Parameters
        ----------
        **options : Any
            Hyper-parameters of the declaration, of the kind of their defaults.

        Returns
        -------
        Cell
            Its name lists the values that are not the defaults: "leaky(leak=0.3)". That name finds
            the cell too, so files need no other description of it.

        Raises
        ------
        TypeError
            If the declaration has no such hyper-parameter, or a value is of another kind.
        ValueError
            If a value is not finite.
        """
        if self.variant is None:
            raise TypeError(
                f"cell {self.name} has no hyper-parameters: keyword-only arguments of its "
                "equations would be, as in def equations(x, h, previous, *, leak=0.5)"
            )
        return self.variant(**{**self.options, **options})

    def __reduce__(self):
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "variant"}
        # The nodes come first, arguments before the nodes that use them: pickling is recursive.
        nodes = topological((*self.values.values(), *(a.input for a in self.accumulators)))
        return _unpickled, (self.name, self.digest, self.gates, nodes, values)

    @property
    def new(self) -> tuple[Expr, ...]:
        """Expressions of the new states, in the order of `states`."""
        return tuple(self.values[s] for s in self.states)

    @cached_property
    def x_gates(self) -> tuple[str, ...]:
        """Gates that have rows in W_ih, in their order."""
        return tuple(g for g in self.gates if any(a.gate == g and a.x for a in self.accumulators))

    @cached_property
    def x_rows(self) -> tuple[str, ...]:
        """Names of the blocks of rows of W_ih as kernels take it: of gates, then of `inputs`.

        A row of an input is 1 at its column of x and 0 elsewhere (see `engine.params`).
        """
        used = {a.gate for a in self.accumulators if a.x}
        return (*self.x_gates, *(i for i in self.inputs if i in used))

    @cached_property
    def h_gates(self) -> tuple[str, ...]:
        """Gates that have rows in W_hh, in their order."""
        used = {a.gate for a in self.accumulators if a.h}
        used |= {e.name for e in self.products if e.op == "product"}
        return tuple(g for g in self.gates if g in used)

    @cached_property
    def cross_unit_ops(self) -> tuple[Expr, ...]:
        """Operations that combine units within a step, in topological order."""
        return tuple(e for e in topological(self.values.values()) if e.op in CROSS_UNIT)

    @cached_property
    def products(self) -> tuple[Expr, ...]:
        """Products with rows of W_hh within a step; a projection by W_hr comes last."""
        return tuple(
            e for op in ("product", "projection") for e in self.cross_unit_ops if e.op == op
        )

    @cached_property
    def has_projection(self) -> bool:
        """True if W_hr projects the output of the H units to P values."""
        return any(e.op == "projection" for e in self.cross_unit_ops)

    @cached_property
    def projected_nodes(self) -> dict[Expr, bool]:
        """For each node, forward and backward: True if it has P values, False if H."""
        b = self.backward
        back = (*b.d_accumulators, *b.d_parameters, *b.d_products, *b.d_previous, *b.d_states)
        roots = [*self.new, *(e for _, e in b.saved), *back]
        return projected_nodes(roots, *self._widths, b.d_new)

    @cached_property
    def projected_states(self) -> tuple[bool, ...]:
        """For each state: True if it has P values, False if H."""
        nodes = projected_nodes(self.new, *self._widths)
        return tuple(nodes[e] for e in self.new)

    @property
    def _widths(self):
        return self.new, self.previous, [a.input for a in self.accumulators], self.has_projection

    @property
    def columns(self) -> int:
        """Number of gradients per unit and step: of accumulators, then products within the step."""
        return len(self.accumulators) + len(self.products)

    @cached_property
    def x_runs(self) -> tuple[Run, ...]:
        """Blocks of rows of W_ih."""
        rows = self.x_rows.index
        return _runs([(k, rows(a.gate)) for k, a in enumerate(self.accumulators) if a.x])

    @cached_property
    def h_runs(self) -> tuple[Run, ...]:
        """Blocks of rows of W_hh."""
        rows = self.h_gates.index
        return _runs([(k, rows(a.gate)) for k, a in enumerate(self.accumulators) if a.h])

    @cached_property
    def backward(self) -> Backward:
        """The derivatives of one step."""
        return _differentiate(self)

    @cached_property
    def digest(self) -> str:
        """Digest of the equations, independent of the cell's name: the key of compiled code."""
        b = self.backward
        back = (*b.d_accumulators, *b.d_parameters, *b.d_products, *b.d_previous, *b.d_states)
        roots = (*self.new, *(e for _, e in b.saved), *back)
        accumulators = [a[:3] for a in self.accumulators]
        return fingerprint(
            roots, self.states, self.parameters, self.masks, self.output, accumulators
        )

    def graph(self) -> Graph:
        """Return the equations of one unit as a graph.

        Its nodes are `vector:x` and `vector:h` (if dot products use h), a `sum` for each dot
        product, scalar operations, inputs and states. The id of an operation is the name of its
        gate or new state (`i`, `c`), otherwise a number (`op3`); accumulators are `sum:i`, states
        of the previous step `previous:c`. `values` maps each name to its node. Edges of delay 1
        lead from a state to where it is used one step later. `composites` lists the nodes of each
        composite.
        """
        g = Graph([Node("vector:x", "vector", "x")])
        if self.h_gates:
            g.nodes.append(Node("vector:h", "vector", self.states[0]))
        names = {e: n for n, e in self.values.items()}
        ids = {}
        for k, e in enumerate(topological(self.values.values())):
            accumulator = next((a for a in self.accumulators if a.input is e), None)
            if accumulator and accumulator.gate not in self.inputs:
                # A gate with two accumulators has one from x and one from h.
                single = sum(a.gate == accumulator.gate for a in self.accumulators) == 1
                part = "" if single else ".x" if accumulator.x else ".h"
                ids[e] = f"sum:{accumulator.gate}{part}"
                g.nodes.append(Node(ids[e], "sum", accumulator.gate))
                used = (("x", accumulator.x), ("h", accumulator.h))
                g.edges += [Edge(f"vector:{s}", ids[e]) for s, yes in used if yes]
            elif e.op == "input":
                kind, name = e.name.split(".", 1)
                ids[e] = f"{'p' if kind == 'x' else kind}:{name}"
                kind = "previous" if kind == "previous" else "parameter"
                g.nodes.append(Node(ids[e], kind, name))
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


def _unpickled(name: str, digest: str, gates: tuple[str, ...], nodes: list, values: dict) -> Cell:
    """Return the registered cell with this name and these equations, or else a new one."""
    try:
        known = lookup(name)
    except (TypeError, ValueError):  # the options in its name are no hyper-parameters
        known = None
    return known if known and (known.digest, known.gates) == (digest, gates) else Cell(**values)


def register(cell: Cell) -> Cell:
    """Register a cell under its name; return the cell."""
    checks.instance(cell, Cell, "cell", "a Cell, as trace_cell returns it")
    CELLS[cell.name] = cell
    return cell


def find(cell: str | Cell) -> Cell:
    """Return the cell with this name, or the cell itself.

    Raises ValueError for an unknown name, TypeError for anything but a name or a cell.
    """
    if isinstance(cell, Cell):
        return cell
    if not isinstance(cell, str):
        raise TypeError(f"a cell must be given by name or as a Cell, got {type(cell).__name__}")
    found = lookup(cell)
    if found is None:
        raise ValueError(
            f"unknown cell {checks.shown(cell)}; known cells are {', '.join(CELLS)}"
            f"{checks.guess(cell, CELLS)}"
        )
    return found


def lookup(name: str) -> Cell | None:
    """Return the cell with this name, which may list hyper-parameters, or None.

    Raises TypeError or ValueError if a hyper-parameter does not fit the cell.
    """
    if name in CELLS:
        return CELLS[name]
    match = re.fullmatch(r"(.+)\(([^()]{1,400})\)", name)
    if not match or match[1] not in CELLS:
        return None
    try:
        call: Any = ast.parse(f"f({match[2]})", mode="eval").body
        options = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
        if call.args or None in options:
            raise ValueError
    except (ValueError, SyntaxError, MemoryError, RecursionError, AttributeError, TypeError):
        raise ValueError(
            f"the parentheses of cell {checks.shown(name)} must hold hyper-parameters such as "
            "leak=0.3"
        ) from None
    return CELLS[match[1]](**options)


def _runs(pairs: list[tuple[int, int]]) -> tuple[Run, ...]:
    """Group pairs of an accumulator's and its gate's index into runs."""
    runs: list[Run] = []
    for accumulator, gate in sorted(pairs, key=lambda p: p[1]):
        last = runs[-1] if runs else None
        if last and last.accumulator + last.count == accumulator and last.gate + last.count == gate:
            runs[-1] = last._replace(count=last.count + 1)
        else:
            runs.append(Run(accumulator, gate, 1))
    return tuple(runs)


def _differentiate(cell: Cell) -> Backward:
    """Differentiate the graph of one step in reverse mode."""
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
                if d is not None:
                    add(a, d)

    def adjoints(nodes):
        return tuple(adjoint.get(e, zero) for e in nodes)

    zero = Expr("const", value=0.0)
    d_accumulators = adjoints(a.input for a in cell.accumulators)
    d_parameters = adjoints(cell.parameter_inputs[: len(cell.parameters)])
    d_products = adjoints(cell.products)
    d_previous = adjoints(cell.previous)
    d_states = tuple(adjoint[e] for e in cell.new)

    # The tape holds the states, the gates and the vectors that products multiply. Everything else
    # that the gradients use is computed again from those, except for pre-activations and products
    # that cannot be (such as the h part of the GRU's candidate): the tape holds them too.
    saved = [(g, cell.values[g]) for g in cell.gates if cell.values[g] not in cell.new]
    inputs = {a.input: f"{'x' if a.x else 'h'}.{a.gate}" for a in cell.accumulators}
    # A mean is cheap to compute again.
    inputs |= {e: f"{e.op}{k}" for k, e in enumerate(cell.cross_unit_ops) if e.op != "mean"}
    vectors = tuple(range(len(saved), len(saved) + len(cell.products)))
    saved += [(f"vector.{e.name or e.op}", e.args[0]) for e in cell.products]
    known = {e for _, e in saved} | set(cell.new)

    stack = [*reversed((*d_accumulators, *d_parameters, *d_products, *d_previous, *d_states))]
    while stack:
        e = stack.pop()
        if e in known:
            continue
        known.add(e)
        if e in inputs:
            saved.append((inputs[e], e))
        else:
            stack += reversed(e.args)
    return Backward(
        d_new, d_accumulators, d_parameters, d_products, d_previous, d_states, tuple(saved), vectors
    )
