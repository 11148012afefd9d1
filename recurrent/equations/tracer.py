"""The tracer: turns a Python function of one unit's scalars into a cell.

The function is called once, with symbols in place of numbers, and returns the graph of its
equations. The compiled kernels, the NumPy reference, the backward pass and the pictures are all
derived from that graph.
"""

from __future__ import annotations

import inspect
import keyword
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .. import checks
from .cell import Accumulator, Cell
from .cell import register as register_cell
from .expressions import Expr, as_expr, deduplicate, topological

# Names of weights, of the state and of the mask that recurrent dropout adds.
RESERVED = (
    "W_ih", "W_hh", "W_hr", "b_ih", "b_hh", "weight_ih", "weight_hh", "weight_hr", "bias_ih",
    "bias_hh", "dropped", "dropout",
)  # fmt: skip
MOST_OPERATIONS = 500


class _Names:
    """The scalars of one argument by name; the error for an unknown name lists the known ones."""

    def __init__(self, cell: str, argument: str, values: dict[str, Expr]):
        self.__dict__.update(values)
        self._cell, self._argument, self._known = cell, argument, ", ".join(values) or "nothing"

    def __getattr__(self, name):
        raise AttributeError(
            f"cell {self._cell}: {self._argument} has no {name!r}; it has {self._known}"
        )


def trace_cell(
    name: str,
    gates: str,
    states: str,
    parameters: str = "",
    biases: int = 2,
    initial: dict[str, Any] | None = None,
    register: bool = True,
    inputs: str = "",
    scalars: str = "",
) -> Callable[[Callable], Cell]:
    """Declare a cell by a function of one unit's scalars.

    `recurrent.cell` does the same and checks the gradients of the cell too.

    Parameters
    ----------
    name : str
        Name of the cell.
    gates, states, parameters : str
        Names, separated by spaces. A gate has rows in W_ih and W_hh, a parameter one value per
        unit. The first state is the hidden state: W_hh multiplies it, and the layer outputs it.
    biases : int
        Bias vectors per gate: 2 (b_ih and b_hh, as in PyTorch), 1 (b_ih) or 0.
    initial : dict of str to float or pair of float, optional
        Initial values of parameters, weights and biases, and of a gate's bias by the gate's name:
        a number, or the two ends of a uniform distribution.
    register : bool
        Whether the cell can be found by its name.
    inputs : str
        Names of the last columns of x, one number each for all units: `x.dt` is that number.
    scalars : str
        Names of parameters with one value for the whole layer.

    Returns
    -------
    callable
        A decorator for the equations: a function of `x` (`x.i` is row i of W_ih x + b_ih for this
        unit), `h` (`h.i` is the same of W_hh h + b_hh), `previous` (`previous.c` is this unit's
        state c of the previous step) and, if there are any parameters, `p` (`p.w`). It returns a
        dict of all gates and new states by name. Keyword-only arguments with defaults are
        hyper-parameters: calling the cell gives it with other values. The decorator returns the
        cell.

    Raises
    ------
    TypeError
        If an argument is not a str, or the equations cannot be traced.
    AttributeError
        If the equations use a name that is not declared.
    ValueError
        If a name occurs twice or is reserved, if the equations do not return exactly the gates and
        states or have more than 500 operations, if a state is constant, or if a product or a
        projection is used in a way that kernels do not support.
    """
    if not checks.text(name, "name").strip() or "\n" in name:
        raise ValueError(f"name must be one line that is not empty, got {checks.shown(name)}")
    where = f"cell {name}: "
    checks.integer(biases, "biases", 0, 2, where)
    checks.flag(register, "register", where)
    gate_names = _split(where, "gates", gates)
    state_names = _split(where, "states", states)
    scalar_names = _split(where, "scalars", scalars)
    parameter_names = (*_split(where, "parameters", parameters), *scalar_names)
    input_names = _split(where, "inputs", inputs)
    _check_apart(where, "parameters and scalars", parameter_names)
    _check_apart(where, "gates and inputs", (*gate_names, *input_names))
    start = _initial_values(where, initial, gate_names, parameter_names)
    if not state_names:
        raise ValueError(
            f"cell {name}: states must name at least one state, which the layer outputs; got none"
        )

    def trace_with(equations: Callable, name: str, options: dict[str, Any]) -> Cell:
        x = {g: Expr("input", name=f"x.{g}") for g in (*gate_names, *input_names)}
        h = {g: Expr("input", name=f"h.{g}") for g in gate_names}
        previous = {s: Expr("input", name=f"previous.{s}") for s in state_names}
        p = {q: Expr("input", name=f"p.{q}") for q in parameter_names}
        arguments = {"x": x, "h": h, "previous": previous, **({"p": p} if p else {})}
        values = _call(name, equations, arguments, options)
        _check_names(name, values, (*gate_names, *state_names))

        values = {n: _value(name, n, values[n]) for n in (*gate_names, *state_names)}
        unique = deduplicate(values.values())
        values = {n: unique[e] for n, e in values.items()}
        accumulators, values = _merge(gate_names, input_names, x, h, values)
        cell = Cell(
            name, gate_names, state_names, parameter_names, accumulators,
            tuple(previous.values()), tuple(p.values()), values, int(biases), start,
            inputs=input_names, scalars=scalar_names, options=options,
        )  # fmt: skip
        _check_graph(cell)
        _check_products(cell)
        check_widths(cell)
        return cell

    def trace(equations: Callable) -> Cell:
        defaults = _hyper_parameters(where, equations)
        cell = trace_with(equations, name, defaults)
        if defaults:
            cells: dict[str, Cell] = {}

            def variant(**options: Any) -> Cell:
                values = {**defaults, **_checked_options(where, options, defaults)}
                text = ", ".join(f"{k}={v!r}" for k, v in values.items() if v != defaults[k])
                full_name = f"{name}({text})" if text else name
                if full_name not in cells:
                    traced = trace_with(equations, full_name, values)
                    cells[full_name] = replace(traced, variant=variant)
                return cells[full_name]

            cells[name] = cell = replace(cell, variant=variant)
        return register_cell(cell) if register else cell

    return trace


