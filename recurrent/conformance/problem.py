"""A small problem for an engine: sizes, a scale and a seed, from which all arrays follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engine.bidirectional import MERGES, REVERSE, Bidirectional, Directions
from ..engine.bidirectional import named as of_both
from ..engine.engine import Engine
from ..engine.params import Sizes


@dataclass(frozen=True)
class Case:
    """A problem for an engine, all of it determined by what the repr shows."""

    T: int
    N: int
    D: int
    H: int
    dtype: str = "float64"
    seed: int = 0
    scale: float = 1.0  # of x and the states
    initial: bool = True  # with initial states and gradients of final states
    ragged: bool = False
    reverse: bool = False
    merge: str | None = None  # both directions, merged so

    def build(self, engine: Engine) -> Problem:
        """The arrays."""
        return Problem(self, engine)


class Problem:
    """Arrays of a case for one engine. The loss is sum(dy * y) + sum(dstate * final state)."""

    def __init__(self, case, engine):
        self.case, self.engine = case, engine
        rng = np.random.default_rng(case.seed)
        T, N, D, H = case.T, case.N, case.D, case.H

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
        self.dy = normal(T, N, 2 * P if case.merge == "concat" else P)
        self.lengths = rng.integers(0, T + 1, N) if case.ragged else None
        self.state = each(lambda: states(case.scale)) if case.initial else None
        self.dstate = each(lambda: states(1)) if case.initial else None

    def runs(self, engine=None):
        """What has the `forward` and `backward` of this problem."""
        engine = engine or self.engine
        return Bidirectional(engine, self.case.merge) if self.case.merge else engine

    def forward(self, engine=None, record=False, **changes):
        """`engine.forward` on this problem, with some arguments changed."""
        given = dict(
            x=self.x, params=self.params, state=self.state, lengths=self.lengths, record=record
        )
        if not self.case.merge:
            given["reverse"] = self.case.reverse
        return self.runs(engine).forward(**{**given, **changes})

    def gradients(self, engine=None, dy=None, **changes):
        """Every gradient of the loss by name, from `engine.backward`."""
        tape = self.forward(engine, record=True, **changes)[2]
        return named(*self.runs(engine).backward(self.dy if dy is None else dy, tape, self.dstate))

    def arguments(self):
        """What the loss can be differentiated by: arrays by name, in the names of `gradients`."""
        zeros = self.engine.State(
            *[np.zeros((self.case.N, size), self.case.dtype) for size in self.state_sizes]
        )
        state = self.state or (Directions(zeros, zeros) if self.case.merge else zeros)
        return named(self.x, self.params, state)

    def loss(self, arguments, engine=None):
        """The loss at other values of the arguments."""
        engine = engine or self.engine
        a = dict(arguments)

        def take(kind):
            ends = ("", REVERSE) if self.case.merge else ("",)
            found = [kind(*[a[f"{n}{end}"] for n in kind._fields]) for end in ends]
            return Directions(*found) if self.case.merge else found[0]

        y, final, _ = self.forward(
            engine, x=a["x"], params=take(engine.Params), state=take(engine.State)
        )
        total = np.sum(self.dy * y)
        for w, s in zip(flat(self.dstate), flat(final), strict=False):
            total = total + np.sum(w * s)
        return total

    @property
    def arriving(self):
        """Gradients that reach an engine from outside: those of its y and of its final state."""
        if not self.case.merge:
            return [self.dy, *flat(self.dstate)]
        tape = self.forward(record=True)[2]
        return [
            *MERGES[self.case.merge][1](self.dy, tape.forward.h, tape.reverse.h),
            *flat(self.dstate),
        ]

    @property
    def terms(self):
        """Rounded additions on the longest way to an entry of y or of a gradient of a state."""
        c = self.case
        return c.T * (c.D + len(self.engine.cell.gates) * c.H) * (2 if c.merge else 1)

    def terms_of(self, name):
        """The same for the gradient of an argument: weights sum over all rows besides."""
        return self.terms + (
            0
            if name.removesuffix(REVERSE) in ("x", *self.engine.State._fields)
            else self.case.T * self.case.N
        )


def named(x, params, state):
    if isinstance(params, Directions):
        return {
            "x": x,
            **of_both(*(p._asdict() for p in params)),
            **of_both(*(s._asdict() for s in state)),
        }
    return {"x": x, **params._asdict(), **state._asdict()}


def flat(state):
    """The arrays of a state, of one direction or both; none of None."""
    return [a for s in state for a in s] if isinstance(state, Directions) else list(state or ())
