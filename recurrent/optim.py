"""Optimisers on one flat vector of parameters, and gradient clipping.

Defaults and arithmetic are PyTorch's. An optimiser declares the update of a single entry, as a cell
declares the equations of a single unit. Its compiled form reads and writes each vector once per
update; its NumPy form serves as the reference.
"""

from __future__ import annotations

import inspect
import math
from numbers import Real
from types import SimpleNamespace
from typing import Any, TypeGuard

import numpy as np

from . import checks, kernels, schedules
from .checks.guided import Guided, module_getattr
from .equations.expressions import Expr, maximum, sqrt
from .equations.rules import Rule, trace

BLOCK = 16384  # entries that a thread updates at a time, and entries of one partial sum of a norm

OPTIMIZERS: dict[str, type[Optimizer]] = {}


def _is_schedule(lr: Any) -> TypeGuard[schedules.Schedule]:
    return callable(lr) and not isinstance(lr, type)


def _rate(lr: Any, where: str) -> float:
    """Return a learning rate; raise an error unless it is a finite number of at least 0."""
    if isinstance(lr, (bool, np.bool_)) or not isinstance(lr, Real):
        kind = f"the class {lr.__name__}" if isinstance(lr, type) else type(lr).__name__
        raise TypeError(f"{where}lr must be a number or a schedule, got {kind}")
    return checks.number(lr, "lr", least=0, where=where)


def _spans(parts: Any, size: int) -> list[slice]:
    """Return the slices of `parts`; raise an error unless they divide entries among them."""
    checks.instance(parts, list, "parts", "a list of slices with their learning rates")
    end, spans = 0, []
    for part in parts:
        pair = isinstance(part, tuple) and len(part) == 2
        if not pair or not isinstance(part[0], slice) or part[0].step is not None:
            raise TypeError(
                f"parts must be tuples such as (slice(0, 10), 1e-3), got {checks.shown(part)}"
            )
        start = checks.integer(part[0].start, "parts: the start of a slice", end)
        end = checks.integer(part[0].stop, "parts: the end of a slice", start, size)
        spans.append(part[0])
    return spans


