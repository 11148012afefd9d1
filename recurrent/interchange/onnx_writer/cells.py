"""Any cell as a Scan, whose body is written from the equations."""

from __future__ import annotations

from typing import Any

from ...engine.params import Sizes
from ...equations.cell import Cell
from .builder import Builder
from .expressions import full, write


def scan(
    b: Builder,
    cell: Cell,
    sizes: Sizes,
    params: dict[str, str],
    x: str,
    initial: list[str],
    valid: str | None,
    backwards: bool,
) -> tuple[str, list[str]]:
    """Add a Scan over the steps of x.

    Products with W_ih are computed before it, for all steps at once.

    Parameters
    ----------
    b : Builder
        The graph.
    cell : Cell
        The cell.
    sizes : Sizes
        D, H and P.
    params : dict of str to str
        Names of the initializers by the fields of Params.
    x : str
        The input, (T, N, D).
    initial : list of str
        The states before the first step, (N, H) or (N, P).
    valid : str, optional
        Which steps are valid, (T, N, 1).
    backwards : bool
        Whether the steps run from the last to the first.

    Returns
    -------
    y : str
        The output, (T, N, P), zeros at steps that are not valid.
    final : list of str
        The states after the last valid step.
    """
    H, columns = sizes.H, sizes.D - len(cell.inputs)
    inner, scanned = b.body(), []

    def scan_over(value: str, *shape: Any, dtype: Any = None) -> str:
        """Return the name that a value (T, ...) has in the body at each step."""
        name = b.name("step")
        scanned.append((value, inner.info(name, shape, dtype)))
        return name

    widths = [sizes.P if p else H for p in cell.projected_states]
    previous = [b.name(f"previous_{s}") for s in cell.states]
    inner.inputs += [inner.info(p, (None, w)) for p, w in zip(previous, widths, strict=True)]

    # The parts of pre-activations from x, and those of h, by gate.
    from_x: dict[str, str] = {}
    if cell.x_gates:
        features = b.select(x, 2, 0, columns) if cell.inputs else x
        total = b.add("MatMul", features, b.add("Transpose", params["W_ih"], perm=[1, 0]))
        total = b.add("Add", total, params["b_ih"]) if cell.biases else total
        row = scan_over(total, None, len(cell.x_gates) * H)
        from_x = dict(zip(cell.x_gates, _split(inner, row, len(cell.x_gates), H), strict=True))
    for k, name in enumerate(cell.inputs):
        if name in {a.gate for a in cell.accumulators}:
            from_x[name] = scan_over(b.select(x, 2, columns + k, columns + k + 1), None, 1)
    blocks = {}
    if cell.h_gates:
        W = _split(b, params["W_hh"], len(cell.h_gates), H, axis=0)
        bias = _split(b, params["b_hh"], len(W), H, axis=0) if cell.biases == 2 else [""] * len(W)
        blocks = dict(zip(cell.h_gates, zip(W, bias, strict=True), strict=True))
    used = [g for g in cell.h_gates if any(a.gate == g and a.h for a in cell.accumulators)]
    from_h: dict[str, str] = {}
    if used:
        W, bias = zip(*(blocks[g] for g in used), strict=True)
        row = _affine(b, inner, previous[0], _joined(b, W), _joined(b, bias))
        from_h = dict(zip(used, _split(inner, row, len(used), H), strict=True))

    known = dict(zip(cell.previous, previous, strict=True))
    known |= {e: params[e.name.rpartition(".")[2]] for e in cell.parameter_inputs}
    wide = set(cell.previous)
    for a in cell.accumulators:
        parts = [part[a.gate] for part, has in ((from_x, a.x), (from_h, a.h)) if has]
        known[a.input] = inner.add("Add", *parts) if len(parts) == 2 else parts[0]
        if a.gate not in cell.inputs:
            wide.add(a.input)
    wide = full(cell.new, wide)

    def rows(e, name, width):
        """Return a value with an entry for each sequence and unit."""
        if e in wide:
            return name
        size = inner.once("Shape", previous[0], start=0, end=1)
        return inner.add("Expand", name, inner.add("Concat", size, b.ints(width), axis=0))

    def across(e, name):
        (arg,) = e.args
        if e.op == "mean":
            one = arg.op == "const"
            return name if one else inner.add("ReduceMean", name, axes=[-1], keepdims=1)
        W, bias = (params["W_hr"], "") if e.op == "projection" else blocks[e.name]
        return _affine(b, inner, rows(arg, name, H), W, bias)

    names = write(inner, cell.new, known, across)
    new = [rows(e, names[e], w) for e, w in zip(cell.new, widths, strict=True)]
    y = new[cell.output]
    if valid:
        now = scan_over(valid, None, 1, dtype=bool)
        new = [inner.add("Where", now, a, p) for a, p in zip(new, previous, strict=True)]
        y = inner.add("Where", now, y, b.constant(0))
    results = [inner.add("Identity", a) for a in (*new, y)]  # each output has a name of its own
    ends = [*widths, widths[cell.output]]
    inner.outputs += [inner.info(n, (None, w)) for n, w in zip(results, ends, strict=True)]
    inner.inputs += [info for _, info in scanned]
    direction = int(backwards)
    *final, y = b.add_many(
        "Scan",
        [*initial, *(value for value, _ in scanned)],
        len(results),
        body=inner.body_graph(cell.name),
        num_scan_inputs=len(scanned),
        scan_input_directions=[direction] * len(scanned),
        scan_output_directions=[direction],
    )
    return y, final


def _split(b: Builder, value: str, parts: int, width: int, axis: int = -1) -> list[str]:
    """Return the blocks of an axis."""
    if parts == 1:
        return [value]
    return b.add_many("Split", [value, b.ints(*[width] * parts)], parts, axis=axis)


def _joined(b: Builder, parts: Any) -> str:
    """Return blocks of rows as one matrix, or biases as one vector; "" for none."""
    return b.add("Concat", *parts, axis=0) if len(parts) > 1 and parts[0] else parts[0]


def _affine(outer: Builder, inner: Builder, vector: str, W: str, bias: str) -> str:
    """Return W v + b; the matrix is transposed outside of the loop."""
    y = inner.add("MatMul", vector, outer.once("Transpose", W, perm=[1, 0]))
    return inner.add("Add", y, bias) if bias else y