def _hyper_parameters(where, equations) -> dict[str, Any]:
    """Return the keyword-only arguments of the equations with their defaults."""
    try:
        arguments = inspect.signature(equations).parameters.values()
    except (TypeError, ValueError):  # `_call` says what is wrong
        return {}
    found = {a.name: a.default for a in arguments if a.kind is a.KEYWORD_ONLY}
    for n, default in found.items():
        if default is inspect.Parameter.empty:
            raise TypeError(
                f"{where}the hyper-parameter {n} needs a default, such as `*, {n}=0.5` in the "
                "arguments of the equations"
            )
        if not isinstance(default, (bool, int, float, str)):
            raise TypeError(
                f"{where}the default of the hyper-parameter {n} must be a number, a bool or a str, "
                f"got {type(default).__name__}"
            )
    return _checked_options(where, found, found)


def _checked_options(where, options, defaults) -> dict[str, Any]:
    """Return hyper-parameters of the kind of their defaults."""
    checked = {}
    for n, value in options.items():
        if n not in defaults:
            raise TypeError(
                f"{where}no hyper-parameter {n!r}; there are {', '.join(defaults)}"
                f"{checks.guess(n, defaults)}"
            )
        default = defaults[n]
        if isinstance(default, bool):
            checked[n] = checks.flag(value, n, where)
        elif isinstance(default, int):
            checked[n] = checks.integer(value, n, where=where)
        elif isinstance(default, float):
            checked[n] = float(checks.number(value, n, where=where))
        else:
            checked[n] = checks.text(value, n)
            if not value.isidentifier():
                raise ValueError(f"{where}{n} must be one word, got {checks.shown(value)}")
    return checked


def _check_apart(where, what, names) -> None:
    for k, n in enumerate(names):
        if n in names[:k]:
            raise ValueError(f"{where}{what} must differ from each other, got {n!r} twice")


def _split(where, argument, names) -> tuple[str, ...]:
    """Return the names in a str; raise an error for a name that cannot be one."""
    if not isinstance(names, str):
        raise TypeError(
            f"{where}{argument} must be a str of names separated by spaces, such as "
            f"'i f', got {type(names).__name__}"
        )
    found = tuple(names.split())
    for k, n in enumerate(found):
        if n in found[:k]:
            raise ValueError(f"{where}{argument} must differ from each other, got {n!r} twice")
        # States and parameters are fields of records; gates are only attributes in the equations.
        usable = argument == "gates" or (n.isidentifier() and not keyword.iskeyword(n))
        if not usable or n.startswith("_") or "." in n:
            raise ValueError(
                f"{where}{argument} must be Python names without a leading underscore, such as "
                f"'i f', got {checks.shown(n)}"
            )
        if n in RESERVED or n.startswith("zoneout_") or n.endswith("_reverse"):
            raise ValueError(
                f"{where}{argument} must not have the name {n!r}, which layers use themselves; "
                "choose another name"
            )
    return found


def _initial_values(where, initial, gates, parameters) -> dict[str, Any]:
    if initial is None:
        return {}
    checks.instance(initial, dict, "initial", "a dict of parameters and their values", where)
    known = (*parameters, *gates, *RESERVED[:5])
    found = {}
    for n, v in initial.items():
        if n not in known:
            raise ValueError(
                f"{where}initial must hold some of {', '.join(known)}, got {checks.shown(n)}"
            )
        label = f"initial[{n!r}]"
        if isinstance(v, (tuple, list)):
            if len(v) != 2:
                raise ValueError(
                    f"{where}{label} must be a number or the two ends of a range, "
                    f"got {checks.shown(v)}"
                )
            low, high = (checks.number(end, label, where=where) for end in v)
            if low > high:
                raise ValueError(f"{where}{label} must be (low, high), got {checks.shown(v)}")
            found[n] = (low, high)
        else:
            found[n] = checks.number(v, label, where=where)
    return found


