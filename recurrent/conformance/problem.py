"""Small problems for an engine: sizes, a scale and a seed determine all arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engine.bidirectional import MERGES, REVERSE, Bidirectional, Directions
from ..engine.bidirectional import named as named_directions
from ..engine.engine import Engine
from ..engine.params import Sizes


@dataclass(frozen=True)
class Case:
    """The description of a problem for an engine; its repr reproduces the problem.

    Parameters
    ----------
    T, N, D, H : int
        Time steps, sequences, input size and hidden size.
    dtype : str, default "float64"
        float32 or float64.
    seed : int, default 0
        The seed of all arrays.
    scale : float, default 1.0
        The scale of x and of the initial state.
    initial : bool, default True
        Whether there are an initial state and gradients of the final state.
    ragged : bool, default False
        Whether the sequences have different lengths.
    reverse : bool, default False
        Whether the sequences run in reverse.
    merge : str, optional
        Run both directions and merge their outputs by "concat", "sum", "mul" or "average".
    """

    T: int
    N: int
    D: int
    H: int
    dtype: str = "float64"
    seed: int = 0
    scale: float = 1.0
    initial: bool = True
    ragged: bool = False
    reverse: bool = False
    merge: str | None = None

    def build(self, engine: Engine) -> Problem:
        """Return the problem with its arrays.

        Parameters
        ----------
        engine : Engine
            The engine to run.

        Returns
        -------
        Problem
            The arrays of this case for that engine.
        """
        return Problem(self, engine)


class Problem:
    """The arrays of a case for one engine; the loss is sum(dy * y) + sum(dstate * final state)."""

    def __init__(self, case, engine):
        self.case, self.engine = case, engine
        rng = np.random.default_rng(case.seed)
        named_inputs = len(engine.cell.inputs)
        T, N, D, H = case.T, case.N, case.D + named_inputs, case.H

        def normal(*shape):
            return rng.standard_normal(shape).astype(case.dtype)

        def each(make):
            return Directions(make(), make()) if case.merge else make()

        def states(scale):
            return engine.State(
                *[normal(N, size) * np.dtype(case.dtype).type(scale) for size in self.state_sizes]
            )

        P = (H + 1) // 2 if engine.cell.has_projection else H
        self.state_sizes = engine.state_sizes(Sizes(D, H, P))
        self.params = each(
            lambda: engine.init(D, H, case.dtype, rng, P if engine.cell.has_projection else 0)
        )
        self.x = normal(T, N, D) * np.dtype(case.dtype).type(case.scale)
        self.x[..., case.D :] = np.abs(self.x[..., case.D :])  # times and gaps
        self.dy = normal(T, N, 2 * P if case.merge == "concat" else P)
        self.lengths = rng.integers(0, T + 1, N) if case.ragged else None
        self.state = each(lambda: states(case.scale)) if case.initial else None
        self.dstate = each(lambda: states(1)) if case.initial else None

    def runner(self, engine=None):
        """Return the engine, or its bidirectional runner if the case merges directions."""
        engine = engine or self.engine
        return Bidirectional(engine, self.case.merge) if self.case.merge else engine

    def forward(self, engine=None, record=False, **changes):
        """Run `forward` on this problem, with some arguments changed."""
        arguments = dict(
            x=self.x, params=self.params, state=self.state, lengths=self.lengths, record=record
        )
        if not self.case.merge:
            arguments["reverse"] = self.case.reverse
        return self.runner(engine).forward(**{**arguments, **changes})

    def gradients(self, engine=None, dy=None, **changes):
        """Return every gradient of the loss by name, from `backward`."""
        tape = self.forward(engine, record=True, **changes)[2]
        return named(
            *self.runner(engine).backward(self.dy if dy is None else dy, tape, self.dstate)
        )

    def arguments(self):
        """Return the arrays that the loss depends on, by the names of `gradients`."""
        zeros = self.engine.State(
            *[np.zeros((self.case.N, size), self.case.dtype) for size in self.state_sizes]
        )
        state = self.state or (Directions(zeros, zeros) if self.case.merge else zeros)
        return named(self.x, self.params, state)

    def loss(self, arguments, engine=None):
        """Return the loss at other values of the arguments."""
        engine = engine or self.engine
        a = dict(arguments)

        def take(kind):
            ends = ("", REVERSE) if self.case.merge else ("",)
            values = [kind(*[a[f"{n}{end}"] for n in kind._fields]) for end in ends]
            return Directions(*values) if self.case.merge else values[0]

        params, state = take(engine.Params), take(engine.State)
        y, final, _ = self.forward(engine, x=a["x"], params=params, state=state)
        total = np.sum(self.dy * y)
        for d, s in zip(flat(self.dstate), flat(final), strict=False):
            total = total + np.sum(d * s)
        return total

    @property
    def outer_gradients(self):
        """The gradients with respect to the engine's own outputs, y and the final state."""
        if not self.case.merge:
            return [self.dy, *flat(self.dstate)]
        tape = self.forward(record=True)[2]
        return [
            *MERGES[self.case.merge][1](self.dy, tape.forward.h, tape.reverse.h),
            *flat(self.dstate),
        ]

    @property
    def terms(self):
        """The number of rounded additions on the longest path to an entry of y or dstate."""
        c = self.case
        return c.T * (c.D + len(self.engine.cell.gates) * c.H) * (2 if c.merge else 1)

    def terms_of(self, name):
        """Return the number of rounded additions of a gradient; weights also sum over all rows."""
        per_row = name.removesuffix(REVERSE) in ("x", *self.engine.State._fields)
        return self.terms + (0 if per_row else self.case.T * self.case.N)


def named(x, params, state):
    """Return x, params and state as one dict of arrays by name."""
    if isinstance(params, Directions):
        return {
            "x": x,
            **named_directions(*(p._asdict() for p in params)),
            **named_directions(*(s._asdict() for s in state)),
        }
    return {"x": x, **params._asdict(), **state._asdict()}


def flat(state):
    """Return the arrays of a state, of one direction or both, as a list; empty for None."""
    return [a for s in state for a in s] if isinstance(state, Directions) else list(state or ())
