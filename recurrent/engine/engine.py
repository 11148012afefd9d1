"""Engine functions of one cell: init, forward, backward, step. `recurrent.lstm` and its like are made here."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from .. import checks, kernels
from ..equations.cell import Cell, find
from . import buffers, ragged
from .footprint import WIDE, Footprint
from .lookup import Lookup, RowGradients, distinct
from .params import Sizes, params_type, state_type
from .stepping import PackedParams, Stepper
from .tape import Tape, as_wide


def _engine(cell: Cell, reference: bool) -> Engine:
    return Engine(cell).reference if reference else Engine(cell)


class Engine:
    """The functions of one cell: `init`, `forward`, `backward`, `step`.

    Time-major: x (T, N, D), y (T, N, H), each state (N, H); without the N axis for a single sequence. float32 or
    float64, the same for every argument. Weights are PyTorch's in name, shape, gate order and initialisation.
    Of a cell that projects, y and h have P numbers where there are H units.
    """

    def __init__(self, cell: Cell | str, backend: ModuleType | None = None):
        self.cell = cell = find(cell)
        self.name = cell.name
        self.Params = params_type(cell.parameters, cell.biases, cell.has_projection)
        self.State = state_type(cell.states)
        self.kernels = backend or kernels.backend
        # Complex numbers are for those who ask for the interpreter by name: without the JIT it must refuse them like kernels.
        self.dtypes = ("float32", "float64") if backend is None else backend.DTYPES

    def __reduce__(self):
        return _engine, (self.cell, self.dtypes is kernels.reference.DTYPES)

    def __repr__(self):
        return f"<recurrent engine: {self.name}, gates {' '.join(self.cell.gates)}, states {' '.join(self.cell.states)}>"

    @property
    def reference(self) -> Engine:
        """The same functions interpreted by NumPy from the same equations; takes complex128 too."""
        return Engine(self.cell, kernels.reference)

    @lru_cache  # noqa: B019 a few engines, for as long as the process lives
    def shapes(self, D: int, H: int, P: int | None = None) -> Any:
        """Params of shapes instead of arrays."""
        x_rows, h_rows = len(self.cell.x_gates) * H, len(self.cell.h_gates) * H
        biases = ((x_rows,), (h_rows,))[: self.cell.biases]
        projection = [(P, H)] if self.cell.has_projection else []
        return self.Params(
            (x_rows, D), (h_rows, P or H), *biases, *projection, *[(H,)] * len(self.cell.parameters)
        )

    def sizes(self, params: Any) -> Sizes:
        """Those of params whose matrices have two axes."""
        P = params.W_hh.shape[1]
        return Sizes(
            params.W_ih.shape[1], params.W_hr.shape[1] if self.cell.has_projection else P, P
        )

    def state_sizes(self, sizes: Sizes) -> tuple[int, ...]:
        """How many numbers a sequence has of each state."""
        return tuple(sizes.P if projected else sizes.H for projected in self.cell.projected_states)

    def checked_proj_size(self, value: Any, hidden_size: int) -> int:
        """How many numbers a layer of so many units hands on. Raises ValueError or TypeError for a size that cannot be."""
        if not self.cell.has_projection:
            if value:
                raise ValueError(
                    f"{self.name} projects nothing: proj_size must be 0, got {value!r}"
                )
            return hidden_size
        if checks.size(value, "proj_size") > hidden_size:
            raise ValueError(f"proj_size must be at most hidden_size={hidden_size}, got {value}")
        return value

    def with_biases(self, params: Any, fill: Callable = np.zeros) -> Any:
        """Params as the kernels take them, with b_ih and b_hh, which come from `fill` where the cell has none."""
        n = self.cell.biases
        if n == 2:
            return params
        W_ih, W_hh, *rest = params
        missing = [fill(len(W), W.dtype) for W in (W_ih, W_hh)[n:]]
        return params_type(self.cell.parameters, 2, self.cell.has_projection)(
            W_ih, W_hh, *rest[:n], *missing, *rest[n:]
        )

    def init(
        self,
        input_size: int,
        hidden_size: int,
        dtype: Any = np.float32,
        rng: Any = 0,
        proj_size: int = 0,
    ) -> Any:
        """New weights for D = `input_size` and H = `hidden_size`, every entry uniform in +-1/sqrt(H) as in PyTorch.

        Returns Params(W_ih (G*H, D), W_hh (G*H, H), b_ih (G*H,), b_hh (G*H,)). `rng`: a seed or a numpy Generator.
        A cell that projects needs P = `proj_size`, at most H; W_hh is then (G*H, P), and W_hr (P, H) follows the biases.
        Raises TypeError or ValueError for sizes below 1 and for dtypes other than float32 and float64.
        """
        D, H = checks.size(input_size, "input_size"), checks.size(hidden_size, "hidden_size")
        dtype, rng = checks.dtype(dtype), checks.generator(rng)
        bound = 1 / np.sqrt(H)
        shapes, initial = (
            self.shapes(D, H, self.checked_proj_size(proj_size, H))._asdict(),
            self.cell.initial,
        )
        new = {
            n: rng.uniform(-bound, bound, s).astype(dtype)
            for n, s in shapes.items()
            if n not in initial
        }
        return self.Params(**new, **{n: np.full(H, value, dtype) for n, value in initial.items()})

    def check_params(self, params: Any) -> Any:
        """Params whose arrays fit each other, or an error that names the one that does not."""
        if not isinstance(params, (tuple, list)):
            raise TypeError(
                f"params of {self.name} must be {', '.join(self.Params._fields)}, got {type(params).__name__}"
            )
        if len(params) != len(self.Params._fields):
            raise ValueError(
                f"params of {self.name} must be {', '.join(self.Params._fields)}, got {len(params)} arrays"
            )
        names = self.Params._fields
        params = self.Params(
            *[checks.array(a, n, self.dtypes) for a, n in zip(params, names, strict=True)]
        )
        if params.W_ih.ndim != 2 or params.W_hh.ndim != 2:
            raise ValueError(
                f"W_ih and W_hh must have 2 axes, got {params.W_ih.shape} and {params.W_hh.shape}"
            )
        if self.cell.has_projection and params.W_hr.ndim != 2:
            raise ValueError(f"W_hr must be (P, H), got {params.W_hr.shape}")
        D, H, P = sizes = self.sizes(params)
        dtype, shapes = params.W_ih.dtype, self.shapes(*sizes)
        for a, n, s in zip(params, names, shapes, strict=True):
            if a.shape != s or a.dtype != dtype:  # else no time goes into words
                checks.shape(
                    a,
                    n,
                    s,
                    f"of {self.name} with D = {D}, H = {H}"
                    + f", P = {P}" * self.cell.has_projection,
                )
                checks.same_dtype(a, n, dtype, "W_ih")
        return params

    def check_state(
        self, state: Any, name: str, rows: tuple[int, ...], sizes: Sizes, dtype: np.dtype
    ) -> Any:
        """State whose arrays are (*rows, H), or (*rows, P), or an error that names the one that is not."""
        if not isinstance(state, (tuple, list)) or len(state) != len(self.State._fields):
            got = (
                f"{len(state)} of them"
                if isinstance(state, (tuple, list))
                else type(state).__name__
            )
            raise ValueError(
                f"{name} of {self.name} must be ({', '.join(self.State._fields)},), a tuple of arrays, got {got}"
            )
        arrays = []
        widths = zip(self.state_sizes(sizes), self.cell.projected_states, strict=True)
        for s, a, (width, projected) in zip(self.State._fields, state, widths, strict=True):
            letter = "P" if projected else "H"
            a = checks.array(a, f"{name}.{s}", self.dtypes)
            checks.same_dtype(a, f"{name}.{s}", dtype, "x")
            checks.shape(
                a, f"{name}.{s}", (*rows, width), f"(N, {letter})" if rows else f"({letter},)"
            )
            arrays.append(a)
        return self.State(*arrays)

    def forward(
        self,
        x: np.ndarray,
        params: Any,
        state: Any = None,
        lengths: np.ndarray | None = None,
        reverse: bool = False,
        record: bool = False,
        inputs: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Any, Tape | None]:
        """Run the cell over a sequence.

        x (T, N, D) or, for one sequence, (T, D). `state`: each (N, H) or (H,); zeros if None. `lengths` (N,) ints in
        0..T: y is zero past a length and the returned state is that of the last valid step. `reverse` starts at the
        last valid step; y stays aligned with x. A mask (T, N) of bools in place of the lengths says which steps are
        valid, wherever they are: a blank leaves the state as it is, and y is zero there. One whose valid steps come
        first is the same as their number, to the bit.

        x may be a Lookup: each row of its table that occurs is then multiplied by W_ih once, with the same bits.
        `params` may be what `pack` made of them, unless `record`: that saves packing them again in each of many short calls.

        `inputs` (T, N, M, H) or (T, M, H): what the units of a cell with M inputs get at each step; they have no gradient.
        A cell whose output is not its first state needs `record`.

        Returns y (T, N, H) or (T, H), the final state, and a tape for `backward` if `record`. A recorded y is part of
        the tape and read-only; x belongs to the tape too and must not change before `backward`.
        Raises ValueError for shapes and lengths that do not fit, TypeError for dtypes.
        """
        if isinstance(params, PackedParams):
            packed, params = params, None
            if record:
                raise ValueError(
                    "a recorded forward pass needs the params themselves, got packed ones"
                )
            if packed.cell is not self.cell or packed.kernels is not self.kernels:
                raise ValueError(
                    f"the packed params are of {packed.cell.name}, but forward is that of {self.name}"
                )
        else:
            params = self.check_params(params)
            packed = PackedParams(self, params)
        x = x if isinstance(x, Lookup) else checks.array(x, "x", self.dtypes)
        checks.same_dtype(x, "x", packed.dtype, "params")
        D, H, P = sizes = packed.sizes
        if x.ndim not in (2, 3) or x.shape[-1] != D:
            raise ValueError(f"x must be (T, N, D={D}) or (T, D={D}), got {x.shape}")
        batched = x.ndim == 3
        if not batched and lengths is not None:
            raise ValueError(f"lengths need a batch: x must be (T, N, D={D}), got {x.shape}")
        T, N = x.shape[0], x.shape[1] if batched else 1
        if (
            T == 1
            and lengths is None
            and inputs is None
            and not record
            and not self.cell.output
            and not isinstance(x, Lookup)
        ):
            return self._one_step(x, batched, packed, state)
        layout = ragged.layout(T, N, checks.valid_steps(lengths, T, N), reverse)
        S, others = layout.S, len(self.cell.states) - 1
        empty = buffers.empty if record else np.empty  # a tape's memory is used again
        h, rest, saved = (empty(shape, x.dtype) for shape in self._run_shapes(S, N, sizes, record))
        if state is None:
            h[:N] = 0
            rest[:, :N] = 0
        else:
            state = self.check_state(state, "state", (N,) if batched else (), sizes, x.dtype)
            h[:N] = layout.to_packed_order(state[0].reshape(N, P))
            for k in range(others):
                a = state[1 + k]
                rest[k, :N, : a.shape[-1]] = layout.to_packed_order(a.reshape(N, a.shape[-1]))
        if isinstance(x, Lookup):
            ids = distinct(layout.pack(x.ids.reshape(T, N)), len(x.table))
            rows, places = x.table[ids[0]], ids[1]
        else:
            ids, rows, places = None, layout.pack(x.reshape(T, N, D)), ragged.NO_ROWS
        extra = self._inputs(inputs, x, batched, H, layout)
        self.kernels.forward(
            self.cell, rows, places, layout.offsets, packed.weights, h, rest, saved, extra
        )
        y = layout.unpack((h, *rest)[self.cell.output][N:, :P])
        # Copies of what is part of y or of the tape.
        last = [
            layout.final(h).copy(),
            *(layout.final(r).copy() if record else layout.from_packed_order(r) for r in rest),
        ]
        if P < H:
            last = as_wide(self.cell, last, P)
        final = self.State(*(last if batched else [a[0] for a in last]))
        tape = None
        if record:
            y.flags.writeable = False
            tape = Tape(self.cell, layout, batched, params, rows, ids, h, rest, saved, extra)
        return y if batched else y[:, 0], final, tape

    def _one_step(self, x, batched, packed, state):
        """`forward` over a single step: a few microseconds, where half of a longer way would be spent on preparing it."""
        N, (D, H, P) = x.shape[-2] if batched else 1, packed.sizes
        h, rest, y = (
            np.zeros((2 * N, P), x.dtype),
            np.zeros((len(self.cell.states) - 1, N, H), x.dtype),
            np.empty((1, N, P), x.dtype),
        )
        if state is not None:
            first, *others = self.check_state(
                state, "state", (N,) if batched else (), packed.sizes, x.dtype
            )
            h[:N] = first
            for k, a in enumerate(others):
                rest[k, :, : a.shape[-1]] = a
        self.kernels.step(self.cell, packed.weights, x.reshape(N, D), h, rest, y[0])
        last = [h[:N], *rest] if P == H else as_wide(self.cell, [h[:N], *rest], P)
        if batched:
            return y, self.State(*last), None
        return y[:, 0], self.State(*[a[0] for a in last]), None

    def backward(
        self,
        dy: np.ndarray | None,
        tape: Tape,
        dstate: Any = None,
        out: Any = None,
        state_gradients: dict | None = None,
    ) -> tuple[np.ndarray, Any, Any]:
        """Back-propagation through time.

        dy: gradient of the loss with respect to y, (T, N, H) or (T, H); None for zeros. What it says past a length
        does not count: y is constant there. `dstate`: gradient with respect to the final state.

        Returns dx (RowGradients where x was a Lookup), dparams (the same Params type; written to the arrays of `out` if
        given) and the gradient with respect to the initial state. `state_gradients`, a dict, receives dL/d(state) after every step
        by name, (T, N, H): all that a state does later counts, and what c does within its step through h.
        The tape is not consumed. Raises ValueError for shapes or a tape that do not fit, TypeError for dtypes.
        """
        if tape is None:
            raise ValueError("backward needs a tape: call forward with record=True")
        if not isinstance(tape, Tape):
            raise TypeError(
                f"tape must be what forward returns with record=True, got {type(tape).__name__}"
            )
        if tape.cell is not self.cell:
            raise ValueError(
                f"the tape is of {tape.cell.name}, but backward is that of {self.name}"
            )
        layout, params, cell = tape.layout, tape.params, self.cell
        T, N, (_, H, P) = layout.T, layout.N, (sizes := self.sizes(params))
        dtype, S = tape.x.dtype, layout.S
        shape = (T, N, P) if tape.batched else (T, P)
        if dy is None:
            dy = np.zeros(shape, dtype)
        dy = checks.array(dy, "dy", self.dtypes)
        checks.same_dtype(dy, "dy", dtype, "x")
        letter = "P" if cell.has_projection else "H"
        checks.shape(dy, "dy", shape, f"(T, N, {letter})" if tape.batched else f"(T, {letter})")
        full = self.with_biases(params)
        if out is None:
            dparams = self.Params(*[np.empty(p.shape, dtype) for p in params])
        else:
            dparams = out
            for a, p, n in zip(dparams, params, self.Params._fields, strict=True):
                checks.writeable(a, f"out.{n}", p)
        carry_shape, da_shape, dp_shape = self._gradient_shapes(S, N, H)
        carry, da, dp = (
            np.zeros(carry_shape, dtype),
            np.empty(da_shape, dtype),
            np.zeros(dp_shape, dtype),
        )
        if dstate is not None:
            for k, a in enumerate(self.check_state(dstate, "dstate", shape[1:-1], sizes, dtype)):
                carry[k, :, : a.shape[-1]] = layout.to_packed_order(a.reshape(N, a.shape[-1]))
        total = np.empty((0, 0, H) if state_gradients is None else (len(cell.states), S, H), dtype)
        rows, kept = (
            layout.pack(dy.reshape(T, N, P)),
            (tape.h_rows, tape.rest_rows, tape.saved_rows),
        )
        # Packed weights for this call only: what comes next needs other ones.
        self.kernels.backward(
            cell,
            rows,
            layout.offsets,
            self.kernels.pack_backward(cell, full),
            *kept,
            carry,
            da,
            dp,
            total,
            tape.inputs,
        )
        da_x = da if tape.ids is None else self._summed(da, *tape.ids)
        dx = self._gradient_of_input(da_x, full)
        gradients = self.with_biases(dparams, np.empty)
        vectors = [tape.saved_rows[:, k] for k in cell.backward.vectors]
        self.kernels.gradient_of_weights(
            cell, da_x, tape.x, da, dp, tape.h_rows, layout.previous, vectors, gradients
        )
        if state_gradients is not None:
            state_gradients.update(
                {
                    s: tape.public(a)
                    for s, a in zip(cell.states, as_wide(cell, total, P), strict=True)
                }
            )
        initial = layout.from_packed_order(carry)
        d_initial = self.State(*as_wide(cell, initial if tape.batched else initial[:, 0], P))
        if tape.ids is None:
            return tape.public(dx), dparams, d_initial
        # da is the largest array of all: only a recording keeps it.
        each = (
            None
            if state_gradients is None
            else lambda: tape.public(self._gradient_of_input(da, full))
        )
        return RowGradients(tape.ids[0], dx, each), dparams, d_initial

    def _run_shapes(self, S, N, sizes, record):
        """Of h, the other states and what the tape keeps besides."""
        others, (_, H, P) = len(self.cell.states) - 1, sizes
        return (
            (N + S, P),
            (others, N + S if record else N, H),
            (S, len(self.cell.backward.saved), H) if record else (0, 0, H),
        )

    def _gradient_shapes(self, S, N, H):
        """Of the states' gradients, of the accumulators' at every step, and of each sequence's of per-unit parameters."""
        return (
            (len(self.cell.states), N, H),
            (S, self.cell.columns, H),
            (N, len(self.cell.parameters), H),
        )

    def footprint(
        self, T, N, sizes, dtype, ragged, training=True, reverse=False, table=None
    ) -> Footprint:
        """Bytes that `forward` and `backward` take; see `Layer.footprint`."""
        D, H, P = sizes
        S, size, gathered = (
            T * N,
            dtype.itemsize,
            ragged or reverse,
        )  # gathered: rows are copied in packed order

        def sized(*shapes):
            return size * sum(prod(shape) for shape in shapes)

        known = S if table is None else min(table, S)
        rows = sized((known, D)) if table is not None or gathered else 0
        order = WIDE * (
            (T + 1 + 2 * N + 2 * S if gathered else 0) + (0 if table is None else known + S)
        )
        tape = sized(*self._run_shapes(S, N, sizes, training)) + rows + order
        unpacked = sized((S, P)) if gathered else 0
        scratch = kernels.backend.scratch(self.cell, sizes, S, N, known, table is not None, dtype)
        sums = 0 if table is None else sized((known, *self._gradient_shapes(S, N, H)[1][1:]))
        given, joined = self._input_shapes(
            S, H
        )  # what the units get besides x, and that with their parameters
        tape += sized(given)
        dx = sized((known, D))
        spread = dx if gathered and table is None else 0
        backward = sized(*self._gradient_shapes(S, N, H)) + unpacked
        backward += max(
            scratch.backward + sized(joined) - dx, sums + max(scratch.gradients, spread)
        )  # dx is not there at first
        if not training:  # h is given back, a part of it as y: all of it stays
            return Footprint(0, unpacked or tape, scratch.forward + (tape if unpacked else 0), 0, 0)
        return Footprint(
            tape,
            unpacked,
            scratch.forward + sized(joined, given if gathered else (0,)),
            backward,
            dx,
        )

    def _input_shapes(self, S, H):
        """Of the inputs that units get, and of those beside each unit's parameters at every step."""
        M = len(self.cell.masks)
        return ((S, M, H), (S, len(self.cell.parameters) + M, H)) if M else ((0,), (0,))

    def _inputs(self, inputs, x, batched, H, layout) -> np.ndarray | None:
        """`inputs` in packed order, (S, M, H)."""
        M = len(self.cell.masks)
        if not M:
            if inputs is not None:
                raise ValueError(f"{self.name} has no inputs besides x, got inputs")
            return None
        if inputs is None:
            raise ValueError(f"{self.name} needs inputs: {', '.join(self.cell.masks)}")
        inputs = checks.array(inputs, "inputs")
        words = "(T, N, M, H)" if batched else "(T, M, H)"
        checks.shape(inputs, "inputs", (*x.shape[:-1], M, H), words)
        return layout.pack(inputs.reshape(layout.T, layout.N, M, H))

    def _summed(self, da, found, places):
        """Rows of da that belong to the same id, summed in their order."""
        sums, width = np.zeros((len(found), *da.shape[1:]), da.dtype), da.shape[1] * da.shape[2]
        self.kernels.scatter_add(sums.reshape(-1, width), places, da.reshape(-1, width))
        return sums

    def _gradient_of_input(self, da, params):
        dx = np.empty((len(da), params.W_ih.shape[1]), da.dtype)
        self.kernels.gradient_of_input(self.cell, da, params, dx)
        return dx

    def pack(self, params: Any) -> PackedParams:
        """Weights of this moment for many calls of `forward`, checked and laid out once. Raises as `forward` does."""
        return PackedParams(self, self.check_params(params))

    def stepper(self, params: Any, initial: Any = None) -> Stepper:
        """The cell step by step with the weights of this moment, packed once: `y_t = stepper(x_t)`.

        `initial`: the state (H,) that every sequence starts from; zeros if None.
        """
        return Stepper(self, params, initial)

    def step(self, x_t: np.ndarray, state: Any, params: Any) -> Any:
        """One time step: the state after x_t (N, D) or (D,). `state=None` starts from zeros. Bitwise equal to `forward`."""
        x_t = np.asarray(x_t)
        if x_t.ndim not in (1, 2):
            raise ValueError(f"x_t must be (N, D) or (D,), got {x_t.shape}")
        return self.forward(x_t[None], params, state)[1]
