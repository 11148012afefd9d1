"""Optimisers on one flat vector, with PyTorch's defaults and arithmetic, and clipping of gradients.

An optimiser says what becomes of one entry, as a cell says what one unit does; from that come one compiled pass over all
vectors, which reads and writes each once, and its NumPy form.
"""

from __future__ import annotations

import math
from inspect import signature
from numbers import Real
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import checks, kernels, schedules
from .equations.expressions import Expr, maximum, sqrt
from .equations.rules import Rule, trace
from .training import spec

BLOCK = 16384  # entries of a block: of the work of a thread, and of one sum of a norm

OPTIMIZERS: dict[str, type[Optimizer]] = {}


class Optimizer:
    """What all have. `lr`: a number or a schedule; `steps`: updates done; `arrays`: state by name, made at the first update.

    A subclass names its state in `slots` and writes its `equations`. Raises ValueError for options below zero.

    >>> class Sign(Optimizer):
    ...     def equations(self, a, k):
    ...         return dict(p=a.p - k.lr * a.g / maximum(a.g, -a.g))
    >>> flat = np.array([1.0, 2.0])
    >>> Sign(lr=0.5).update(flat, np.array([3.0, -0.1]))
    >>> flat.tolist()
    [0.5, 2.5]
    >>> del OPTIMIZERS["Sign"]
    """

    def __init__(self, lr: float | schedules.Schedule, **options: Any):
        for name, value in (*options.items(), *([] if callable(lr) else [("lr", lr)])):
            values = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(v, Real) for v in values):
                kind = "a number or a schedule" if name == "lr" else "made of numbers"
                raise TypeError(
                    f"{type(self).__name__}: {name} must be {kind}, got {type(value).__name__}"
                )
            if not all(v >= 0 for v in values):
                raise ValueError(f"{type(self).__name__}: {name} must be at least 0, got {value}")
        self.lr, self.options, self.steps = lr, options, 0
        self.arrays: dict[str, np.ndarray] = {}
        self._traced: tuple[dict, Rule] | None = None

    def __init_subclass__(cls):
        OPTIMIZERS[cls.__name__] = cls

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in {'lr': self.lr, **self.options}.items())})"

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return float(self.lr(self.steps) if callable(self.lr) else self.lr)

    @property
    def age(self) -> int:
        """Updates since the state began: all `steps`, or with the option `restart` those at the rate of now."""
        since = getattr(self.lr, "since", None) if self.options.get("restart") else None
        return self.steps - since(self.steps) if since else self.steps

    @property
    def slots(self) -> dict[str, float]:
        """State by name and the number it starts from."""
        return {}

    def numbers(self, lr: float) -> dict[str, float]:
        """What the equations may use as `k.lr` and so on: numbers of the next update that are the same for all entries."""
        return {
            "lr": lr,
            **{name: v for name, v in self.options.items() if isinstance(v, (int, float))},
        }

    def equations(self, a: SimpleNamespace, k: SimpleNamespace) -> dict[str, Expr]:
        """What becomes of one entry: the new `p`, and new state by name.

        `a.p` is the parameter, `a.g` its gradient, `a.m` the state m; `k.lr` one of `numbers`. Called with symbols, and again
        only where `options` have changed: what differs from update to update belongs into `numbers`.
        """
        raise NotImplementedError

    def update(self, flat: np.ndarray, gradient: np.ndarray) -> None:
        """One step: change the parameters `flat` (P,), modified, by the `gradient` (P,), left as it is.

        Raises ValueError or TypeError where shapes or dtypes of the two, or of the state, differ, or where flat or the state
        are not C-contiguous and writeable.
        """
        if flat.ndim != 1:
            raise ValueError(f"flat must be (P,), got {flat.shape}")
        if not self.arrays or self.age == 0:
            self.arrays = {name: np.full_like(flat, value) for name, value in self.slots.items()}
        for name, a in {"gradient": gradient, **self.arrays}.items():
            checks.shape(a, name, flat.shape, "the shape of flat")
            checks.same_dtype(a, name, flat.dtype, "flat")
        for name, a in {"flat": flat, **self.arrays}.items():
            checks.writeable(a, name, flat)
        arrays = {"p": flat, "g": checks.array(gradient, "gradient"), **self.arrays}
        numbers = self.numbers(self.rate)
        kernels.backend.apply_rule(self._rule(arrays, numbers), numbers, arrays, BLOCK)
        self.steps += 1

    def _rule(self, arrays, numbers) -> Rule:
        if self._traced is None or self._traced[0] != self.options:
            self._traced = (
                dict(self.options),
                trace(type(self).__name__, self.equations, arrays, numbers),
            )
        return self._traced[1]

    def describe(self) -> dict:
        """Type, options and steps done as plain data; the state is in `arrays`."""
        options = {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}
        return {
            "type": type(self).__name__,
            "options": {"lr": schedules.describe(self.lr), **options},
            "steps": self.steps,
        }

    def _gradient(self, a, k) -> Expr:
        """The gradient, that of the L2 penalty `weight_decay` included."""
        return a.g + k.weight_decay * a.p if self.options["weight_decay"] else a.g


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
        super().__init__(
            lr, momentum=momentum, dampening=dampening, nesterov=nesterov, weight_decay=weight_decay
        )
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")

    @property
    def slots(self):
        return {"momentum": 0.0} if self.options["momentum"] else {}

    def numbers(self, lr):
        first = self.steps == 0
        return {**super().numbers(lr), "taken": 1.0 if first else 1 - self.options["dampening"]}

    def equations(self, a, k):
        g = self._gradient(a, k)
        if not self.options["momentum"]:
            return dict(p=a.p - k.lr * g)
        b = k.momentum * a.momentum + k.taken * g
        ahead = g + k.momentum * b if self.options["nesterov"] else b
        return dict(p=a.p - k.lr * ahead, momentum=b)


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
        super().__init__(
            lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    @property
    def slots(self):
        momentum = {"momentum": 0.0} if self.options["momentum"] else {}
        return {"v": 0.0, **momentum, **({"mean": 0.0} if self.options["centered"] else {})}

    def numbers(self, lr):
        return {**super().numbers(lr), "taken": 1 - self.options["alpha"]}

    def equations(self, a, k):
        g = self._gradient(a, k)
        new = dict(v=k.alpha * a.v + k.taken * (g * g))
        spread = new["v"]
        if self.options["centered"]:
            new["mean"] = a.mean + k.taken * (g - a.mean)
            spread = spread - new["mean"] * new["mean"]
        step = g / (sqrt(spread) + k.eps)
        if self.options["momentum"]:
            step = new["momentum"] = k.momentum * a.momentum + step
        return dict(p=a.p - k.lr * step, **new)


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

    def numbers(self, lr):
        return {**super().numbers(lr), "rate": lr / (1 + self.steps * self.options["lr_decay"])}

    def equations(self, a, k):
        g = self._gradient(a, k)
        v = a.v + g * g
        return dict(p=a.p - k.rate * (g / (sqrt(v) + k.eps)), v=v)


class Adam(Optimizer):
    """p -= lr m' / (sqrt(v') + eps), m' and v' the running means of g and g^2 freed of their start at 0 (Kingma, Ba, 2015).

    `amsgrad`: v never falls. `weight_decay`: an L2 penalty in the gradient. `eps_hat`: eps is added to sqrt(v) before that is
    freed of its start, as at the end of the paper's section 2 and in Torch 7. `restart`: m and v begin anew at every step of
    a StepDecay, as they do in torch-rnn.
    """

    decoupled = False

    def __init__(
        self,
        lr: float | schedules.Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        eps_hat: bool = False,
        restart: bool = False,
    ):
        rare = {name: True for name, given in (("eps_hat", eps_hat), ("restart", restart)) if given}
        super().__init__(
            lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, **rare
        )
        if len(betas) != 2 or not all(b < 1 for b in betas):
            raise ValueError(
                f"{type(self).__name__}: betas must be two numbers below 1, got {betas}"
            )

    @property
    def slots(self):
        return {"m": 0.0, "v": 0.0, **({"v_max": 0.0} if self.options["amsgrad"] else {})}

    def numbers(self, lr):
        (beta1, beta2), step = self.options["betas"], self.age + 1
        root = math.sqrt(1 - beta2**step)
        return {
            **super().numbers(lr),
            "eps": self.options["eps"] / root
            if self.options.get("eps_hat")
            else self.options["eps"],
            "taken": 1 - beta1,
            "beta2": beta2,
            "taken2": 1 - beta2,
            "rate": lr / (1 - beta1**step),
            "root": root,
            "shrunk": 1 - lr * self.options["weight_decay"],
        }

    def equations(self, a, k):
        g, p = (a.g, a.p * k.shrunk) if self.decoupled else (self._gradient(a, k), a.p)
        new = dict(m=a.m + k.taken * (g - a.m), v=k.beta2 * a.v + k.taken2 * (g * g))
        v = new["v"]
        if self.options["amsgrad"]:
            v = new["v_max"] = maximum(a.v_max, v)
        return dict(p=p - k.rate * (new["m"] / (sqrt(v) / k.root + k.eps)), **new)


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


def parse(text: str, lr: float | schedules.Schedule) -> Optimizer:
    """An optimiser from "name" or "name:option=value,...", in any case. Raises ValueError that names what is unknown.

    >>> parse("rmsprop:alpha=0.95", 2e-3)
    RMSprop(lr=0.002, alpha=0.95, eps=1e-08, weight_decay=0.0, momentum=0.0, centered=False)
    """
    found, options = spec.read(text, "optimizer", OPTIMIZERS, _numbers_of)
    return found(lr, **options)


def _numbers_of(kind: type[Optimizer]) -> dict[str, str]:
    """Options that are single numbers or yes and no, and their types."""
    given = {
        p.name: getattr(p.annotation, "__name__", p.annotation)
        for p in signature(kind).parameters.values()
    }
    return {name: a for name, a in given.items() if name != "lr" and a in ("float", "bool")}


def build(description: dict, arrays: dict[str, np.ndarray] | None = None) -> Optimizer:
    """The optimiser that `describe` described, with its state. Raises ValueError for a type or state that does not fit."""
    if description["type"] not in OPTIMIZERS:
        raise ValueError(
            f"unknown optimizer {description['type']!r}; known are {', '.join(OPTIMIZERS)}"
        )
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
    Squares are summed in float64, in blocks, so that no number of threads changes a bit. Raises ValueError for a limit that
    is not above 0, TypeError for other dtypes than float32 and float64.
    """
    if not limit > 0:
        raise ValueError(f"limit must be above 0, got {limit}")
    flat = checks.array(gradient, "gradient").reshape(-1)
    sums = np.empty(-(-flat.size // BLOCK))
    kernels.backend.sums_of_squares(flat, BLOCK, sums)
    total = 0.0
    for square in sums.tolist():  # in their order
        total += square
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
