"""Back-propagation through time, truncated or in segments.

BPTT(h; h') of Williams and Peng (1990): after every h' = k1 new time steps, the loss of these steps
is propagated back through the last h = k2 steps.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from .. import checks
from ..data import as_arrays
from ..layers.quantized import refuse_quantized
from ..losses import Loss
from ..models.base import Model
from ..models.layered import Layered
from .segments import SegmentedRun, check_segments


class TruncatedBPTT:
    """Runs a model over a long sequence, piece by piece, and carries the state between pieces.

    The steps before a piece are computed again with the current weights and new dropout masks,
    starting from the carried state. This costs k2 / k1 times the work.

    Parameters
    ----------
    model : Model
        The model to run.
    look_back : int, optional
        k2: how many steps a gradient goes back, including those of the piece. By default it goes
        back no further than the beginning of the piece.
    state : tuple, optional
        Model state to start from, one entry per layer, arrays of shape (N, H); zero by default.
    past : ndarray, shape (P, N) or (P, N, D), optional
        Inputs that follow `state` and through which the next gradient goes back.
    checkpoint_every : int, optional
        Gradient checkpointing: the forward pass keeps the state of every that many steps, y and
        nothing else, and the backward pass computes the segments between them again, the last one
        first. The gradient is the same, bit for bit. The memory is that of one segment, of the
        states and of y; the time is 0.4 to 1.3 times as long, least for large batches. The
        square root of the number of steps needs least memory, a thousand steps least time. Layers
        that need the whole sequence are refused, but for `Last`. By default the forward pass
        records all steps.

    Attributes
    ----------
    state : tuple or None
        Model state after the last step.
    carried, past : tuple or None, ndarray or None
        `state` and `past` for a run that continues from here with the same bits.
    steps : int
        Number of steps read since the state was zero, or since `carried`.
    cuts : list of int
        For each call, the step before which its gradient was cut, unless that is the beginning.

    References
    ----------
    R. J. Williams and J. Peng, "An efficient gradient-based algorithm for on-line training of
    recurrent network trajectories", Neural Computation 2 (1990).

    Raises
    ------
    TypeError, ValueError
        If look_back or checkpoint_every is not an int of at least 1, or the model has a layer that
        cannot run in segments.

    Examples
    --------
    >>> from recurrent import RNN, Sequential
    >>> from recurrent.losses import mean_squared_error
    >>> model, x = Sequential(RNN(1, 1)), np.ones((2, 1, 1), np.float32)
    >>> run = TruncatedBPTT(model, look_back=5)
    >>> for _ in range(4):
    ...     value, gradient, y = run.gradient(x, x, mean_squared_error)
    >>> run.steps, run.cuts
    (8, [1, 3])

    The full gradient over 100,000 steps, without a tape of 100,000 steps:

    >>> x = np.ones((100_000, 1, 1), np.float32)
    >>> run = TruncatedBPTT(model, checkpoint_every=1000)
    >>> value, gradient, y = run.gradient(x, x, mean_squared_error)
    """

    def __init__(
        self,
        model: Model,
        look_back: int | None = None,
        state: Any = None,
        past: np.ndarray | None = None,
        checkpoint_every: int | None = None,
    ):
        checks.instance(model, Model, "model", "a model")
        refuse_quantized(model.parameters, "TruncatedBPTT trains")
        self.model = model
        self.look_back = None if look_back is None else checks.size(look_back, "look_back")
        self.state = self.carried = (
            None if state is None else checks.per_layer(state, "state", len(model))
        )
        self.past = past = None if past is None else checks.as_array(past, "past")
        if past is not None and past.ndim == 0:
            raise ValueError(f"past must have time steps, (P, N) or (P, N, D), got {past.shape}")
        self.checkpoint_every = None
        if checkpoint_every is not None:
            self.checkpoint_every = checks.size(checkpoint_every, "checkpoint_every")
            check_segments(model)
        self.steps = 0 if past is None else len(past)
        self.cuts: list[int] = []

    def reset(self) -> None:
        """Start the next piece from a zero state."""
        self.state = self.carried = self.past = None
        self.steps, self.cuts = 0, []

    def gradient(
        self,
        x: Any,
        targets: Any,
        loss: Loss,
        lengths: Any = None,
        out: np.ndarray | None = None,
        resets: Any = None,
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Read one piece and compute the gradient of its loss.

        Parameters
        ----------
        x : ndarray, shape (k1, N) or (k1, N, D), or list of arrays (T_i, ...)
            Inputs of the piece, as the model takes them: (N, k1, ...) if it is batch-first, like
            targets, masks and y. A list is padded.
        targets : ndarray, shape (k1, N) or (k1, N, M)
            Targets of the piece, as the loss takes them; a list if x is one.
        loss : callable
            `loss(y, targets, lengths=...)` returns the value and the gradient with respect to y.
        lengths : ndarray, shape (N,), int, optional
            Lengths of the sequences; only without a look-back.
        out : ndarray, shape (size,), optional
            Receives the gradient; a vector like `model.flat`.
        resets : mask, shape (k1, N), bool, optional
            Where episodes begin, see `Model.forward`; only without a look-back and
            `checkpoint_every`.

        Returns
        -------
        value : float
            Loss of the piece.
        gradient : ndarray, shape (size,)
            Gradient with respect to `model.flat`; NaN if the loss is not finite.
        y : ndarray, shape (k1, N, M)
            Outputs of the piece.

        Raises
        ------
        ValueError
            If the look-back is shorter than the piece, or combined with lengths or resets; or if
            `checkpoint_every` is combined with resets or a mask whose valid steps have gaps.
        """
        checks.function(loss, "loss", "losses.softmax_cross_entropy")
        piece = as_arrays((x, targets, lengths, False, None, resets), self.model)
        x, targets, lengths, resets = piece.x, piece.targets, piece.lengths, piece.resets
        model = self.model.time_major
        if resets is not None:
            for name in ("look_back", "checkpoint_every"):
                if getattr(self, name) is not None:
                    raise ValueError(f"resets must be None with {name}: leave one of them out")
        if self.look_back is not None:
            if isinstance(x, dict):
                raise ValueError("look_back needs a model of one input: leave it out")
            x = checks.as_array(x, "x")
            if x.ndim == 0:
                raise ValueError(f"x must have time steps, (T, N) or (T, N, D), got {x.shape}")
            if lengths is not None:
                raise ValueError(
                    "look_back needs sequences without lengths: each piece continues the one before"
                )
            if len(x) > self.look_back:
                raise ValueError(
                    f"look_back must be at least the {len(x)} steps of a piece,"
                    f" got {self.look_back}"
                )
        if self.carried is not None and self.steps:
            check_continues(self.model)
        out = self.model.gradient_vector(out)
        window = x if self.past is None else np.concatenate([self.past, x])
        before = 0 if self.past is None else len(self.past)
        if self.checkpoint_every is None:
            y, after, tape = model.forward(
                window, self.carried, lengths, record=True, resets=resets
            )
        else:
            whole = cast(Layered, model)  # see check_segments
            tape = SegmentedRun(whole, window, self.carried, lengths, self.checkpoint_every)
            y, after = tape.y, tape.state
        y_new = y[before:] if before else y
        value, dy = value_and_gradient(loss, y_new, targets, self.model.output_lengths(lengths))
        if before:
            dy = np.concatenate([np.zeros_like(y[:before]), dy])
        if not math.isfinite(value):
            out[:] = np.nan
        elif isinstance(tape, SegmentedRun):
            tape.backward(dy, out)
        else:
            model.backward(dy, tape, out=out)
        del tape, dy  # free the memory before the next forward pass
        self._advance(window, before, after)
        return value, out, self.model.swapped(y_new)

    def _advance(self, window, before, after):
        """Drop the past steps that are beyond the look-back of the next piece."""
        first = next(iter(window.values())) if isinstance(window, dict) else window
        new = len(first) - before
        if self.steps > before:
            self.cuts.append(self.steps - before)
        self.steps += new
        kept = 0 if self.look_back is None else min(self.look_back - new, len(first))
        dropped = len(first) - kept
        if kept == 0:
            self.carried, self.past = after, None
        else:
            if dropped:
                self.carried = self.model.time_major.forward(window[:dropped], self.carried)[1]
            self.past = window[dropped:]
        self.state = after


