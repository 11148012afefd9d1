"""Optimisers on one flat vector, with PyTorch's defaults and arithmetic, and clipping of gradients.

Each passes once over the vector in blocks that stay in cache, with two blocks of scratch and no other temporaries.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import checks, schedules

BLOCK = 16384  # elements: parameters, gradient, two states and two blocks of scratch fill 384 kB of L2 in float32

OPTIMIZERS: dict[str, type[Optimizer]] = {}


class Optimizer:
    """What all have. `lr`: a number or a schedule; `steps`: updates done; `arrays`: state by name, made at the first update.

    A subclass names its state in `slots` and changes one block in `apply`. Raises ValueError for options below zero.
    """

    def __init__(self, lr: float | schedules.Schedule, **options: Any):
        for name, value in (*options.items(), *([] if callable(lr) else [("lr", lr)])):
            if not all(v >= 0 for v in (value if isinstance(value, tuple) else (value,))):
                raise ValueError(f"{type(self).__name__}: {name} must be at least 0, got {value}")
        self.lr, self.options, self.steps = lr, options, 0
        self.arrays: dict[str, np.ndarray] = {}

    def __init_subclass__(cls):
        OPTIMIZERS[cls.__name__] = cls

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in {'lr': self.lr, **self.options}.items())})"

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return float(self.lr(self.steps) if callable(self.lr) else self.lr)

    @property
    def slots(self) -> dict[str, float]:
        """State by name and the number it starts from."""
        return {}

    def apply(self, p: np.ndarray, g: np.ndarray, d: np.ndarray, state: dict[str, np.ndarray], lr: float) -> None:
        """One block: change p and the state. g is the gradient, a copy; d is scratch; both may be overwritten."""
        raise NotImplementedError

    def update(self, flat: np.ndarray, gradient: np.ndarray) -> None:
        """One step: change the parameters `flat` (P,), modified, by the `gradient` (P,), left as it is.

        Raises ValueError or TypeError where shapes or dtypes of the two, or of the state, differ.
        """
        if flat.ndim != 1:
            raise ValueError(f"flat must be (P,), got {flat.shape}")
        if not self.arrays:
            self.arrays = {name: np.full_like(flat, value) for name, value in self.slots.items()}
        for name, a in {"gradient": gradient, **self.arrays}.items():
            checks.shape(a, name, flat.shape, "the shape of flat")
            checks.same_dtype(a, name, flat.dtype, "flat")
        lr, scratch = self.rate, np.empty((2, min(BLOCK, flat.size)), flat.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # too high a rate shows in the next loss
            for start in range(0, flat.size, BLOCK):
                block = slice(start, start + BLOCK)
                p = flat[block]
                g, d = scratch[:, : p.size]
                g[:] = gradient[block]
                self.apply(p, g, d, {name: a[block] for name, a in self.arrays.items()}, lr)
        self.steps += 1

    def describe(self) -> dict:
        """Type, options and steps done as plain data; the state is in `arrays`."""
        options = {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}
        return {"type": type(self).__name__, "options": {"lr": schedules.describe(self.lr), **options}, "steps": self.steps}

    def _decay(self, p, g, d):
        """g += weight_decay p: the L2 penalty."""
        if self.options["weight_decay"]:
            np.multiply(p, self.options["weight_decay"], out=d)
            g += d


class SGD(Optimizer):
    """p -= lr b, with b the gradient or its running sum (`momentum`), seen one step ahead (`nesterov`)."""

    def __init__(
        self,
        lr: float | schedules.Schedule = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        super().__init__(lr, momentum=momentum, dampening=dampening, nesterov=nesterov, weight_decay=weight_decay)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")

    @property
    def slots(self):
        return {"momentum": 0.0} if self.options["momentum"] else {}

    def apply(self, p, g, d, state, lr):
        self._decay(p, g, d)
        momentum = self.options["momentum"]
        if momentum:
            b = state["momentum"]
            np.multiply(g, 1.0 if self.steps == 0 else 1 - self.options["dampening"], out=d)
            b *= momentum
            b += d
            if self.options["nesterov"]:
                np.multiply(b, momentum, out=d)
                g += d
            else:
                g[:] = b
        g *= lr
        p -= g


class RMSprop(Optimizer):
    """p -= lr g / (sqrt(v) + eps), v the running mean of g^2, less the square of that of g if `centered`."""

    def __init__(
        self,
        lr: float | schedules.Schedule = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        super().__init__(lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered)

    @property
    def slots(self):
        momentum = {"momentum": 0.0} if self.options["momentum"] else {}
        return {"v": 0.0, **momentum, **({"mean": 0.0} if self.options["centered"] else {})}

    def apply(self, p, g, d, state, lr):
        self._decay(p, g, d)
        alpha = self.options["alpha"]
        _running_square(state["v"], g, d, alpha)
        if self.options["centered"]:
            mean = state["mean"]
            _towards(mean, g, d, 1 - alpha)
            np.multiply(mean, mean, out=d)
            np.subtract(state["v"], d, out=d)
            np.sqrt(d, out=d)
        else:
            np.sqrt(state["v"], out=d)
        d += self.options["eps"]
        g /= d
        if self.options["momentum"]:
            b = state["momentum"]
            b *= self.options["momentum"]
            b += g
            g[:] = b
        g *= lr
        p -= g


class Adagrad(Optimizer):
    """p -= lr g / (sqrt(v) + eps), v the sum of all g^2 (Duchi et al., 2011)."""

    def __init__(
        self,
        lr: float | schedules.Schedule = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ):
        super().__init__(
            lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )

    @property
    def slots(self):
        return {"v": self.options["initial_accumulator_value"]}

    def apply(self, p, g, d, state, lr):
        self._decay(p, g, d)
        v = state["v"]
        np.multiply(g, g, out=d)
        v += d
        np.sqrt(v, out=d)
        d += self.options["eps"]
        g /= d
        g *= lr / (1 + self.steps * self.options["lr_decay"])
        p -= g


class Adam(Optimizer):
    """p -= lr m' / (sqrt(v') + eps), m' and v' the running means of g and g^2 freed of their start at 0 (Kingma, Ba, 2015).

    `amsgrad`: v never falls. `weight_decay`: an L2 penalty in the gradient.
    """

    decoupled = False

    def __init__(
        self,
        lr: float | schedules.Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ):
        super().__init__(lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)
        if len(betas) != 2 or not all(b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers below 1, got {betas}")

    @property
    def slots(self):
        return {"m": 0.0, "v": 0.0, **({"v_max": 0.0} if self.options["amsgrad"] else {})}

    def apply(self, p, g, d, state, lr):
        (beta1, beta2), v = self.options["betas"], state["v"]
        if self.decoupled:
            p *= 1 - lr * self.options["weight_decay"]
        else:
            self._decay(p, g, d)
        _towards(state["m"], g, d, 1 - beta1)
        _running_square(v, g, d, beta2)
        if self.options["amsgrad"]:
            v = np.maximum(state["v_max"], v, out=state["v_max"])
        step = self.steps + 1
        np.sqrt(v, out=d)
        d /= math.sqrt(1 - beta2**step)
        d += self.options["eps"]
        np.divide(state["m"], d, out=g)
        g *= lr / (1 - beta1**step)
        p -= g


class AdamW(Adam):
    """Adam whose `weight_decay` shrinks the parameters and stays out of the means (Loshchilov, Hutter, 2019)."""

    decoupled = True

    def __init__(
        self,
        lr: float | schedules.Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ):
        super().__init__(lr, betas, eps, weight_decay, amsgrad)


def _towards(mean, g, d, weight):
    """mean += weight (g - mean)."""
    np.subtract(g, mean, out=d)
    d *= weight
    mean += d


def _running_square(v, g, d, keep):
    """v = keep v + (1 - keep) g^2."""
    np.multiply(g, g, out=d)
    d *= 1 - keep
    v *= keep
    v += d


def build(description: dict, arrays: dict[str, np.ndarray] | None = None) -> Optimizer:
    """The optimiser that `describe` described, with its state. Raises ValueError for a type or state that does not fit."""
    if description["type"] not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {description['type']!r}; known are {', '.join(OPTIMIZERS)}")
    options = dict(description["options"])
    optimizer = OPTIMIZERS[description["type"]](schedules.build(options.pop("lr")), **options)
    optimizer.steps = int(description["steps"])
    expected = set(optimizer.slots) if optimizer.steps else set()
    if set(arrays or {}) != expected:
        names = [", ".join(sorted(s)) or "nothing" for s in (expected, arrays or {})]
        raise ValueError(f"state of {description['type']} must be {names[0]}, got {names[1]}")
    optimizer.arrays = {name: np.array(a) for name, a in (arrays or {}).items()}
    return optimizer


def clip_norm(gradient: np.ndarray, limit: float) -> float:
    """Scale the gradient, modified, so that its norm is at most `limit`; returns the norm it had.

    torch's clip_grad_norm_: factor limit / (norm + 1e-6) where that is below 1. A norm that is not finite changes nothing.
    """
    if not limit > 0:
        raise ValueError(f"limit must be above 0, got {limit}")
    total, flat = 0.0, gradient.reshape(-1)
    wide = np.empty(min(BLOCK, flat.size), np.float64)
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK]
        total += float(np.square(part, out=wide[: part.size], dtype=np.float64).sum())
    norm = math.sqrt(total)
    factor = limit / (norm + 1e-6)
    if factor < 1 and math.isfinite(norm):
        gradient *= factor
    return norm


def clip_value(gradient: np.ndarray, limit: float) -> None:
    """Bring every entry of the gradient, modified, into -limit..limit. NaN stays."""
    if not limit > 0:
        raise ValueError(f"limit must be above 0, got {limit}")
    np.clip(gradient, -limit, limit, out=gradient)
