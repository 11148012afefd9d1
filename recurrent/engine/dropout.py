"""Dropout inside a recurrent layer, by its exact names: which masks there are, how they are drawn and applied."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..cells.dropout import with_expected_zoneout, with_masks
from ..equations.cell import Cell
from .bernoulli import bernoulli, dropout_mask, probability
from .engine import Engine
from .footprint import Footprint
from .tape import Tape

NAMES = ("recurrent_dropout", "weight_drop", "zoneout")


@dataclass(frozen=True)
class DropoutOptions:
    """The options of a layer of `cell`. `zoneout`: a probability for each state by name."""

    cell: Cell
    recurrent_dropout: float
    weight_drop: float
    zoneout: tuple[tuple[str, float], ...]

    @classmethod
    def of(
        cls, cell: Cell, recurrent_dropout: Any = 0.0, weight_drop: Any = 0.0, zoneout: Any = 0.0
    ) -> DropoutOptions:
        """Checked options. `zoneout`: one probability for all states, or a dict of them by state."""
        given = zoneout if isinstance(zoneout, dict) else dict.fromkeys(cell.states, zoneout)
        for s in given:
            if s not in cell.states:
                raise ValueError(
                    f"zoneout: {cell.name} has the states {', '.join(cell.states)}, got {s!r}"
                )
        rates = [(s, probability(given[s], f"zoneout of {s}")) for s in cell.states if s in given]
        if (recurrent_dropout or weight_drop) and not cell.h_gates:
            raise ValueError(
                f"{cell.name} has no W_hh: nothing for recurrent_dropout or weight_drop to act on"
            )
        if recurrent_dropout and any(e.op == "product" for e in cell.products):
            raise ValueError(
                f"recurrent_dropout: {cell.name} multiplies more than the state of before, which no mask reaches"
            )
        return cls(
            cell,
            probability(recurrent_dropout, "recurrent_dropout"),
            probability(weight_drop, "weight_drop"),
            tuple(pair for pair in rates if pair[1]),
        )

    def __bool__(self):
        return bool(self.recurrent_dropout or self.weight_drop or self.zoneout)

    @property
    def evaluated(self) -> Cell:
        """The cell of evaluation and streaming: the one given, but for zoneout, which has its expected value."""
        return with_expected_zoneout(self.cell, self.zoneout) if self.zoneout else self.cell

    def trained(
        self, generator: np.random.Generator, backend: ModuleType | None = None
    ) -> DropoutRunner:
        """What runs in training, with masks from this generator."""
        return DropoutRunner(self, generator, backend)


class DropoutRunner:
    """An engine's `forward` and `backward` under masks, drawn anew at each call of `forward` and kept as `tape.masks`.

    By name: "zoneout_h" (T, N, H), 1 where the state of before is kept; "dropout" (N, H), of the state that goes back, the
    same at all steps; "weight_hh" (G*H, H). The last two are scaled by 1 / (1 - p). Equal generators draw equal masks.
    """

    def __init__(
        self,
        options: DropoutOptions,
        generator: np.random.Generator,
        backend: ModuleType | None = None,
    ):
        self.options, self.generator = options, generator
        cell, states = options.cell, tuple(s for s, _ in options.zoneout)
        steps = bool(states or options.recurrent_dropout)
        self.plain = Engine(cell, backend)
        self.engine = (
            Engine(with_masks(cell, states, bool(options.recurrent_dropout)), backend)
            if steps
            else self.plain
        )
        self.dtypes = self.engine.dtypes

    def draw(self, x_shape: tuple[int, ...], params: Any) -> dict[str, np.ndarray]:
        """Masks for one call."""
        o, sizes, dtype = self.options, self.plain.sizes(params), params.W_hh.real.dtype
        steps, *rows = x_shape[:-1]
        width = dict(zip(o.cell.states, self.plain.state_sizes(sizes), strict=True))
        masks = {
            f"zoneout_{s}": bernoulli(self.generator, p, (steps, *rows, width[s]), dtype)
            for s, p in o.zoneout
        }
        if o.recurrent_dropout:
            masks["dropout"] = dropout_mask(
                self.generator, o.recurrent_dropout, (*rows, sizes.P), dtype
            )
        if o.weight_drop:
            masks["weight_hh"] = dropout_mask(
                self.generator, o.weight_drop, params.W_hh.shape, dtype
            )
        return masks

    def footprint(
        self, T, N, sizes, dtype, ragged, training=True, reverse=False, table=None
    ) -> Footprint:
        """Bytes, as `Engine.footprint` has them: of the run that the masks are in, and of masks."""
        o, size = self.options, dtype.itemsize
        f = self.engine.footprint(T, N, sizes, dtype, ragged, True, reverse, table)
        width = dict(zip(o.cell.states, self.plain.state_sizes(sizes), strict=True))
        masks = size * T * N * sum(width[s] for s, _ in o.zoneout)
        masks += size * N * sizes.P if o.recurrent_dropout else 0
        if o.weight_drop:
            masks += (
                2 * size * len(o.cell.h_gates) * sizes.H * sizes.P
            )  # and the weights that are left
        return f._replace(kept=f.kept + masks)

    def forward(
        self,
        x: Any,
        params: Any,
        state: Any = None,
        lengths: Any = None,
        reverse: bool = False,
        record: bool = False,
    ) -> tuple[np.ndarray, Any, Tape | None]:
        """`Engine.forward` under new masks."""
        params = self.plain.check_params(params)
        masks = self.draw(x.shape, params)
        if "weight_hh" in masks:
            params = params._replace(W_hh=params.W_hh * masks["weight_hh"])
        sizes, (steps, *rows) = self.plain.sizes(params), x.shape[:-1]
        inputs = None
        if self.engine.cell.masks:
            inputs = np.zeros(
                (steps, *rows, len(self.engine.cell.masks), sizes.H), params.W_hh.real.dtype
            )
            for k, name in enumerate(self.engine.cell.masks):
                inputs[..., k, : masks[name].shape[-1]] = masks[name]
        if state is not None and "dropout" in masks:
            state = self.plain.check_state(state, "state", tuple(rows), sizes, params.W_hh.dtype)
            state = (masks["dropout"] * state[0], *state)
        y, final, tape = self.engine.forward(x, params, state, lengths, reverse, True, inputs)
        tape.masks = masks
        return y, self.plain.State(*final[self.engine.cell.output :]), tape if record else None

    def backward(
        self,
        dy: Any,
        tape: Tape,
        dstate: Any = None,
        out: Any = None,
        state_gradients: dict | None = None,
    ) -> tuple[Any, Any, Any]:
        """`Engine.backward` under the masks of the tape."""
        dropped = "dropout" in tape.masks
        if dstate is not None and dropped:
            dstate = (np.zeros_like(dstate[0]), *dstate)
        dx, dparams, d_initial = self.engine.backward(dy, tape, dstate, out, state_gradients)
        if "weight_hh" in tape.masks:
            dparams.W_hh[...] *= tape.masks["weight_hh"]
        if dropped:
            through, h, *rest = d_initial
            d_initial = self.plain.State(h + tape.masks["dropout"] * through, *rest)
            if state_gradients is not None:
                del state_gradients[self.engine.cell.states[0]]
        return dx, dparams, d_initial
