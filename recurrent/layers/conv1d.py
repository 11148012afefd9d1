"""Convolution over time: each output is an affine map of a window of inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .. import checks, kernels
from ..engine.footprint import Footprint
from ..engine.stepping import StateStepper
from ..kernels import memory
from .base import Gradients, Layer
from .quantized import QuantizedParameters

PIECE = 1 << 20  # bytes of windows that are copied at a time
PADDINGS = ("same", "causal")


class ConvState(NamedTuple):
    """The inputs that the windows of later steps still read.

    Parameters
    ----------
    past : ndarray, shape (N, P * C) or (P * C,)
        The last P = (kernel_size - 1) * dilation inputs of C channels, the oldest first.
    """

    past: Any


@dataclass
class ConvTape:
    """Holds what a recorded forward pass saves for the backward pass."""

    padded: np.ndarray  # x between its padding, (left + T + right, N, C)
    valid: np.ndarray | None  # valid steps of x, (T, N)
    y_valid: np.ndarray | None  # valid steps of y, (T_out, N)
    ends: np.ndarray | None  # steps up to the last valid one, (N,)
    shape: tuple[int, ...]  # of x


class Conv1d(Layer):
    """Convolution over time, as `torch.nn.Conv1d`, for time-major x.

    x has shape (T, N, in_channels) or (T, in_channels), y (T_out, N, out_channels) or (T_out,
    out_channels). Step t of y reads `kernel_size` steps of x, the first of them t * stride minus
    the padding on the left, each `dilation` steps after the one before. Steps outside x are zeros.
    `weight` has shape (out_channels, in_channels / groups, kernel_size), `bias` (out_channels,).
    Quantised models keep `weight` in float32.

    Padded steps, those past `lengths` or not in the mask, count as zeros, and y is zero where no
    valid step is: y of a sequence has `output_lengths(lengths)` valid steps, as many as it has
    alone.

    With padding="causal" and stride=1 no step reads a later one. The layer then runs in streams,
    in chunks and in segments, and has a state: `ConvState(past)`, the last inputs.

    Parameters
    ----------
    in_channels : int
        Size of the last axis of x.
    out_channels : int
        Size of the last axis of y.
    kernel_size : int
        Number of steps of a window.
    stride : int, default 1
        Steps of x from one window to the next.
    padding : int or {"same", "causal"}, default 0
        Zeros on both sides of x. "same" adds (kernel_size - 1) * dilation of them, half on each
        side, so that y has the steps of x; it needs stride=1. "causal" adds them all on the left.
    dilation : int, default 1
        Steps of x from one entry of a window to the next.
    groups : int, default 1
        Groups of channels: each output reads the input channels of its group alone.
    bias : bool, default True
        Whether the layer has a bias.

    Raises
    ------
    TypeError
        If a size is not an int, or bias not a bool.
    ValueError
        If a size is below 1, the padding is unknown, or `groups` does not divide both channels.

    Examples
    --------
    >>> layer = Conv1d(2, 3, kernel_size=3, padding="causal")
    >>> x = np.ones((5, 4, 2), np.float32)
    >>> layer.forward(x)[0].shape, Conv1d(2, 3, 3, stride=2).forward(x)[0].shape
    ((5, 4, 3), (2, 4, 3))
    >>> stream = layer.stream()
    >>> bool((np.array([stream.step(x_t) for x_t in x]) == layer.forward(x)[0]).all())
    True
    """

    needs_sequence = True
    in_features: int
    out_features: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        sizes = dict(in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size)
        sizes = {name: checks.size(value, name) for name, value in sizes.items()}
        more = dict(stride=stride, dilation=dilation, groups=groups)
        more = {name: checks.size(value, name) for name, value in more.items()}
        C, M, k = sizes.values()
        stride, dilation, groups = more.values()
        if isinstance(padding, str):
            checks.choice(padding, "padding", PADDINGS, also=" or an int")
        else:
            padding = checks.integer(padding, "padding", 0, checks.LARGEST)
        bias = checks.flag(bias, "bias")
        if padding == "same" and stride > 1:
            raise ValueError(
                f"padding='same' needs stride=1, got {stride}: write the padding as an int"
            )
        for name in ("in_channels", "out_channels"):
            if sizes[name] % groups:
                raise ValueError(f"groups must divide {name} = {sizes[name]}, got {groups}")
        past = (k - 1) * dilation
        checks.integer(past, "(kernel_size - 1) * dilation", most=checks.LARGEST)
        plain = dict(stride=1, padding=0, dilation=1, groups=1, bias=True)
        given = {**more, "padding": padding, "bias": bias}
        super().__init__(**sizes, **{n: given[n] for n in plain if given[n] != plain[n]})
        self.in_features, self.out_features = C, M
        self.kernel_size, self.stride, self.dilation, self.groups = k, stride, dilation, groups
        self.padding: int | str = padding
        self.left = self.right = padding if isinstance(padding, int) else past // 2
        if padding == "same":
            self.right = past - self.left
        elif padding == "causal":
            self.left, self.right = past, 0
        self.past = past
        self.causal = stride == 1 and (self.left, self.right) == (past, 0)
        self.keeps_steps = stride == 1 and self.left + self.right == past
        if self.causal and past:
            self.state_delays, self.state_sizes = {"past": 1}, {"past": past * C}
        self.shapes = {"weight": (M, C // groups, k)}
        if bias:
            self.shapes["bias"] = (M,)

    @property
    def runs_in_segments(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if no step reads a later one, and there is an output at each step."""
        return self.causal

    @property
    def reads_ahead(self) -> bool:
        """True if the window of a step reads later steps."""
        return self.left < self.past

    def reset_parameters(self, rng):
        bound = 1 / np.sqrt(self.in_features // self.groups * self.kernel_size)
        for a in self.parameters.values():
            a[:] = rng.uniform(-bound, bound, a.shape)

    def output_lengths(self, lengths):
        if self.keeps_steps or lengths is None:
            return lengths
        lengths = checks.as_array(lengths, "lengths")
        if lengths.ndim == 2:
            lengths = checks.valid_steps(lengths, *lengths.shape)
            if lengths.ndim == 2:
                raise ValueError(
                    "lengths as a mask must have its valid steps first where y has another number "
                    f"of steps than x, as that of {self!r} has; got a mask with gaps"
                )
        return np.where(lengths > 0, self._count(lengths), 0)

    def _count(self, T):
        """Return the number of windows of T steps, an int or an array of them."""
        return np.maximum((T + self.left + self.right - self.past - 1) // self.stride + 1, 0)

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        checks.modes(record, training)
        return self._run(x, state, lengths, record, self._filters())

    def packed(self):
        filters = self._filters()
        return lambda x, state: self._run(x, state, None, False, filters)[:2]

    def _run(self, x, state, lengths, record, filters) -> tuple[np.ndarray, Any, Any]:
        """Return y, the final state and the tape."""
        x, C = checks.array(x, "x"), self.in_features
        checks.same_dtype(x, "x", filters.dtype, "weight")
        if x.ndim not in (2, 3) or x.shape[-1] != C:
            raise ValueError(f"x must be (T, N, {C}) or (T, {C}), got {x.shape}")
        if x.ndim == 2 and lengths is not None:
            raise ValueError(f"lengths need a batch: x must be (T, N, {C}), got {x.shape}")
        batch = x if x.ndim == 3 else x[:, None]
        T, N = batch.shape[:2]
        valid, y_valid, ends = self._valid(lengths, T, N)
        past = self._checked_state(state, "state", x.shape[1:-1], x.dtype)
        padded = memory.zeros((self.left + T + self.right, N, C), x.dtype)
        inside = padded[self.left : self.left + T]
        if valid is None:
            inside[...] = batch
        else:
            inside[valid] = batch[valid]
        if past is not None:
            padded[: self.past] = _by_time(past, N, C)
        y = memory.empty((int(self._count(T)), N, self.out_features), x.dtype)
        for steps in self._pieces(len(y), N, x.itemsize):
            y[steps] = filters(self._windows(padded, steps))
        if y_valid is not None:
            y[~y_valid] = 0
        final = None
        if self.state_delays:
            some = padded[T:] if ends is None else padded[self._last(ends)]
            final = ConvState(_flat(some, x.shape[1:-1]))
        y = y if x.ndim == 3 else y[:, 0]
        if not record:
            return y, final, None
        return y, final, ConvTape(padded, valid, y_valid, ends, x.shape)

    def _valid(self, lengths, T, N) -> tuple[Any, Any, Any]:
        """Return the valid steps of x and of y, and how many there are up to the last of each."""
        if lengths is None:
            return None, None, None
        lengths = checks.valid_steps(lengths, T, N)
        if lengths is None:
            return None, None, None
        counts: Any = self.output_lengths(lengths)
        valid, y_valid = checks.inside(lengths, T), checks.inside(counts, int(self._count(T)))
        if lengths.ndim == 1:
            return valid, y_valid, np.asarray(lengths)
        return valid, y_valid, np.where(valid.any(axis=0), T - valid[::-1].argmax(axis=0), 0)

    def _last(self, ends) -> tuple[np.ndarray, np.ndarray]:
        """Return the index, in x with its padding, of the last inputs of each sequence."""
        return np.arange(self.past)[:, None] + ends, np.arange(len(ends))

    def _checked_state(self, state, name, rows, dtype) -> np.ndarray | None:
        """Return the past of a state; raise an error unless it fits a batch of shape `rows`."""
        if state is None:
            return None
        if not self.state_delays:
            write = "padding='causal' and stride=1" if self.past else "kernel_size above 1"
            raise ValueError(f"{name} must be None: {self!r} has no state, it needs {write}")
        if not isinstance(state, (tuple, list)) or len(state) != 1:
            raise TypeError(f"{name} must be ConvState(past), got {checks.shown(state)}")
        past = checks.array(state[0], f"{name}.past")
        checks.same_dtype(past, f"{name}.past", dtype, "x")
        words = "(N, P * C)" if rows else "(P * C,)"
        checks.shape(past, f"{name}.past", (*rows, self.state_sizes["past"]), words)
        return past

    def _pieces(self, steps: int, N: int, itemsize: int) -> Iterator[slice]:
        """Yield slices of the steps of y whose windows together have at most PIECE bytes."""
        size = self._piece(N, itemsize)
        return (slice(k, min(k + size, steps)) for k in range(0, steps, size))

    def _piece(self, N: int, itemsize: int) -> int:
        """Return the number of steps of a piece."""
        window = self.kernel_size * self.in_features // self.groups * itemsize
        return max(1, PIECE // max(1, N * window))

    def _windows(self, padded: np.ndarray, steps: slice) -> np.ndarray:
        """Return the windows of some steps of y, (steps, N, kernel_size, C); not a copy."""
        time, row, channel = padded.strides
        return as_strided(
            padded[steps.start * self.stride :],
            (steps.stop - steps.start, padded.shape[1], self.kernel_size, self.in_features),
            (time * self.stride, row, time * self.dilation, channel),
        )

    def _filters(self) -> Filters:
        parameters = self.parameters
        if type(parameters) is QuantizedParameters:
            return parameters.packed(self._pack)
        return self._pack(parameters)

    def _pack(self, parameters) -> Filters:
        return Filters(parameters["weight"], parameters.get("bias"), self.groups)

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None, sums=None):
        checks.tape(tape, ConvTape)
        padded, rows = tape.padded, tape.shape[1:-1]
        (T, *_), N, M = tape.shape, padded.shape[1], self.out_features
        steps = int(self._count(T))
        if dy is None:
            dy = np.zeros((steps, *rows, M), padded.dtype)
        dy = checks.array(dy, "dy")
        checks.same_dtype(dy, "dy", padded.dtype, "x")
        checks.shape(dy, "dy", (steps, *rows, M), "the shape of y")
        after = self._checked_state(dstate, "dstate", rows, padded.dtype)
        grads = self._sums(out, sums, dy=dy, x=padded)
        d = dy.reshape(steps, N, M)
        if tape.y_valid is not None:
            d = np.where(tape.y_valid[:, :, None], d, d.dtype.type(0))
        dpadded = memory.zeros(padded.shape, padded.dtype)
        if after is not None:
            last = slice(T, None) if tape.ends is None else self._last(tape.ends)
            dpadded[last] = _by_time(after, N, self.in_features)
        W, dW = (_matrices(a, self.groups) for a in (self.parameters["weight"], grads["weight"]))
        db = grads["bias"] if "bias" in grads else np.zeros(M, padded.dtype)
        # Sums over rows run from the last to the first, so pieces add up to the bits of one call.
        for some in reversed(list(self._pieces(steps, N, padded.itemsize))):
            self._add_gradients(some, d, padded, W, dpadded, dW, db)
        shape = (self.groups, M // self.groups, self.kernel_size, -1)
        grads["weight"][...] = dW.reshape(shape).swapaxes(2, 3).reshape(grads["weight"].shape)
        dx = dpadded[self.left : self.left + T]
        if tape.valid is not None:
            dx[~tape.valid] = 0
        initial = None
        if self.state_delays:
            initial = ConvState(_flat(dpadded[: self.past], rows))
        return Gradients(dx.reshape(tape.shape), grads, initial)

    def _add_gradients(self, steps, dy, padded, W, dpadded, dW, db) -> None:
        """Add the gradients of some steps of y to those of x and of the parameters."""
        windows, count = self._windows(padded, steps), steps.stop - steps.start
        N, k, (M, width) = padded.shape[1], self.kernel_size, W.shape[1:]
        channels = width // k
        for g in range(self.groups):
            inputs, outputs = _part(g, channels), _part(g, M)
            rows = windows[..., inputs].reshape(count * N, width)
            d_rows = np.ascontiguousarray(dy[steps, :, outputs]).reshape(count * N, M)
            d_windows = memory.empty(rows.shape, rows.dtype)
            kernels.backend.linear_backward(d_rows, rows, W[g], d_windows, dW[g], db[outputs])
            d = d_windows.reshape(count, N, k, channels)
            # Later steps of y first, in one call and in segments.
            for j in range(k):
                first = steps.start * self.stride + j * self.dilation
                reads = slice(first, first + (count - 1) * self.stride + 1, self.stride)
                dpadded[reads, :, inputs] += d[:, :, j]

    def state_arrays(self, state: Any) -> dict[str, np.ndarray]:
        """Return the arrays of a state by name."""
        return {"past": state[0]}

    def state_from(self, arrays: dict[str, np.ndarray]) -> ConvState:
        """Return the state of these arrays by name: the inverse of `state_arrays`."""
        return ConvState(arrays["past"])

    def stepper(self):
        if not self.causal:
            why = "its windows read later steps"
            if self.stride > 1:
                why = f"with stride={self.stride} it has no output at most steps"
            raise ValueError(
                f"{self!r} cannot run step by step: {why}; a Conv1d with padding='causal' and "
                "stride=1 can"
            )
        filters = self._filters()
        if not self.past:
            return partial(_pointwise, filters)
        return ConvStepper(filters, self.past, self.dilation)

    def footprint(self, T, N, width, dtype, ragged, training, table=None):
        b, C, M, k = dtype.itemsize, self.in_features, self.out_features, self.kernel_size
        steps, groups = int(self._count(T)), self.groups
        piece = min(steps, self._piece(N, b)) * N
        padded = (self.left + T + self.right) * N * C * b
        y, x = steps * N * M * b, T * N * C * b
        masks = (T + steps) * N if ragged else 0
        width = k * C // groups
        rows, part = piece * width * b, piece * (M // groups) * b
        weights, scratch = kernels.backend.linear_scratch(M // groups, width, piece, dtype)
        forward = groups * weights + rows + piece * M * b + part * (groups > 1)
        forward += 2 * x if ragged else 0
        backward = 2 * M * width * b + scratch + 2 * rows + part + (y if ragged else 0)
        if training:
            return Footprint(padded + masks, y, forward, backward, padded)
        return Footprint(0, y, padded + masks + forward, 0, 0)


class Filters:
    """A snapshot of the weights; calling it with windows (..., k, C) returns y (..., M).

    Parameters
    ----------
    weight : ndarray, shape (M, C / groups, k)
        The weights.
    bias : ndarray, shape (M,), or None
        The bias; zeros for None.
    groups : int
        Number of groups of channels.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, groups: int):
        M, channels, k = weight.shape
        self.dtype, self.in_channels, self.out_channels = weight.dtype, groups * channels, M
        self._channels, self._width, self._linear = channels, k * channels, kernels.backend.linear
        b = np.zeros(M, weight.dtype) if bias is None else np.array(bias)
        self._groups = [
            kernels.backend.pack_linear(W, b[_part(g, M // groups)])
            for g, W in enumerate(_matrices(weight, groups))
        ]

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        rows, M = windows.shape[:-2], self.out_channels // len(self._groups)
        y = memory.empty((int(np.prod(rows)), self.out_channels), self.dtype)
        for g, weights in enumerate(self._groups):
            x = windows[..., _part(g, self._channels)].reshape(len(y), self._width)
            own = y if len(self._groups) == 1 else memory.empty((len(y), M), self.dtype)
            self._linear(np.ascontiguousarray(x), weights, own)
            if own is not y:
                y[:, _part(g, M)] = own
        return y.reshape(*rows, self.out_channels)


class ConvStepper(StateStepper):
    """A causal convolution that runs one time step per call and keeps the last inputs.

    Parameters
    ----------
    filters : Filters
        The weights.
    past : int
        Number of inputs that it keeps.
    dilation : int
        Steps from one entry of a window to the next.
    """

    _first, _buffers = (0,), ("_halves",)

    def __init__(self, filters: Filters, past: int, dilation: int):
        self.filters, self.past, self.dilation = filters, past, dilation
        self.reset()

    def __call__(self, x_t: Any) -> np.ndarray:
        x_t = checks.array(x_t, "x_t")
        if x_t.shape != self.shape or x_t.dtype != self.filters.dtype:
            self._begin(x_t)
        C = self.filters.in_channels
        seen = np.concatenate([*self._arrays(), x_t.reshape(-1, C)], axis=1)
        y = self.filters(seen.reshape(len(seen), self.past + 1, C)[:, :: self.dilation])
        self._halves[1 - (self.steps & 1)] = (seen[:, C:],)
        self.steps += 1
        return y.reshape(*x_t.shape[:-1], self.filters.out_channels)

    def _begin(self, x_t):
        _check_step(x_t, self.filters)
        self._check_batch(x_t)
        C = self.filters.in_channels
        batch = len(x_t.reshape(-1, C))
        self._halves: list[Any] = [(np.zeros((batch, self.past * C), x_t.dtype),), None]
        self._load(x_t)

    def _arrays(self):
        return self._halves[self.steps & 1]

    def _checked(self, value):
        if not isinstance(value, (tuple, list)) or len(value) != 1:
            raise TypeError(f"state must be ConvState(past), got {checks.shown(value)}")
        past, width = checks.array(value[0], "state.past"), self.past * self.filters.in_channels
        checks.same_dtype(past, "state.past", self.filters.dtype, "weight")
        if past.ndim not in (1, 2) or past.shape[-1] != width:
            raise ValueError(f"state.past must be (N, {width}) or ({width},), got {past.shape}")
        return (past,)

    def _read_only(self, state):
        past = np.array(state[0])
        past.flags.writeable = False
        return ConvState(past)


def _pointwise(filters: Filters, x_t: Any) -> np.ndarray:
    """Return y_t of a convolution whose windows are single steps."""
    x_t = checks.array(x_t, "x_t")
    _check_step(x_t, filters)
    return filters(x_t[..., None, :])


def _check_step(x_t, filters: Filters) -> None:
    C = filters.in_channels
    checks.same_dtype(x_t, "x_t", filters.dtype, "weight")
    if x_t.ndim not in (1, 2) or x_t.shape[-1] != C:
        raise ValueError(f"x_t must be (N, {C}) or ({C},), got {x_t.shape}")


def _part(g: int, size: int) -> slice:
    """Return the channels of a group."""
    return slice(g * size, (g + 1) * size)


def _matrices(weight: np.ndarray, groups: int) -> np.ndarray:
    """Return a copy of the weights as (groups, M / groups, k * C / groups): windows are rows."""
    M, channels, k = weight.shape
    by_step = weight.reshape(groups, M // groups, channels, k).swapaxes(2, 3)
    return by_step.reshape(groups, M // groups, k * channels).copy()


def _by_time(past: np.ndarray, N: int, C: int) -> np.ndarray:
    """Return the past (N, P * C) of a state as (P, N, C)."""
    return past.reshape(N, past.shape[-1] // C, C).swapaxes(0, 1)


def _flat(past: np.ndarray, rows: tuple[int, ...]) -> np.ndarray:
    """Return (P, N, C) as the past of a state, (N, P * C), or (P * C,) for rows = (); a copy."""
    P, _, C = past.shape
    return past.swapaxes(0, 1).copy().reshape(*rows, P * C)
