"""Dropout inside a recurrent layer: recurrent dropout, DropConnect on W_hh and zoneout.

Recurrent dropout drops entries of the h that W_hh multiplies, with one mask per sequence: the
variational dropout of Gal and Ghahramani (2016). Weight drop is DropConnect on W_hh with one mask
per call (Merity et al., 2018). Zoneout keeps random entries of a state unchanged at a step (Krueger
et al., 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from .. import checks
from ..cells.dropout import with_expected_zoneout, with_masks
from ..equations.cell import Cell
from .bernoulli import bernoulli, dropout_mask, probability
from .engine import Engine
from .episodes import Episodes
from .footprint import Footprint
from .params import check_input, check_params, check_state, sizes_of
from .sums import Sums
from .tape import Tape

NAMES = ("recurrent_dropout", "weight_drop", "zoneout")


@dataclass(frozen=True)
class DropoutOptions:
    """The dropout options of a layer; `zoneout` has pairs of a state and its probability."""

    cell: Cell
    recurrent_dropout: float
    weight_drop: float
    zoneout: tuple[tuple[str, float], ...]

    @classmethod
    def checked(
        cls, cell: Cell, recurrent_dropout: Any = 0.0, weight_drop: Any = 0.0, zoneout: Any = 0.0
    ) -> DropoutOptions:
        """Return checked options; `zoneout` is a probability for all states or a dict by state."""
        if not isinstance(zoneout, dict):
            zoneout = dict.fromkeys(cell.states, zoneout)
        for s in zoneout:
            if s not in cell.states:
                raise ValueError(
                    f"zoneout: {cell.name} has the states {', '.join(cell.states)}, "
                    f"got {checks.shown(s)}"
                )
        zoneout = {
            s: probability(zoneout[s], f"zoneout of {s}") for s in cell.states if s in zoneout
        }
        recurrent_dropout = probability(recurrent_dropout, "recurrent_dropout")
        weight_drop = probability(weight_drop, "weight_drop")
        if (recurrent_dropout or weight_drop) and not cell.h_gates:
            raise ValueError(
                f"{cell.name} has no W_hh, which recurrent_dropout and weight_drop act on"
            )
        if recurrent_dropout and any(e.op == "product" for e in cell.products):
            raise ValueError(
                f"recurrent_dropout: {cell.name} multiplies W_hh by more than the previous state, "
                "and a mask acts on that state alone"
            )
        return cls(
            cell,
            recurrent_dropout,
            weight_drop,
            tuple((s, p) for s, p in zoneout.items() if p),
        )

    def __bool__(self):
        return bool(self.recurrent_dropout or self.weight_drop or self.zoneout)

    @property
    def inference_cell(self) -> Cell:
        """The cell for evaluation and streaming, where zoneout takes its expected value."""
        return with_expected_zoneout(self.cell, self.zoneout) if self.zoneout else self.cell

    def training_runner(
        self, generator: np.random.Generator, backend: ModuleType | None = None
    ) -> DropoutRunner:
        """Return the runner for training, which samples masks from `generator`."""
        return DropoutRunner(self, generator, backend)


class DropoutRunner:
    """The `forward` and `backward` of an engine with dropout masks, sampled at each `forward`.

    The masks are in `tape.masks`: "zoneout_h" (T, N, H) is 1 where h keeps its previous value;
    "dropout" (N, H) is for the h that W_hh multiplies, at all steps; "weight_hh" is (G*H, H).
    The last two are scaled by 1 / (1 - p). Equal generators give equal masks.
    """

    def __init__(
        self,
        options: DropoutOptions,
        generator: np.random.Generator,
        backend: ModuleType | None = None,
    ):
        self.options, self.generator = options, generator
        cell, zoned = options.cell, tuple(s for s, _ in options.zoneout)
        self.unmasked = Engine(cell, backend)
        self.engine = self.unmasked  # weight drop alone needs no masks in the equations
        if zoned or options.recurrent_dropout:
            masked = with_masks(cell, zoned, bool(options.recurrent_dropout))
            self.engine = Engine(masked, backend)
        self.dtypes: tuple[str, ...] = self.engine.dtypes

    def sample_masks(self, x_shape: tuple[int, ...], params: Any) -> dict[str, np.ndarray]:
        """Sample the masks of one call, by name."""
        o, sizes = self.options, sizes_of(self.options.cell, params)
        generator, dtype = self.generator, params.W_hh.real.dtype
        T, *rows = x_shape[:-1]
        width = dict(zip(o.cell.states, self.unmasked.state_sizes(sizes), strict=True))
        masks = {
            f"zoneout_{s}": bernoulli(generator, p, (T, *rows, width[s]), dtype, by_step=True)
            for s, p in o.zoneout
        }
        if o.recurrent_dropout:
            shape = (*rows, sizes.P)
            masks["dropout"] = dropout_mask(generator, o.recurrent_dropout, shape, dtype)
        if o.weight_drop:
            shape = params.W_hh.shape
            masks["weight_hh"] = dropout_mask(generator, o.weight_drop, shape, dtype)
        return masks

    def footprint(
        self, T, N, sizes, dtype, ragged, training=True, reverse=False, table=None
    ) -> Footprint:
        """Estimate the memory of a run, as `Engine.footprint` does, with the masks."""
        o, size = self.options, dtype.itemsize
        f = self.engine.footprint(T, N, sizes, dtype, ragged, True, reverse, table)
        width = dict(zip(o.cell.states, self.unmasked.state_sizes(sizes), strict=True))
        masks = size * T * N * sum(width[s] for s, _ in o.zoneout)
        masks += size * N * sizes.P if o.recurrent_dropout else 0
        if o.weight_drop:  # the mask and the masked weights
            masks += 2 * size * len(o.cell.h_gates) * sizes.H * sizes.P
        return f._replace(kept=f.kept + masks)

    def forward(
        self,
        x: Any,
        params: Any,
        state: Any = None,
        lengths: Any = None,
        reverse: bool = False,
        record: bool = False,
    ) -> tuple[np.ndarray, Any, Any]:
        """Run `Engine.forward` with new masks."""
        cell = self.options.cell
        params = check_params(cell, params, self.dtypes)
        x = check_input(x, sizes_of(cell, params).D, params.W_ih.dtype, lengths, self.dtypes)
        masks = self.sample_masks(x.shape, params)
        if "weight_hh" in masks:
            params = params._replace(W_hh=params.W_hh * masks["weight_hh"])
        sizes, (T, *rows) = sizes_of(cell, params), x.shape[:-1]
        unit_masks, names = None, self.engine.cell.masks
        if names:
            shape = (T, *rows, len(names), sizes.H)
            unit_masks = np.zeros(shape, params.W_hh.real.dtype)
            for k, name in enumerate(names):
                unit_masks[..., k, : masks[name].shape[-1]] = masks[name]
        if state is not None and "dropout" in masks:
            dtype, dropped = params.W_hh.dtype, masks["dropout"]
            episodes: Any = lengths
            if isinstance(episodes, Episodes):  # they share the mask of their sequence
                rows, dropped = [episodes.count], dropped[episodes.sequence]
            state = check_state(cell, state, "state", tuple(rows), sizes, dtype, self.dtypes)
            state = (dropped * state[0], *state)
        y, final, tape = self.engine.forward(x, params, state, lengths, reverse, True, unit_masks)
        tape.masks = masks
        final = self.unmasked.State(*final[self.engine.cell.output :])
        return y, final, tape if record else None

    def backward(
        self,
        dy: Any,
        tape: Tape,
        dstate: Any = None,
        out: Any = None,
        state_gradients: dict | None = None,
        sums: Sums | None = None,
    ) -> tuple[Any, Any, Any]:
        """Run `Engine.backward` with the masks of the tape."""
        masked_h = "dropout" in tape.masks
        segment = Sums(final=True) if sums is None else sums
        if dstate is not None and masked_h:
            later = segment.d_dropped
            dstate = (np.zeros_like(dstate[0]) if later is None else later, *dstate)
        dx, dparams, d_initial = self.engine.backward(dy, tape, dstate, out, state_gradients, sums)
        if "weight_hh" in tape.masks and segment.final:
            dparams.W_hh[...] *= tape.masks["weight_hh"]
        if masked_h:
            d_dropped, h, *others = d_initial
            if segment.final:
                sequence = tape.layout.sequence
                dropped = tape.masks["dropout"]
                h = h + (dropped if sequence is None else dropped[sequence]) * d_dropped
            else:  # the segment before adds it, as the step before does within a segment
                segment.d_dropped = d_dropped
            d_initial = self.unmasked.State(h, *others)
            if state_gradients is not None:
                del state_gradients[self.engine.cell.states[0]]
        return dx, dparams, d_initial
