"""Full back-propagation through time in segments: gradient checkpointing.

A recorded run keeps every value that `backward` needs. A run in segments keeps the state at the
beginning of each segment alone. `backward` takes the segments from the last to the first, records
each one again from its state, and adds its gradients. This costs one more forward pass and has the
bits of the recorded run: each gradient is a chain of additions from the last time step to the
first, wherever it is cut.

T. Chen, B. Xu, C. Zhang and C. Guestrin, "Training deep nets with sublinear memory cost" (2016).
A. Gruslys, R. Munos, I. Danihelka, M. Lanctot and A. Graves, "Memory-efficient backpropagation
through time" (2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import checks
from ..engine.bernoulli import Segments
from ..engine.ragged import SegmentLengths
from ..engine.sums import Sums
from ..layers.pooling import Last
from ..models.base import Model
from ..models.layered import Layered


def check_segments(model: Model) -> None:
    """Raise TypeError or ValueError, in one line, if a run of the model cannot be cut in time."""
    if not isinstance(model, Layered):
        raise TypeError(f"checkpoint_every needs a Sequential, got {type(model).__name__}")
    if not model.has_one_end_each:
        raise ValueError(
            "checkpoint_every needs a model of one input and one output; leave checkpoint_every out"
        )
    for k in _body(model):
        layer, advice = model[k], "leave checkpoint_every out"
        if layer.runs_in_segments:
            continue
        reason = "which needs the whole sequence"
        if -1 in layer.state_delays.values():
            also = "also " * layer.bidirectional
            reason = f"which {also}runs from the last step to the first"
        elif not layer.needs_sequence:
            reason = "which does not say that it runs in segments"
            advice = "set runs_in_segments = True in its class, see Layer"
        elif not layer.returns_sequence and model.is_chain:
            advice = "use Last, or leave checkpoint_every out"
        raise ValueError(
            f"checkpoint_every cuts the sequence at {model.where(k)}, {reason}; {advice}"
        )


def _body(model: Layered) -> range:
    """Return the numbers of the layers that run in segments: in a chain those before a Last."""
    if not model.is_chain:
        return range(len(model))
    stop = next((k for k, layer in enumerate(model.layers) if type(layer) is Last), len(model))
    return range(stop)


class SegmentedRun:
    """A forward pass in segments of time, and the backward pass through it.

    Parameters
    ----------
    model : Sequential or Graph
        The model; dropout acts.
    x : ndarray, shape (T, N, D), (T, D), (T, N) or (T,)
        Input as `model.forward` takes it.
    state : tuple, optional
        Initial state, one entry per layer.
    lengths : Any
        Lengths as `model.forward` takes them; a mask must not have gaps.
    every : int
        Number of time steps of a segment.

    Attributes
    ----------
    y : ndarray
        Output, like that of `model.forward`.
    state : tuple
        Final state, one entry per layer.
    """

    def __init__(self, model: Layered, x: Any, state: Any, lengths: Any, every: int):
        self.model, self.body = model, _body(model)
        self.x = checks.as_array(x, "x")
        if not self.x.ndim:
            raise ValueError("x must be (T, N, ...) or (T, ...), got a number")
        T = len(self.x)
        self.valid = self._checked_lengths(lengths)
        state = checks.per_layer(state, "state", len(model))
        self.segments = [slice(t, min(t + every, T)) for t in range(0, max(T, 1), every)]
        self.pools = len(self.body) < len(model)
        self.states, self.tape = [], None
        generators = [model[k].generator for k in self.body]
        one_each = {id(g): Segments(g, T) for g in generators}  # most often one in all
        self.masks = [one_each[id(g)] for g in generators]
        before = state[: len(self.body)]
        y: Any = None
        for segment in self.segments:
            self.states.append(before)
            # The last segment is recorded at once: backward begins with it.
            out, before, self.tape = self._run(segment, before, segment is self.segments[-1])
            if y is None:
                y = np.zeros(out.shape[1:] if self.pools else (T, *out.shape[1:]), out.dtype)
            ends = self._ends(segment)
            if not self.pools:
                y[segment] = out
            elif ends:
                y[ends[1]] = out[ends]
        self.y, self.state = y, before
        if self.pools:
            self.head = range(len(self.body) + 1, len(model))
            outputs, after, self.head_tape = model.run_range(
                self.head, y, state[self.head.start :], None, True, True
            )
            self.y, self.state = outputs[-1], (*before, None, *after)

    def _checked_lengths(self, lengths) -> Any:
        """Return the number of valid steps of each sequence, (N,), or None."""
        if lengths is None:
            return None
        ids = np.issubdtype(self.x.dtype, np.integer)
        if self.x.ndim < (2 if ids else 3):
            raise ValueError(f"lengths need a batch: x must be (T, N, ...), got {self.x.shape}")
        valid = checks.valid_steps(lengths, *self.x.shape[:2])
        if valid is not None and valid.ndim == 2:
            raise ValueError(
                "checkpoint_every needs lengths (N,), or a mask whose valid steps come first; "
                "got a mask with gaps"
            )
        return valid

    def _lengths(self, segment) -> Any:
        """Return the lengths within a segment, or None."""
        if self.valid is None:
            return None
        return SegmentLengths.within(self.valid, segment.start, segment.stop)

    def _ends(self, segment) -> Any:
        """Return which last valid steps are in a segment, and of which sequences; None if none."""
        if self.valid is not None:
            n = np.flatnonzero((self.valid > segment.start) & (self.valid <= segment.stop))
            return (self.valid[n] - 1 - segment.start, n) if n.size else None
        ends = segment is self.segments[-1] and segment.stop > segment.start
        return (-1, ...) if ends else None

    @contextmanager
    def _masks(self, segment) -> Iterator[None]:
        """Let the layers draw the masks of a segment."""
        layers: list[Any] = [self.model[k] for k in self.body]
        before = [layer.generator for layer in layers]
        try:
            for layer, masks in zip(layers, self.masks, strict=True):
                masks.go_to(segment.start)
                layer.generator = masks
            yield
        finally:
            for layer, generator in zip(layers, before, strict=True):
                layer.generator = generator

    def _run(self, segment, state, record) -> tuple[np.ndarray, tuple, tuple]:
        """Run the body over a segment; return its output, final state and tape."""
        with self._masks(segment):
            outputs, after, tape = self.model.run_range(
                self.body, self.x[segment], state, self._lengths(segment), record, True
            )
        return np.asarray(outputs[-1]), after, tape

    def backward(self, dy: Any, out: np.ndarray) -> tuple:
        """Compute the gradient of the parameters; may be called once.

        Parameters
        ----------
        dy : ndarray, shape of y
            Gradient with respect to y.
        out : ndarray, shape (size,)
            Receives the gradient; a vector like `model.flat`.

        Returns
        -------
        tuple
            Gradient with respect to the initial state, one entry per layer.
        """
        model, body = self.model, self.body
        out = model.gradient_vector(out, self, dy)
        out[:] = 0
        grads = model.gradient_arrays(out)
        d_head: tuple = ()
        if self.pools:
            none = (None,) * len(self.head)
            dy, some = model.backward_range(self.head, dy, self.head_tape, none, grads)
            d_head = (None, *some)
        sums, dstate = [Sums() for _ in body], (None,) * len(body)
        for segment, before in zip(reversed(self.segments), reversed(self.states), strict=True):
            tape, self.tape = self.tape, None
            if tape is None:
                tape = self._run(segment, before, True)[2]
            for one in sums:
                one.final = segment is self.segments[0]
            d = self._d_last(segment, dy) if self.pools else dy[segment]
            dstate = model.backward_range(body, d, tape, dstate, grads, sums=sums)[1]
            del tape, d  # free the memory before the next segment is recorded
        model.summed(grads)
        return (*dstate, *d_head)

    def _d_last(self, segment, dy) -> np.ndarray:
        """Return the gradient with respect to a segment's y, from that of the output of Last."""
        d = np.zeros((segment.stop - segment.start, *dy.shape), dy.dtype)
        ends = self._ends(segment)
        if ends:
            d[ends] = dy[ends[1]]
        return d