def value_and_gradient(loss: Loss, y: Any, targets: Any, lengths: Any) -> tuple[float, np.ndarray]:
    """Call a loss.

    Parameters
    ----------
    loss : callable
        `loss(y, targets, lengths=...)` returns the value and the gradient with respect to y.
    y : ndarray, shape (T, N, M)
        Outputs.
    targets : ndarray, shape (T, N) or (T, N, M)
        Targets, as the loss takes them.
    lengths : ndarray, shape (N,), int, optional
        Lengths of the sequences.

    Returns
    -------
    value : float
    dy : ndarray, shape of y

    Raises
    ------
    TypeError
        If the loss returns anything else.
    """
    result = loss(y, targets, lengths=lengths)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        got = checks.shown(result)
        raise TypeError(f"loss must return its value and the gradient with respect to y, got {got}")
    value, dy = result
    if np.ndim(value) or not np.issubdtype(np.asarray(value).dtype, np.floating):
        raise TypeError(f"loss must return a float and the gradient, got {checks.shown(result)}")
    return float(value), dy


def check_continues(model: Model) -> None:
    """Raise ValueError if a layer cannot go on from the state after the piece before."""
    for k, layer in enumerate(model.layers):
        if -1 in layer.state_delays.values():
            raise ValueError(
                f"{model.where(k)} starts at the last time step, so a piece cannot go on "
                "from the one before: call reset() between them, or read Windows with "
                "carry='never'"
            )