class Optimizer(Guided):
    """Base class of the optimisers.

    A subclass names its state in `slots` and declares the update in `equations`. It is registered
    under its name, which checkpoints refer to.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule: a function of the number of updates made.
    **options : float, bool or tuple of float
        Options of the subclass, at least 0.

    Attributes
    ----------
    steps : int
        Number of updates made.
    arrays : dict of str to ndarray, each of shape (size,)
        State by name, created at the first update.

    Raises
    ------
    ValueError
        If an option is negative.
    TypeError
        If an option is not made of numbers, or if the name of a subclass is taken.

    Examples
    --------
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
        where = f"{type(self).__name__}: "
        self.lr = lr if _is_schedule(lr) else _rate(lr, where)
        self.options = {k: self._option(k, v, where) for k, v in options.items()}
        self.steps = 0
        self.arrays: dict[str, np.ndarray] = {}
        self._traced: tuple[dict, Rule] | None = None

    def _option(self, name, value, where) -> Any:
        """Return an option with Python's numbers: a bool if its default is one, else numbers."""
        signature = inspect.signature(type(self)).parameters
        default = signature[name].default if name in signature else None
        if isinstance(default, bool) or (default is None and isinstance(value, (bool, np.bool_))):
            return checks.flag(value, name, where)
        if isinstance(value, tuple):
            return tuple(checks.number(v, name, least=0, where=where) for v in value)
        return checks.number(value, name, least=0, where=where)

    def __init_subclass__(cls):
        super().__init_subclass__()
        name, place = cls.__name__, (cls.__module__, cls.__qualname__)
        taken = OPTIMIZERS.get(name)
        # A class that is defined again, by a reload or in a notebook, replaces itself.
        if taken is not None and (taken.__module__, taken.__qualname__) != place:
            raise TypeError(
                f"cannot define optimizer class {'.'.join(place)}: the name {name!r} is taken by"
                f" {taken.__module__}.{taken.__qualname__}, and checkpoints refer to it by name"
            )
        OPTIMIZERS[name] = cls

    def __repr__(self):
        options = {"lr": self.lr, **self.options}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in options.items())})"

    @property
    def rate(self) -> float:
        """Learning rate of the next update."""
        lr = self.lr(self.steps) if _is_schedule(self.lr) else self.lr
        return _rate(lr, f"{type(self).__name__}: ")

    @property
    def age(self) -> int:
        """Number of updates since the state was initialised; at 0 the next update initialises it.

        A subclass overrides this to reset its state during training.
        """
        return self.steps

    @property
    def slots(self) -> dict[str, float]:
        """Names of the state arrays, and the initial value of each array's entries."""
        return {}

    def numbers(self, lr: float) -> dict[str, float]:
        """Return the scalars of the next update, which the equations use as `k.lr` and so on.

        Parameters
        ----------
        lr : float
            Learning rate of the next update.

        Returns
        -------
        dict of str to float
            The learning rate, the options that are numbers, and what a subclass adds.
        """
        lr = _rate(lr, f"{type(self).__name__}: ")
        options = {k: v for k, v in self.options.items() if isinstance(v, (int, float))}
        return {"lr": lr, **options}

    def equations(self, a: SimpleNamespace, k: SimpleNamespace) -> dict[str, Expr]:
        """Declare the update of one entry.

        The method is called with symbols, not numbers: once, and again after each change of
        `options`. Numbers that differ between updates belong in `numbers`.

        Parameters
        ----------
        a : SimpleNamespace
            `a.p` is the parameter, `a.g` its gradient, and `a.m` the state m.
        k : SimpleNamespace
            The scalars of `numbers`, such as `k.lr`.

        Returns
        -------
        dict of str to Expr
            The new parameter "p", and the new state by name.
        """
        raise NotImplementedError

    def update(
        self,
        flat: np.ndarray,
        gradient: np.ndarray,
        parts: list[tuple[slice, float]] | None = None,
    ) -> None:
        """Make one update.

        Parameters
        ----------
        flat : ndarray, shape (size,), float32 or float64
            Parameters; modified.
        gradient : ndarray, shape (size,), dtype of `flat`
            Their gradient.
        parts : list of (slice, float), optional
            Slices of `flat`, each with its learning rate. Other entries stay as they are, and so
            does their state. By default all entries are updated at `rate`.

        Raises
        ------
        ValueError
            If shapes differ, if `flat` or the state is not C-contiguous and writeable, or if these
            share memory with each other or the gradient.
        TypeError
            If dtypes differ.
        """
        checks.instance(flat, np.ndarray, "flat", "an array")
        gradient = checks.array(gradient, "gradient")
        if flat.ndim != 1:
            raise ValueError(f"flat must be (P,), got {flat.shape}")
        spans = [slice(None)] if parts is None else _spans(parts, flat.size)
        rates = [self.rate] if parts is None else [rate for _, rate in parts]
        each = [self.numbers(rate) for rate in rates]
        if not self.arrays or self.age == 0:
            self.arrays = {name: np.full_like(flat, value) for name, value in self.slots.items()}
        for name, a in {"gradient": gradient, **self.arrays}.items():
            checks.shape(a, name, flat.shape, "the shape of flat")
            checks.same_dtype(a, name, flat.dtype, "flat")
        for name, a in {"flat": flat, **self.arrays}.items():
            checks.writeable(a, name, flat)
        read = gradient, *self.arrays.values()
        checks.apart((flat,), ("flat",), read, ("gradient", *self.arrays))
        arrays = {"p": flat, "g": gradient, **self.arrays}
        for span, numbers in zip(spans, each, strict=True):
            own = arrays if parts is None else {name: a[span] for name, a in arrays.items()}
            kernels.backend.apply_rule(self._rule(arrays, numbers), numbers, own, BLOCK)
        self.steps += 1

    def _rule(self, arrays, numbers) -> Rule:
        """Return the traced equations, for the options as they are now."""
        if self._traced is None or self._traced[0] != self.options:
            rule = trace(type(self).__name__, self.equations, arrays, numbers)
            self._traced = dict(self.options), rule
        return self._traced[1]

    @property
    def digest(self) -> str | None:
        """Digest of the equations with these options; None for a subclass that has none."""
        if type(self).equations is Optimizer.equations:
            return None
        return self._rule(["p", "g", *self.slots], self.numbers(self.rate)).digest

    def describe(self) -> dict:
        """Describe the optimiser as plain data, without its `arrays`.

        Returns
        -------
        dict
            Type, options and number of updates; `build` makes an equal optimiser of it.
        """
        options = {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}
        return {
            "type": type(self).__name__,
            "options": {"lr": schedules.describe(self.lr), **options},
            "steps": self.steps,
        }

    def _gradient(self, a, k) -> Expr:
        """Return the gradient, including that of the L2 penalty `weight_decay`."""
        return a.g + k.weight_decay * a.p if self.options["weight_decay"] else a.g


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr b, where b is the gradient or its momentum.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule.
    momentum : float
        Factor of the previous b.
    dampening : float
        How much less of each gradient but the first is added to b.
    nesterov : bool
        Use Nesterov momentum: g + momentum b in place of b.
    weight_decay : float
        L2 penalty.

    Raises
    ------
    ValueError
        If an option is negative, or `nesterov` is used without momentum or with dampening.
    """

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
        chosen = self.options
        if chosen["nesterov"] and (chosen["momentum"] == 0 or chosen["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and no dampening, "
                f"got momentum={chosen['momentum']} and dampening={chosen['dampening']}"
            )

    @property
    def slots(self):
        return {"momentum": 0.0} if self.options["momentum"] else {}

    def numbers(self, lr):
        first = self.steps == 0
        return {**super().numbers(lr), "share": 1.0 if first else 1 - self.options["dampening"]}

    def equations(self, a, k):
        g = self._gradient(a, k)
        if not self.options["momentum"]:
            return dict(p=a.p - k.lr * g)
        b = k.momentum * a.momentum + k.share * g
        direction = g + k.momentum * b if self.options["nesterov"] else b
        return dict(p=a.p - k.lr * direction, momentum=b)


class RMSprop(Optimizer):
    """p -= lr g / (sqrt(v) + eps), where v is the running mean of g^2.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule.
    alpha : float
        Decay rate of the running mean.
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty.
    momentum : float
        Momentum of the step.
    centered : bool
        Subtract the square of the running mean of g from v: the variance of g.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: RMSprop", COURSERA: Neural Networks for Machine
    Learning (2012).
    """

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
        return {**super().numbers(lr), "share": 1 - self.options["alpha"]}

    def equations(self, a, k):
        g = self._gradient(a, k)
        new = dict(v=k.alpha * a.v + k.share * (g * g))
        variance = new["v"]
        if self.options["centered"]:
            new["mean"] = a.mean + k.share * (g - a.mean)
            variance = variance - new["mean"] * new["mean"]
        step = g / (sqrt(variance) + k.eps)
        if self.options["momentum"]:
            step = new["momentum"] = k.momentum * a.momentum + step
        return dict(p=a.p - k.lr * step, **new)


class Adagrad(Optimizer):
    """p -= lr g / (sqrt(v) + eps), where v is the sum of all g^2.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule.
    lr_decay : float
        After n updates the rate is divided by 1 + n lr_decay.
    weight_decay : float
        L2 penalty.
    initial_accumulator_value : float
        Initial value of v.
    eps : float
        Added to the denominator.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12 (2011).
    """

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
    """p -= lr m' / (sqrt(v') + eps), where m' and v' are bias-corrected running means of g and g^2.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule.
    betas : tuple of two floats
        Decay rates of the running means m and v, below 1.
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty.
    amsgrad : bool
        Use the maximum of all v so far in place of v.

    Raises
    ------
    ValueError
        If an option is negative, or a decay rate is not below 1.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    decoupled = False  # whether weight decay shrinks the parameters instead of changing g

    def __init__(
        self,
        lr: float | schedules.Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ):
        where = f"{type(self).__name__}: "
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"{where}betas must be two numbers below 1, got {checks.shown(betas)}")
        first, second = (checks.number(b, "betas", least=0, below=1, where=where) for b in betas)
        super().__init__(
            lr, betas=(first, second), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad
        )

    @property
    def slots(self):
        return {"m": 0.0, "v": 0.0, **({"v_max": 0.0} if self.options["amsgrad"] else {})}

    def numbers(self, lr):
        (beta1, beta2), step = self.options["betas"], self.age + 1
        return {
            **super().numbers(lr),
            "share1": 1 - beta1,
            "beta2": beta2,
            "share2": 1 - beta2,
            "rate": lr / (1 - beta1**step),
            "root": math.sqrt(1 - beta2**step),
            "decay": 1 - lr * self.options["weight_decay"],
        }

    def equations(self, a, k):
        g, p = (a.g, a.p * k.decay) if self.decoupled else (self._gradient(a, k), a.p)
        new = dict(m=a.m + k.share1 * (g - a.m), v=k.beta2 * a.v + k.share2 * (g * g))
        v = new["v"]
        if self.options["amsgrad"]:
            v = new["v_max"] = maximum(a.v_max, v)
        return dict(p=p - k.rate * (new["m"] / (sqrt(v) / k.root + k.eps)), **new)


