"""Rates tell which parameters an update changes, and by which learning rate."""

from __future__ import annotations

from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np

from .. import checks, schedules
from ..layers.parameters import parameter_views
from ..models.base import Model
from ..optim import Optimizer
from .monitor import Monitor


def starts_with(name: str, prefix: str) -> bool:
    """Return whether a parameter's name has a prefix; "1" is none of "10.weight".

    >>> [starts_with("10.bias", prefix) for prefix in ("1", "10", "10.", "10.b", "")]
    [False, True, True, True, True]
    """
    rest = name[len(prefix) :]
    return name.startswith(prefix) and not (prefix[-1:].isdigit() and rest[:1].isdigit())


def _check_prefix(prefix: Any, option: str, model: Model) -> str:
    """Return a prefix; raise an error unless parameters of the model have it."""
    checks.text(prefix, f"{option}: a prefix")
    if not any(starts_with(name, prefix) for name in model.parameters):
        names = list(model.parameters)
        shown = ", ".join(names[:6]) + ", ..." * (len(names) > 6)
        raise ValueError(
            f"{option}: no parameter's name begins with {checks.shown(prefix)}; the names are"
            f" {shown}{checks.guess(prefix, names)}"
        )
    return prefix


def _masked_entries(masks: dict[str, Any], model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Return which entries of `model.flat` masks choose, and their values."""
    every = np.zeros(model.size, bool)
    views = parameter_views(every, {n: a.shape for n, a in model.parameters.items()})
    for name, mask in masks.items():
        if name not in views:
            _check_prefix(name, "freeze", model)
            raise ValueError(f"freeze: a mask needs a parameter's whole name, got {name!r}")
        label = f"freeze[{name!r}]"
        mask = checks.as_array(mask, label)
        if mask.dtype != bool:
            raise TypeError(f"{label} must be a mask of bool, got {mask.dtype.name}")
        checks.shape(mask, label, views[name].shape, f"the shape of the model's {name}")
        views[name][...] = mask
    entries = np.flatnonzero(every)
    return entries, model.flat[entries]


class Rates:
    """The learning rates of a training: that of the optimiser, and those of names by prefix.

    Parameters
    ----------
    model : Model
        The model. Layers whose `trainable` is False are frozen.
    rule : Optimizer
        The optimiser.
    freeze : str, list of str or dict of str to ndarray, optional
        Prefixes of the names of parameters that stay as they are; or names and masks of entries.
    lr : dict of str to float or callable, optional
        Learning rates by prefix; the longest prefix of a name wins.
    """

    def __init__(self, model: Model, rule: Optimizer, freeze: Any, lr: Any):
        self.rule = rule
        self.kept = _masked_entries(freeze, model) if isinstance(freeze, dict) else None
        if isinstance(freeze, dict) or freeze is None:
            freeze = []
        freeze = [freeze] if isinstance(freeze, str) else freeze
        if not isinstance(freeze, (list, tuple, set, frozenset)):
            raise TypeError(
                "freeze must be a list of prefixes of parameters' names, such as ['0.'], got"
                f" {checks.shown(freeze)}"
            )
        prefixes = [_check_prefix(prefix, "freeze", model) for prefix in freeze]
        if lr is not None and not isinstance(lr, dict):
            raise TypeError(
                "lr must be a dict of learning rates by prefix, such as {'0.': 1e-4}, got"
                f" {checks.shown(lr)}; the optimizer has the rate of all others, such as"
                " optim.Adam(lr=1e-3)"
            )
        self.own: dict[str, Any] = {}
        for prefix, rate in (lr or {}).items():
            name = f"lr[{checks.shown(_check_prefix(prefix, 'lr', model))}]"
            is_schedule = callable(rate) and not isinstance(rate, type)
            self.own[prefix] = rate if is_schedule else checks.number(rate, name, 0)
        frozen = set(model.frozen)
        frozen |= {n for n in model.parameters for p in prefixes if starts_with(n, p)}
        groups = np.zeros(model.size, np.int32)  # the number of each entry's rate; -1 is frozen
        views = parameter_views(groups, {n: a.shape for n, a in model.parameters.items()})
        longest = sorted(self.own, key=len)
        for name, view in views.items():
            for k, prefix in enumerate(longest, 1):
                if starts_with(name, prefix):
                    view[...] = k
            if name in frozen:
                view[...] = -1
        if model.size and (groups < 0).all():
            raise ValueError("all parameters are frozen, so that there is nothing to train")
        ends = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), model.size]
        rates = [rule.lr, *(self.own[prefix] for prefix in longest)]
        spans = [slice(a, b) for a, b in pairwise(ends) if a < b]
        self.frozen = [s for s in spans if groups[s.start] < 0]
        self.parts = [(s, rates[groups[s.start]]) for s in spans if groups[s.start] >= 0]
        self.used = list({id(rate): rate for _, rate in self.parts}.values())
        self.plateaus = [r for r in self.used if isinstance(r, schedules.ReduceOnPlateau)]
        # Without any of these the optimiser updates all parameters at its own rate.
        self.simple = not (self.frozen or self.own or self.plateaus)
        if not self.simple and "parts" not in signature(rule.update).parameters:
            raise TypeError(
                f"optimizer: the update of {type(rule).__name__} must have the argument `parts` of"
                " Optimizer.update for freeze, lr and ReduceOnPlateau"
            )
        self.reduced: dict[int, float] = {}
        self.first = 0  # the update after which validations count for the plateaus

    def validated(self, monitor: Monitor) -> None:
        """Compute the rates of the plateaus after a validation."""
        values = [value for update, value in monitor.values if update > self.first]
        for schedule in self.plateaus:
            self.reduced[id(schedule)] = schedule.after(values, monitor.sign < 0)

    def now(self, rate: Any) -> float:
        """Return the number that a rate is at the next update."""
        if id(rate) in self.reduced:
            return self.reduced[id(rate)]
        number: Any = rate(self.rule.steps) if callable(rate) else rate
        return float(number)

    def clear_frozen(self, gradient: np.ndarray) -> None:
        """Set the gradient of the frozen parameters to zero."""
        for span in self.frozen:
            gradient[span] = 0
        if self.kept is not None:
            gradient[self.kept[0]] = 0

    def update(self, flat: np.ndarray, gradient: np.ndarray) -> None:
        """Make one update of the parameters."""
        if self.simple:
            self.rule.update(flat, gradient)
        else:
            parts = [(span, self.now(rate)) for span, rate in self.parts]
            self.rule.update(flat, gradient, parts)
        if self.kept is not None:  # weight decay changes entries without a gradient too
            entries, values = self.kept
            flat[entries] = values