def _value(cell, name, value) -> Expr:
    try:
        return as_expr(value)
    except TypeError:
        raise TypeError(
            f"cell {cell}: the equations must return a scalar for {name}, an expression of the "
            f"arguments or a number, got {type(value).__name__}"
        ) from None


def _check_graph(cell) -> None:
    """Raise ValueError if a state is a constant, or if there are too many operations."""
    for state, e in zip(cell.states, cell.new, strict=True):
        if e.op == "const":
            raise ValueError(
                f"cell {cell.name}: the state {state} is always {e.value:g}; a state must depend "
                "on the arguments of the equations"
            )
    count = sum(bool(e.args) for e in topological(cell.values.values()))
    if count > MOST_OPERATIONS:
        raise ValueError(
            f"cell {cell.name}: the equations have {count:,} operations, more than the "
            f"{MOST_OPERATIONS} that kernels can be compiled for in reasonable time; use several "
            "layers or time steps instead"
        )


def _call(name, equations, arguments, options):
    """Call the equations with symbols; raise TypeError for a wrong signature or result."""
    checks.function(equations, "the equations", "f(x, h, previous)", f"cell {name}: ")
    expected = ", ".join(arguments)
    try:
        signature = inspect.signature(equations)
    except ValueError:  # some functions that are not written in Python
        raise TypeError(
            f"cell {name}: the equations must be a Python function of ({expected}), "
            f"got {type(equations).__name__}"
        ) from None
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(
            f"cell {name}: the equations must be a function of ({expected}), got {signature}"
        ) from None
    values = equations(*(_Names(name, a, known) for a, known in arguments.items()), **options)
    if not isinstance(values, dict):
        raise TypeError(
            f"cell {name}: the equations must return a dict of gates and new states, "
            f"got {type(values).__name__}"
        )
    return values


def _check_names(name, values, expected):
    for n in values:
        if n not in expected:
            raise ValueError(
                f"cell {name}: the equations return {n!r}, which is neither a gate nor a state"
            )
    missing = [n for n in expected if n not in values]
    if missing:
        raise ValueError(f"cell {name}: the equations return no value for {', '.join(missing)}")


def _check_products(cell):
    """Raise ValueError unless each product within the step has rows of W_hh of its own."""
    rows = [q.name for q in cell.products] + [a.gate for a in cell.accumulators if a.h]
    for e in cell.products:
        if e.op == "product" and e.name not in cell.gates:
            raise ValueError(
                f"cell {cell.name}: product({e.name!r}, ...) must name one of the gates "
                f"{', '.join(cell.gates)}"
            )
        if e.op == "product" and rows.count(e.name) > 1:
            raise ValueError(
                f"cell {cell.name}: product({e.name!r}, ...) must be the only use of the rows of "
                f"gate {e.name} in W_hh"
            )


def check_widths(cell: Cell) -> None:
    """Raise ValueError unless the only projection, if there is one, gives the first state."""
    try:
        projected = cell.projected_states
    except ValueError as error:
        raise ValueError(f"cell {cell.name}: {error}") from None
    for name, e in zip(cell.parameters, cell.parameter_inputs, strict=False):
        if cell.projected_nodes.get(e):
            raise ValueError(
                f"cell {cell.name}: the parameter {name} has a value for each unit (H) and cannot "
                "be combined with projected values (P)"
            )
    count = sum(e.op == "projection" for e in cell.cross_unit_ops)
    if count > 1 or projected[0] != bool(count):
        raise ValueError(
            f"cell {cell.name}: a cell may have one projection, which must give its first state "
            f"{cell.states[0]}; got {count}" + " elsewhere" * (not projected[0])
        )


def _merge(gates, inputs, x, h, values):
    """Replace x.g + h.g by one accumulator if the cell uses them in that sum only."""
    nodes = topological(values.values())
    uses = Counter(a for e in nodes for a in e.args) + Counter(values.values())
    sums = {}  # the merged accumulator of a gate
    new = {}
    for e in nodes:
        for g in gates:
            if e.op == "add" and set(e.args) == {x[g], h[g]} and uses[x[g]] == uses[h[g]] == 1:
                new[e] = sums[g] = Expr("input", name=f"a.{g}")
    for e in nodes:
        if e not in new:
            new[e] = e.with_args(*(new[a] for a in e.args))
    # Accumulators that use x come first, in the order of the gates: W_ih is then one run of rows.
    merged = [
        Accumulator(g, True, g in sums, sums.get(g, x[g])) for g in gates if g in sums or uses[x[g]]
    ]
    merged += [Accumulator(i, True, False, x[i]) for i in inputs if uses[x[i]]]
    separate = [Accumulator(g, False, True, h[g]) for g in gates if g not in sums and uses[h[g]]]
    return tuple(merged + separate), {n: new[e] for n, e in values.items()}
