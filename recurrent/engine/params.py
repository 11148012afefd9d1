"""Params and State of a cell: their types and shapes, and the checks of both."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..equations.cell import Cell
from ..kernels.quantized import Quantized, quantize
from .lookup import Lookup


class Sizes(NamedTuple):
    """Input size, hidden size and output size of a cell."""

    D: int
    H: int
    P: int  # size of h: the rows of W_hr if the cell has a projection, else H


@lru_cache
def namedtuple_type(name: str, fields: tuple[str, ...]) -> type:
    """Return a namedtuple type that pickles by its fields, since no module holds the type."""
    kind = namedtuple(name, fields)
    kind.__reduce__ = lambda self: (_record, (name, fields, *self))
    return kind


def _record(name, fields, *values):
    return namedtuple_type(name, fields)(*values)


def params_type(parameters: tuple[str, ...] = (), biases: int = 2, projected: bool = False) -> type:
    """Return the Params type of cells with these per-unit parameters and this many bias vectors."""
    return namedtuple_type(
        "Params", ("W_ih", "W_hh", *("b_ih", "b_hh")[:biases], *["W_hr"] * projected, *parameters)
    )


def state_type(states: tuple[str, ...]) -> type:
    """Return the State type of cells with these states: `(h,)` or `(h, c)`."""
    return namedtuple_type("State", states)


@lru_cache
def cell_params_type(cell: Cell) -> type:
    """Return the Params type of a cell."""
    return params_type(cell.parameters, cell.biases, cell.has_projection)


@lru_cache
def param_shapes(cell: Cell, D: int, H: int, P: int | None = None) -> Any:
    """Return Params that hold shapes instead of arrays."""
    x_rows, h_rows = len(cell.x_gates) * H, len(cell.h_gates) * H
    biases = ((x_rows,), (h_rows,))[: cell.biases]
    projection = [(P, H)] if cell.has_projection else []
    own = [(1,) if n in cell.scalars else (H,) for n in cell.parameters]
    W_ih = (x_rows, D - len(cell.inputs))
    return cell_params_type(cell)(W_ih, (h_rows, P or H), *biases, *projection, *own)


def sizes_of(cell: Cell, params: Any) -> Sizes:
    """Return the sizes of params whose matrices have two axes."""
    D, P = params.W_ih.shape[1] + len(cell.inputs), params.W_hh.shape[1]
    return Sizes(D, params.W_hr.shape[1] if cell.has_projection else P, P)


def check_input_size(cell: Cell, input_size: Any, name: str = "input_size") -> int:
    """Return the number of columns of x; raise ValueError if `cell.inputs` leave none for W_ih."""
    D = checks.size(input_size, name)
    if len(cell.inputs) >= D:
        raise ValueError(
            f"{name} counts all columns of x, and the last of {cell.name} are "
            f"{', '.join(cell.inputs)}: it must be at least {len(cell.inputs) + 1}, got {D}"
        )
    return D


def state_sizes(cell: Cell, sizes: Sizes) -> tuple[int, ...]:
    """Return the size of each state, H or P, for one sequence."""
    return tuple(sizes.P if projected else sizes.H for projected in cell.projected_states)


def trim_states(cell: Cell, states: Iterable[np.ndarray], P: int) -> list[np.ndarray]:
    """Cut states that are stored with H columns, (..., H), to their own sizes, P or H."""
    return [
        a[..., :P] if projected else a
        for a, projected in zip(states, cell.projected_states, strict=True)
    ]


def kernel_params(cell: Cell, params: Any) -> Any:
    """Return params as the kernels take them, without a copy of what needs no change.

    They have b_ih and b_hh, W_ih has rows of `cell.inputs` too, each 1 at its column of x, and a
    parameter that all units share has a value for each.
    """
    n = cell.biases
    if n == 2 and not cell.inputs and not cell.scalars:
        return params
    W_ih, W_hh, *others = params
    biases = [*others[:n], *(np.zeros(len(W), W.dtype) for W in (W_ih, W_hh)[n:])]
    if cell.inputs:
        (rows, D), H, E = W_ih.shape, sizes_of(cell, params).H, len(cell.inputs)
        used = cell.x_rows[len(cell.x_gates) :]
        full = np.zeros((rows + len(used) * H, D + E), W_ih.dtype)
        for k, name in enumerate(used):
            first = rows + k * H
            full[first : first + H, D + cell.inputs.index(name)] = 1
        biases[0] = np.concatenate([biases[0], np.zeros(len(full) - rows, full.dtype)])
        if isinstance(W_ih, Quantized):
            W_ih = W_ih.inside(full)
        else:
            full[:rows, :D] = W_ih
            W_ih = full
    own = dict(zip(cell.parameters, others[len(others) - len(cell.parameters) :], strict=True))
    for name in cell.scalars:
        own[name] = np.full(sizes_of(cell, params).H, own[name][0])
    projection = others[n : len(others) - len(own)]
    full_type = params_type(cell.parameters, 2, cell.has_projection)
    return full_type(W_ih, W_hh, *biases, *projection, *own.values())


def quantized_params(params: Any, weights: str) -> Any:
    """Return checked params with their matrices quantised; vectors stay as they are."""
    matrices = {n: a for n, a in params._asdict().items() if a.ndim == 2}
    return params._replace(**{n: quantize(a, weights, n) for n, a in matrices.items()})


def kernel_gradients(cell: Cell, dparams: Any) -> Any:
    """Return dparams in the form of `kernel_params`, for kernels to add to."""
    full = kernel_params(cell, dparams)
    for name in cell.scalars:
        getattr(full, name).fill(0)
    return full


def take_gradients(cell: Cell, full: Any, dparams: Any) -> None:
    """Take gradients from `kernel_gradients` back to dparams, added up over units that share."""
    if cell.inputs:
        rows, D = dparams.W_ih.shape
        dparams.W_ih[...] = full.W_ih[:rows, :D]
        if cell.biases:
            dparams.b_ih[...] = full.b_ih[:rows]
    for name in cell.scalars:
        getattr(dparams, name)[0] += np.add.accumulate(getattr(full, name))[-1]


def check_proj_size(cell: Cell, proj_size: Any, hidden_size: int) -> int:
    """Return P, the size of h; raise ValueError or TypeError if `proj_size` does not fit."""
    if not cell.has_projection:
        if checks.integer(proj_size, "proj_size") != 0:
            raise ValueError(
                f"{cell.name} has no projection: proj_size must be 0, "
                f"got {checks.shown(int(proj_size))}"
            )
        return hidden_size
    proj_size = checks.size(proj_size, "proj_size")
    if proj_size > hidden_size:
        raise ValueError(f"proj_size must be at most hidden_size={hidden_size}, got {proj_size}")
    return proj_size


def check_params(cell: Cell, params: Any, dtypes: tuple[str, ...]) -> Any:
    """Return Params of arrays that fit together; raise an error that names one that does not."""
    kind = cell_params_type(cell)
    fields = ", ".join(kind._fields)
    if not isinstance(params, (tuple, list)):
        raise TypeError(f"params of {cell.name} must be {fields}, got {type(params).__name__}")
    if len(params) != len(kind._fields):
        raise ValueError(f"params of {cell.name} must be {fields}, got {len(params)} arrays")
    params = kind(*[checks.array(a, n, dtypes) for a, n in zip(params, kind._fields, strict=True)])
    if params.W_ih.ndim != 2 or params.W_hh.ndim != 2:
        raise ValueError(
            f"W_ih and W_hh must have 2 axes, got {params.W_ih.shape} and {params.W_hh.shape}"
        )
    if cell.has_projection and params.W_hr.ndim != 2:
        raise ValueError(f"W_hr must be (P, H), got {params.W_hr.shape}")
    D, H, P = sizes = sizes_of(cell, params)
    dtype, shapes = params.W_ih.dtype, param_shapes(cell, *sizes)
    for a, name, shape in zip(params, kind._fields, shapes, strict=True):
        if a.shape != shape:
            projection = f", P = {P}" if cell.has_projection else ""
            raise ValueError(
                f"{name} must be {shape} for {cell.name} with D = {D}, H = {H}{projection}, "
                f"got {a.shape}"
            )
        checks.same_dtype(a, name, dtype, "W_ih")
    return params


def check_input(x: Any, D: int, dtype: np.dtype, lengths: Any, dtypes: tuple[str, ...]) -> Any:
    """Return x as an array or Lookup; raise an error unless it fits the parameters."""
    x = x if isinstance(x, Lookup) else checks.array(x, "x", dtypes)
    checks.same_dtype(x, "x", dtype, "params")
    if x.ndim not in (2, 3) or x.shape[-1] != D:
        raise ValueError(f"x must be (T, N, D={D}) or (T, D={D}), got {x.shape}")
    if x.ndim == 2 and lengths is not None:
        raise ValueError(f"lengths need a batch: x must be (T, N, D={D}), got {x.shape}")
    return x


def check_state(
    cell: Cell,
    state: Any,
    name: str,
    rows: tuple[int, ...],
    sizes: Sizes,
    dtype: np.dtype,
    dtypes: tuple[str, ...],
    other: str = "x",
) -> Any:
    """Return State of arrays (*rows, H) or (*rows, P); raise an error that names a wrong one."""
    kind = state_type(cell.states)
    sequence = isinstance(state, (tuple, list))
    if not sequence or len(state) != len(kind._fields):
        got = f"a tuple of {len(state)}" if sequence else type(state).__name__
        raise ValueError(
            f"{name} of {cell.name} must be ({', '.join(kind._fields)},), a tuple of arrays, "
            f"got {got}"
        )
    arrays = []
    widths = zip(state_sizes(cell, sizes), cell.projected_states, strict=True)
    for field, a, (width, projected) in zip(kind._fields, state, widths, strict=True):
        letter, label = "P" if projected else "H", f"{name}.{field}"
        a = checks.array(a, label, dtypes)
        checks.same_dtype(a, label, dtype, other)
        checks.shape(a, label, (*rows, width), f"(N, {letter})" if rows else f"({letter},)")
        arrays.append(a)
    return kind(*arrays)