class AdamW(Adam):
    """Adam with decoupled weight decay, which does not enter the running means.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule.
    betas : tuple of two floats
        Decay rates of the running means, below 1.
    eps : float
        Added to the denominator.
    weight_decay : float
        Each update multiplies the parameters by 1 - lr weight_decay.
    amsgrad : bool
        Use the maximum of all v so far in place of v.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

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


def build(description: dict, arrays: dict[str, np.ndarray] | None = None) -> Optimizer:
    """Build an optimiser from its description and state.

    Parameters
    ----------
    description : dict
        The result of `Optimizer.describe`.
    arrays : dict of str to ndarray, each of shape (size,), optional
        Its `arrays`, which are copied.

    Returns
    -------
    Optimizer

    Raises
    ------
    ValueError
        If the type is unknown, the learning rate or another number of the next update is not
        finite, or the arrays are not those of its state.
    """
    name = description["type"]
    if name not in OPTIMIZERS:
        raise ValueError(
            f"unknown optimizer {checks.shown(name)}; known are {', '.join(OPTIMIZERS)}"
        )
    options = dict(description["options"])
    optimizer = OPTIMIZERS[name](schedules.build(options.pop("lr")), **options)
    optimizer.steps = int(description["steps"])
    try:
        numbers = optimizer.numbers(optimizer.rate)
    except ArithmeticError as error:
        raise ValueError(f"{name}: update {optimizer.steps} cannot be computed: {error}") from error
    for key, value in numbers.items():
        checks.number(float(value), f"{name}: {key} of update {optimizer.steps}")
    expected = set(optimizer.slots) if optimizer.steps else set()
    if set(arrays or {}) != expected:
        names = [", ".join(sorted(s)) or "nothing" for s in (expected, arrays or {})]
        raise ValueError(f"state of {name} must be {names[0]}, got {names[1]}")
    optimizer.arrays = {slot: np.array(arrays[slot]) for slot in optimizer.slots if arrays}
    return optimizer


def clip_norm(gradient: np.ndarray, limit: float) -> float:
    """Clip the norm of a gradient, as PyTorch's `clip_grad_norm_`.

    If limit / (norm + 1e-6) is below 1, the gradient is multiplied by it. If the norm is not
    finite, the gradient stays as it is. Squares are summed in float64, in blocks of fixed size, so
    that the result does not depend on the number of threads.

    Parameters
    ----------
    gradient : ndarray, any shape, float32 or float64
        Modified.
    limit : float
        Largest norm.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    ValueError
        If the limit is not above 0.
    TypeError
        If the gradient has another dtype.
    """
    limit = _checked_limit(gradient, limit)
    flat = checks.array(gradient, "gradient").reshape(-1)
    sums = np.empty(-(-flat.size // BLOCK))
    kernels.backend.sums_of_squares(flat, BLOCK, sums)
    total = 0.0
    for square in sums.tolist():
        total += square
    norm = math.sqrt(total)
    factor = limit / (norm + 1e-6)
    if factor < 1 and math.isfinite(norm):
        gradient *= factor
    return norm


def clip_value(gradient: np.ndarray, limit: float) -> None:
    """Clip each entry of a gradient to the range from -limit to limit; NaN stays.

    Parameters
    ----------
    gradient : ndarray, any shape, float32 or float64
        Modified.
    limit : float
        Largest absolute value.

    Raises
    ------
    ValueError
        If the limit is not above 0.
    TypeError
        If the gradient has another dtype.
    """
    limit = _checked_limit(gradient, limit)
    np.clip(gradient, -limit, limit, out=gradient)


def _checked_limit(gradient: Any, limit: Any) -> float:
    """Return the limit, which may be infinite; raise an error unless both can be clipped."""
    checks.instance(gradient, np.ndarray, "gradient", "an array")
    checks.array(gradient, "gradient")
    if not gradient.flags.writeable:
        raise ValueError("gradient must be writeable, got an array that is read-only")
    if isinstance(limit, float) and limit == math.inf:
        return limit
    return checks.number(limit, "limit", above=0)


__getattr__ = module_getattr(__name__)
