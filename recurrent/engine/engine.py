"""The functions of one cell: init, forward, backward, step. `recurrent.lstm` is an Engine."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from .. import checks, kernels
from ..equations.cell import Cell, find
from ..kernels import memory
from . import allocation, ragged
from .episodes import Episodes
from .footprint import Footprint
from .lookup import Lookup, RowGradients, distinct, rows_of
from .params import (
    Sizes,
    cell_params_type,
    check_input,
    check_input_size,
    check_params,
    check_proj_size,
    check_state,
    kernel_gradients,
    kernel_params,
    param_shapes,
    quantized_params,
    sizes_of,
    state_sizes,
    state_type,
    take_gradients,
    trim_states,
)
from .stepping import PackedParams, Stepper
from .sums import Sums
from .tape import Tape


def _engine(cell: Cell, reference: bool) -> Engine:
    return Engine(cell).reference if reference else Engine(cell)


class Engine:
    """The functions of one cell: `init`, `forward`, `backward`, `step`.

    Arrays are time-major: x (T, N, D), y (T, N, H) and each state (N, H), with T time steps, N
    sequences, input size D and hidden size H. A single sequence has no N axis. All arrays of a
    call have the same dtype, float32 or float64. Params have PyTorch's names, shapes, gate order
    and initialisation. If the cell has a projection, y and h have size P instead of H. If it has
    inputs of its own, they are the last of the D columns of x, and W_ih has no columns for them.

    Parameters
    ----------
    cell : Cell or str
        The cell, or its name, such as "lstm".
    backend : module, optional
        The kernels to run; by default the compiled ones, or NumPy if Numba's JIT is disabled.

    Attributes
    ----------
    cell : Cell
        The equations.
    Params : type
        NamedTuple of the parameters: W_ih (G*H, D), W_hh (G*H, H), b_ih (G*H,), b_hh (G*H,) for a
        cell with G gates, then W_hr (P, H) if it has a projection and its per-unit parameters (H,).
    State : type
        NamedTuple of the states, such as (h,) or (h, c).

    Raises
    ------
    ValueError
        If no cell has this name.
    TypeError
        If `cell` is neither a Cell nor a name.

    Examples
    --------
    >>> engine = Engine("lstm")
    >>> params = engine.init(input_size=3, hidden_size=4)
    >>> x, dy = np.ones((5, 2, 3), np.float32), np.ones((5, 2, 4), np.float32)
    >>> y, state, tape = engine.forward(x, params, record=True)
    >>> y.shape, state.c.shape, tape.gates["i"].shape
    ((5, 2, 4), (2, 4), (5, 2, 4))
    >>> dx, dparams, dstate = engine.backward(dy, tape)
    >>> dx.shape, dparams.W_ih.shape, dstate.h.shape
    ((5, 2, 3), (16, 3), (2, 4))
    """

    def __init__(self, cell: Cell | str, backend: ModuleType | None = None):
        self.cell = cell = find(cell)
        if backend is not None:
            checks.instance(backend, ModuleType, "backend", "a module of kernels")
        self.name = cell.name
        self.Params = cell_params_type(cell)
        self.State = state_type(cell.states)
        self.kernels = backend or kernels.backend
        # complex128 is accepted only if the caller passes the reference as backend: without the JIT
        # the default backend must reject what the compiled kernels reject.
        dtypes = ("float32", "float64") if backend is None else backend.DTYPES
        self.dtypes: tuple[str, ...] = dtypes

    def __reduce__(self):
        return _engine, (self.cell, self.dtypes is kernels.reference.DTYPES)

    def __repr__(self):
        gates, states = " ".join(self.cell.gates), " ".join(self.cell.states)
        return f"<recurrent engine: {self.name}, gates {gates}, states {states}>"

    @property
    def reference(self) -> Engine:
        """The same functions interpreted by NumPy from the same equations; accepts complex128."""
        return Engine(self.cell, kernels.reference)

    def shapes(self, D: int, H: int, P: int | None = None) -> Any:
        """Return the shapes of the parameters.

        Parameters
        ----------
        D : int
            Input size.
        H : int
            Hidden size.
        P : int, optional
            Size of h if the cell has a projection.

        Returns
        -------
        Params
            A shape, a tuple of int, in place of each array.

        Examples
        --------
        >>> Engine("gru").shapes(2, 5)
        Params(W_ih=(15, 2), W_hh=(15, 5), b_ih=(15,), b_hh=(15,))
        """
        D, H = check_input_size(self.cell, D, "D"), checks.size(H, "H")
        return param_shapes(self.cell, D, H, None if P is None else checks.size(P, "P"))

    def state_sizes(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the size of each state, H or P, for one sequence.

        Parameters
        ----------
        sizes : Sizes
            D, H and P.

        Returns
        -------
        tuple of int
            A size for each state, in the order of `State`.
        """
        return state_sizes(self.cell, _checked_sizes(sizes))

    def init(
        self,
        input_size: int,
        hidden_size: int,
        dtype: Any = np.float32,
        rng: Any = 0,
        proj_size: int = 0,
    ) -> Any:
        """Return new parameters, drawn uniformly from +-1/sqrt(H) as in PyTorch.

        Parameters, and biases of gates, for which the cell declares an initial value get that.

        Parameters
        ----------
        input_size : int
            D, the number of features per time step.
        hidden_size : int
            H, the number of units.
        dtype : dtype, default float32
            float32 or float64.
        rng : int or numpy.random.Generator, default 0
            The seed or the generator.
        proj_size : int, default 0
            P, the size of h, at least 1 and at most H, if the cell has a projection; else 0.

        Returns
        -------
        Params
            W_ih (G*H, D), W_hh (G*H, H), b_ih (G*H,), b_hh (G*H,) for a cell with G gates. With a
            projection W_hh is (G*H, P) and W_hr (P, H) follows the biases. Per-unit parameters,
            (H,) each, come last.

        Raises
        ------
        ValueError
            If a size is below 1, or if `proj_size` does not fit the cell.
        TypeError
            If a size is not an int or the dtype is neither float32 nor float64.
        """
        D = check_input_size(self.cell, input_size)
        H = checks.size(hidden_size, "hidden_size")
        dtype, rng = checks.dtype(dtype), checks.generator(rng)
        P = check_proj_size(self.cell, proj_size, H)
        bound, initial = 1 / np.sqrt(H), self.cell.initial

        def drawn(value, shape):
            if isinstance(value, tuple):
                return rng.uniform(*value, shape).astype(dtype)
            return np.full(shape, value, dtype)

        shapes = self.shapes(D, H, P)._asdict()
        new = {n: drawn(initial.get(n, (-bound, bound)), shape) for n, shape in shapes.items()}
        for k, gate in enumerate(self.cell.x_gates if self.cell.biases else ()):
            if gate in initial and gate not in self.cell.parameters:
                new["b_ih"][k * H : (k + 1) * H] = drawn(initial[gate], H)
                if "b_hh" in new and gate in self.cell.h_gates:
                    j = self.cell.h_gates.index(gate)
                    new["b_hh"][j * H : (j + 1) * H] = 0
        return self.Params(**new)

    def forward(
        self,
        x: np.ndarray,
        params: Any,
        state: Any = None,
        lengths: Any = None,
        reverse: bool = False,
        record: bool = False,
        masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Any, Any]:
        """Run the cell over a batch of sequences.

        Parameters
        ----------
        x : ndarray or Lookup, shape (T, N, D) or (T, D), float32 or float64
            The input; (T, D) is a single sequence. A Lookup multiplies each row of its table that
            occurs by W_ih once, with the same bits. The tape refers to x: do not change it
            before `backward`.
        params : Params or PackedParams
            The parameters, or what `pack` returned for them, which saves packing the weights in
            each of many short calls. A recorded pass needs Params.
        state : State, optional
            The initial state, arrays of shape (N, H) or (H,); zeros by default.
        lengths : ndarray, shape (N,), int, or shape (T, N), bool, optional
            The number of valid steps of each sequence, 0 to T, or a mask of the valid steps. At a
            padded step y is zero and the state stays as it is. A mask whose valid steps all come
            first gives the same bits as their number.
        reverse : bool, default False
            Run each sequence from its last valid step to its first; y stays aligned with x.
        record : bool, default False
            Return a tape for `backward`.
        masks : ndarray, shape (T, N, M, H) or (T, M, H), optional
            Values that the M mask inputs of the cell take at each step; they get no gradient.
            Required if the cell has mask inputs, which only cells made for dropout have.

        Returns
        -------
        y : ndarray, shape (T, N, H) or (T, H)
            The outputs. If recorded, they are part of the tape and read-only.
        state : State
            The state after the last valid step of each sequence, arrays of shape (N, H) or (H,).
        tape : Tape or None
            The input of `backward`, with the values of gates and states; None unless `record`.

        Raises
        ------
        ValueError
            If shapes or lengths do not fit.
        TypeError
            If dtypes do not fit.
        """
        if type(record) is not bool or type(reverse) is not bool:
            record, reverse = checks.flag(record, "record"), checks.flag(reverse, "reverse")
        packed, params = self._packed(params, record)
        x = check_input(x, packed.sizes.D, packed.dtype, lengths, self.dtypes)
        batched = x.ndim == 3
        T, N = x.shape[0], x.shape[1] if batched else 1
        dense = lengths is None and masks is None and not isinstance(x, Lookup)
        if T == 1 and dense and not record and not self.cell.output:
            return self._one_step(x, packed, state)
        if isinstance(lengths, Episodes):
            layout = lengths.layout(reverse)
        else:
            order = lengths.order if isinstance(lengths, ragged.SegmentLengths) else None
            layout = ragged.layout(T, N, checks.valid_steps(lengths, T, N), reverse, order)
        h, states, saved = self._initialised(state, layout, batched, packed, record)
        rows, places, ids = _input_rows(x, layout)
        unit_masks = self._packed_masks(masks, x, packed.sizes.H, layout)
        self.kernels.forward(
            self.cell, rows, places, layout.offsets, packed.weights, h, states, saved, unit_masks
        )
        y = layout.unpack((h, *states)[self.cell.output][layout.N :, : packed.sizes.P])
        final = self._final_state(h, states, layout, batched, packed.sizes, record)
        tape = None
        if record:
            y.flags.writeable = False
            tape = Tape(self.cell, layout, batched, params, rows, ids, h, states, saved, unit_masks)
        return y if batched else y[:, 0], final, tape

    def _packed(self, params, record) -> tuple[PackedParams, Any]:
        """Return the packed params and, unless they came packed, the checked ones."""
        if not isinstance(params, PackedParams):
            params = check_params(self.cell, params, self.dtypes)
            sizes = sizes_of(self.cell, params)
            return PackedParams(self.cell, self.kernels, sizes, params), params
        if record:
            raise ValueError("a recorded forward pass needs Params, got PackedParams")
        if params.cell is not self.cell or params.kernels is not self.kernels:
            raise ValueError(
                f"the params were packed for {params.cell.name}, "
                f"but forward was called on the engine of {self.name}"
            )
        return params, None

    def _initialised(self, state, layout, batched, packed, record):
        """Allocate h, the other states and the saved values; write the initial state."""
        N, S, sizes, dtype = layout.N, layout.S, packed.sizes, packed.dtype
        shapes = allocation.forward_shapes(self.cell, S, N, sizes, record)
        # The memory of tapes is reused.
        empty = memory.pooled if record else memory.empty
        h, states, saved = (empty(shape, dtype) for shape in shapes)
        if state is None:
            h[:N] = 0
            states[:, :N] = 0
        else:
            first, *others = self._checked_state(state, "state", N, batched, sizes, dtype)
            h[:N] = layout.to_packed_order(first.reshape(N, sizes.P))
            for k, a in enumerate(others):
                width = a.shape[-1]
                states[k, :N, :width] = layout.to_packed_order(a.reshape(N, width))
        return h, states, saved

    def _checked_state(self, state, name, N, batched, sizes, dtype) -> Any:
        rows = (N,) if batched else ()
        return check_state(self.cell, state, name, rows, sizes, dtype, self.dtypes)

    def _packed_masks(self, masks, x, H, layout) -> np.ndarray | None:
        """Return the masks in packed order, (S, M, H)."""
        M = len(self.cell.masks)
        if not M:
            if masks is not None:
                raise ValueError(f"{self.name} has no mask inputs, got masks")
            return None
        if masks is None:
            raise ValueError(f"{self.name} needs the masks {', '.join(self.cell.masks)}, got None")
        masks = checks.array(masks, "masks")
        words = "(T, N, M, H)" if x.ndim == 3 else "(T, M, H)"
        checks.shape(masks, "masks", (*x.shape[:-1], M, H), words)
        return layout.pack(masks.reshape(layout.T, layout.width, M, H))

    def _final_state(self, h, states, layout, batched, sizes, record) -> Any:
        """Return the state after each sequence's last valid step, copied from y or the tape."""
        last = [layout.final(h).copy()]
        if record:
            last += [layout.final(a).copy() for a in states]
        else:  # these buffers hold the current step alone
            last += [layout.from_packed_order(a) for a in states]
        if sizes.P < sizes.H:
            last = trim_states(self.cell, last, sizes.P)
        return self.State(*(last if batched else [a[0] for a in last]))

    def _one_step(self, x, packed, state):
        """Run a single time step without the general setup, in about half the time."""
        batched, (D, H, P) = x.ndim == 3, packed.sizes
        N = x.shape[1] if batched else 1
        h = np.zeros((2, N, P), x.dtype)
        states = np.zeros((2, len(self.cell.states) - 1, N, H), x.dtype)
        y = np.empty((1, N, P), x.dtype)
        if state is not None:
            first, *others = self._checked_state(state, "state", N, batched, packed.sizes, x.dtype)
            h[0] = first
            for k, a in enumerate(others):
                states[0, k, :, : a.shape[-1]] = a
        self.kernels.step(self.cell, packed.weights, x.reshape(N, D), h, states, 0, y[0])
        last = [h[1], *states[1]]
        if P != H:
            last = trim_states(self.cell, last, P)
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
        sums: Sums | None = None,
    ) -> tuple[Any, Any, Any]:
        """Back-propagate through time.

        The tape is not consumed: `backward` may be called again. It refers to x and the parameters:
        both must be as they were in `forward`. Parameters that have changed are an error where an
        entry in the middle of an array differs, as after any update; other changes in place are not
        seen, and give the gradient of no function.

        Each entry of dparams is one chain of additions over all steps, from the last one to the
        first.

        Parameters
        ----------
        dy : ndarray, shape (T, N, H) or (T, H), float32 or float64, or None
            Gradient of the loss with respect to y; None for zeros. Entries at padded steps are
            ignored, because y is constant there.
        tape : Tape
            The tape that `forward` returned with `record=True`.
        dstate : State, optional
            Gradient of the loss with respect to the final state, arrays of shape (N, H) or (H,).
        out : Params, optional
            Arrays that receive dparams; they must not share memory with each other, the
            parameters, x or dy.
        state_gradients : dict, optional
            Receives by name the total gradient with respect to each state after every step,
            (T, N, H) or (T, H), including its effect on the other states of its step.
        sums : Sums, optional
            Of a run in segments, the last one first: `out` holds the sums of later segments, and
            this one is added.

        Returns
        -------
        dx : ndarray, shape (T, N, D) or (T, D), or RowGradients
            Gradient with respect to x; RowGradients if x was a Lookup, or None before its final
            segment.
        dparams : Params
            Gradients with respect to the parameters; `out` if it was given.
        dstate : State
            Gradient with respect to the initial state, arrays of shape (N, H) or (H,).

        Raises
        ------
        ValueError
            If shapes do not fit, the tape is None or of another cell, the parameters have changed
            since it was recorded, or `out` shares memory with what is read.
        TypeError
            If dtypes do not fit, or `tape` is not a Tape.
        """
        self._check_tape(tape)
        if state_gradients is not None:
            checks.instance(state_gradients, dict, "state_gradients", "a dict to write to")
        cell, layout, params, dtype = self.cell, tape.layout, tape.params, tape.x.dtype
        T, N, S, sizes = layout.T, layout.N, layout.S, sizes_of(cell, params)
        dy = self._checked_dy(dy, tape, sizes)
        full = kernel_params(cell, params)
        dparams = self._gradient_arrays(out, params, tape.x, dy, sums)
        sums = Sums(final=True) if sums is None else sums
        carry_shape, da_shape, dp_shape = allocation.backward_shapes(cell, S, N, sizes.H)
        carry = self._initial_carry(carry_shape, dstate, tape, sizes)
        da = memory.empty(da_shape, dtype)
        dp = sums.per_unit(dp_shape, dtype)
        recorded = (len(cell.states), S) if state_gradients is not None else (0, 0)
        d_states = memory.empty((*recorded, sizes.H), dtype)
        dy_rows = layout.pack(dy.reshape(T, layout.width, sizes.P))
        # The weights are packed for this call alone: the next update changes them.
        self.kernels.backward(
            cell,
            dy_rows,
            layout.offsets,
            self.kernels.pack_backward(cell, full),
            tape.h_rows,
            tape.state_rows,
            tape.saved_rows,
            carry,
            da,
            dp,
            d_states,
            tape.unit_masks,
        )
        x, da_x = tape.x, da
        if tape.ids is not None:
            ids, places = tape.ids
            sums.add_by_id(self.kernels, ids, places, x, da)
            x, da_x = (sums.rows, sums.da) if sums.final else (x[:0], da[:0])
        dx = self._gradient_of_input(da_x, full)
        self._gradient_of_weights(tape, x, da_x, da, dp if sums.final else dp[:0], dparams)
        if state_gradients is not None:
            d_states = trim_states(cell, d_states, sizes.P)
            state_gradients.update(zip(cell.states, map(tape.public, d_states), strict=True))
        carry = layout.from_packed_order(carry)
        carry = trim_states(cell, carry if tape.batched else carry[:, 0], sizes.P)
        if tape.ids is None:
            return tape.public(dx), dparams, self.State(*carry)

        def each():
            return tape.public(self._gradient_of_input(da, full))

        # `each` keeps da, the largest array of all, so only a recording gets it.
        rows = RowGradients(sums.ids, dx, None if state_gradients is None else each)
        return rows if sums.final else None, dparams, self.State(*carry)

    def _check_tape(self, tape):
        if tape is None:
            raise ValueError("backward needs a tape: call forward with record=True")
        if not isinstance(tape, Tape):
            raise TypeError(
                "tape must be the Tape that forward returns with record=True, "
                f"got {type(tape).__name__}"
            )
        if tape.cell is not self.cell:
            raise ValueError(
                f"the tape was recorded by {tape.cell.name}, "
                f"but backward was called on the engine of {self.name}"
            )
        tape.check_params()

    def _checked_dy(self, dy, tape, sizes) -> np.ndarray:
        T, N, P = tape.layout.T, tape.layout.width, sizes.P
        shape = (T, N, P) if tape.batched else (T, P)
        if dy is None:
            dy = np.zeros(shape, tape.x.dtype)
        dy = checks.array(dy, "dy", self.dtypes)
        checks.same_dtype(dy, "dy", tape.x.dtype, "x")
        letter = "P" if self.cell.has_projection else "H"
        checks.shape(dy, "dy", shape, f"(T, N, {letter})" if tape.batched else f"(T, {letter})")
        return dy

    def _gradient_arrays(self, out, params, x, dy, sums) -> Any:
        """Return zeros for dparams, in `out` after checking it; with `sums` it keeps its values."""
        if out is None:
            return self.Params(*[memory.zeros(a.shape, a.dtype) for a in params])
        if not isinstance(out, (tuple, list)) or len(out) != len(params):
            fields = ", ".join(self.Params._fields)
            raise TypeError(f"out must be Params of {fields}, got {checks.shown(out)}")
        fields = self.Params._fields
        names = [f"out.{name}" for name in fields]
        for a, like, name in zip(out, params, names, strict=True):
            checks.writeable(a, name, like)
        checks.apart(out, names, (*params, x, dy), (*fields, "x", "dy"))
        for a in out if sums is None else ():
            a.fill(0)
        return out

    def _initial_carry(self, shape, dstate, tape, sizes) -> np.ndarray:
        """Return the gradient with respect to the final state, in packed order."""
        carry, N = memory.zeros(shape, tape.x.dtype), tape.layout.N
        if dstate is not None:
            arrays = self._checked_state(dstate, "dstate", N, tape.batched, sizes, carry.dtype)
            for k, a in enumerate(arrays):
                width = a.shape[-1]
                carry[k, :, :width] = tape.layout.to_packed_order(a.reshape(N, width))
        return carry

    def _gradient_of_input(self, da, params) -> np.ndarray:
        dx = memory.empty((len(da), params.W_ih.shape[1]), da.dtype)
        self.kernels.gradient_of_input(self.cell, da, params, dx)
        return dx

    def _gradient_of_weights(self, tape, x, da_x, da, dp, dparams):
        gradients = kernel_gradients(self.cell, dparams)
        vectors = [tape.saved_rows[:, k] for k in self.cell.backward.vectors]
        self.kernels.gradient_of_weights(
            self.cell, da_x, x, da, dp, tape.h_rows, tape.layout.previous, vectors, gradients
        )
        take_gradients(self.cell, gradients, dparams)

    def footprint(
        self,
        T: int,
        N: int,
        sizes: Sizes,
        dtype: np.dtype,
        ragged: bool,
        training: bool = True,
        reverse: bool = False,
        table: int | None = None,
    ) -> Footprint:
        """Estimate the memory that `forward` and `backward` take.

        Parameters
        ----------
        T : int
            Time steps.
        N : int
            Sequences in the batch.
        sizes : Sizes
            D, H and P.
        dtype : dtype
            float32 or float64.
        ragged : bool
            Whether the sequences have different lengths.
        training : bool, default True
            Whether the forward pass is recorded.
        reverse : bool, default False
            Whether the sequences run in reverse.
        table : int, optional
            Rows of the table if x is a Lookup.

        Returns
        -------
        Footprint
            Bytes by their use.
        """
        T, N = checks.integer(T, "T", 0), checks.integer(N, "N", 0)
        flags = dict(ragged=ragged, training=training, reverse=reverse)
        flags = {name: checks.flag(value, name) for name, value in flags.items()}
        table = None if table is None else checks.size(table, "table")
        sizes, dtype = _checked_sizes(sizes), checks.dtype(dtype)
        return allocation.footprint(self.cell, T, N, sizes, dtype, **flags, table=table)

    def pack(self, params: Any, weights: str | None = None) -> PackedParams:
        """Return a snapshot of the parameters, checked and packed once for many calls of `forward`.

        Parameters
        ----------
        params : Params
            The parameters.
        weights : {"int8", "bfloat16"}, optional
            Quantise the matrices, which takes a quarter or half of the memory. Arithmetic stays
            float32: results equal those of the rounded weights, `dequantized()` of the result,
            bit for bit. By default the weights stay as they are.

        Returns
        -------
        PackedParams
            Takes the place of `params` in `forward` and `step`. Later changes of `params` do not
            affect it.

        Raises
        ------
        ValueError
            If the arrays do not fit each other, or a weight to be quantised is NaN or infinite.
        TypeError
            If their dtypes do not fit, or weights to be quantised are not float32.

        Examples
        --------
        >>> engine = Engine("gru")
        >>> params, x = engine.init(3, 4), np.ones((5, 2, 3), np.float32)
        >>> small = engine.pack(params, weights="int8")
        >>> y, rounded = engine.forward(x, small)[0], small.dequantized()
        >>> bool((y == engine.forward(x, rounded)[0]).all())
        True
        """
        params = check_params(self.cell, params, self.dtypes)
        sizes = sizes_of(self.cell, params)
        if weights is not None:
            params = quantized_params(params, weights)
        return PackedParams(self.cell, self.kernels, sizes, params)

    def stepper(self, params: Any, initial: Any = None, state: Any = None) -> Stepper:
        """Return a callable that runs the cell one time step per call: `y_t = stepper(x_t)`.

        Parameters
        ----------
        params : Params
            The parameters, packed once; later changes of them do not affect the stepper.
        initial : State, optional
            The state that every sequence starts from, arrays of shape (H,); zeros by default.
        state : State, optional
            The state before the first step, arrays of shape (N, H) or (H,), as `forward` returns
            it; `initial` by default.

        Returns
        -------
        Stepper
            Holds the state between calls; `state` can be assigned too.

        Raises
        ------
        ValueError
            If the arrays do not fit each other.
        TypeError
            If their dtypes do not fit.
        """
        packed = self.pack(params)
        if initial is not None:
            initial = check_state(
                self.cell, initial, "initial", (), packed.sizes, packed.dtype, self.dtypes
            )
        stepper = Stepper(packed, self.dtypes, initial)
        if state is not None:
            stepper.state = state
        return stepper

    def step(self, x_t: np.ndarray, state: Any, params: Any) -> Any:
        """Run one time step; the result equals that of `forward`, bit for bit.

        Parameters
        ----------
        x_t : ndarray, shape (N, D) or (D,), float32 or float64
            The input.
        state : State or None
            The state before the step, arrays of shape (N, H) or (H,); None for zeros.
        params : Params or PackedParams
            The parameters.

        Returns
        -------
        State
            The state after the step, arrays of shape (N, H) or (H,).

        Raises
        ------
        ValueError
            If shapes do not fit.
        TypeError
            If dtypes do not fit.
        """
        x_t = checks.as_array(x_t, "x_t")
        if x_t.ndim not in (1, 2):
            raise ValueError(f"x_t must be (N, D) or (D,), got {x_t.shape}")
        return self.forward(x_t[None], params, state)[1]


def _checked_sizes(sizes) -> Sizes:
    if not isinstance(sizes, (tuple, list)) or len(sizes) != len(Sizes._fields):
        raise TypeError(f"sizes must be Sizes(D, H, P), got {checks.shown(sizes)}")
    return Sizes(*(checks.size(s, f"sizes.{n}") for s, n in zip(sizes, Sizes._fields, strict=True)))


def _input_rows(x, layout):
    """Return the rows that W_ih multiplies, the row of each step, and the result of `distinct`.

    The rows of a Lookup are those of its distinct ids. For an array they are its packed rows; the
    second result is then empty and the third None.
    """
    T, N = layout.T, layout.width
    if isinstance(x, Lookup):
        ids = distinct(layout.pack(x.ids.reshape(T, N)), len(x.table))
        return rows_of(x.table, ids[0]), ids[1], ids
    return layout.pack(x.reshape(T, N, x.shape[-1])), ragged.NO_ROWS, None
