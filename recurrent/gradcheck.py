"""Gradient checks: `backward` against central differences and complex-step derivatives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from . import checks
from .data import Pair
from .engine import ragged
from .engine.bidirectional import Directions
from .engine.engine import Engine
from .equations.cell import Cell
from .layers import Layer, Recurrent, layer_from_cell
from .layers.quantized import refuse_quantized
from .layers.stack import lengths_above
from .models.base import Model
from .models.layered import Layered
from .models.seq2seq import Seq2Seq
from .models.sequential import Sequential

Arrays = dict[str, np.ndarray]

# The step at which truncation and rounding errors of a central difference balance.
STEP = float(np.finfo(np.float64).eps ** (1 / 3))

# The limit of the relative error of each method.
CENTRAL, COMPLEX = 1e-6, 1e-10


class _Method(NamedTuple):
    """A way to differentiate: its name, the limit of its relative error, and its rounding error."""

    name: str
    limit: float
    noise: float = 0.0


class GradientError(ArithmeticError):
    """Raised by `gradcheck` if a gradient differs from the derivative of the loss."""


def complex_step(
    loss: Callable[[Arrays], complex],
    arguments: Arrays,
    chosen: Mapping[str, Iterable] | None = None,
) -> Arrays:
    """Return d loss / d argument by the complex step, Im f(x + ih) / h, exact up to rounding.

    Parameters
    ----------
    loss : callable
        Takes a dict of complex arrays by name and returns the loss.
    arguments : dict of str to ndarray, any shape, float64
        The point at which the loss is differentiated.
    chosen : dict of str to iterable of tuple of int, optional
        The indices to differentiate by, per argument; every entry of every argument by default.

    Returns
    -------
    dict of str to ndarray
        The derivatives, with the shapes of the arguments; NaN at indices that were not chosen.

    References
    ----------
    Squire and Trapp, "Using complex variables to estimate derivatives of real functions" (1998).

    Examples
    --------
    >>> complex_step(lambda a: np.sum(a["x"] ** 2), {"x": np.array([1.0, 3.0])})
    {'x': array([2., 6.])}
    """
    _check_point(loss, arguments, chosen)
    step, values = 1e-30, {n: a.astype(complex) for n, a in arguments.items()}

    def derivative(a, k):
        a[k] += 1j * step
        slope = _number(loss(values)).imag / step
        a[k] = a[k].real
        return slope

    return _each(values, chosen, derivative)


def central_differences(
    loss: Callable[[Arrays], float],
    arguments: Arrays,
    chosen: Mapping[str, Iterable] | None = None,
    step: float = STEP,
) -> Arrays:
    """Return d loss / d argument by central differences, (f(x + h) - f(x - h)) / 2h.

    The arguments are changed in place and restored, so they may be the parameters of a model that
    `loss` runs.

    Parameters
    ----------
    loss : callable
        Takes the arguments and returns the loss.
    arguments : dict of str to ndarray, any shape, float64
        The point at which the loss is differentiated.
    chosen : dict of str to iterable of tuple of int, optional
        The indices to differentiate by, per argument; every entry of every argument by default.
    step : float, default eps^(1/3)
        The step h.

    Returns
    -------
    dict of str to ndarray
        The derivatives, with the shapes of the arguments; NaN at indices that were not chosen.
    """
    _check_point(loss, arguments, chosen)
    for name, a in arguments.items():
        checks.writeable(a, f"arguments[{name!r}]", a)
    step = checks.number(step, "step", above=0)

    def derivative(a, k):
        before, ends = a[k], []
        for side in (step, -step):
            a[k] = before + side
            ends.append(_number(loss(arguments)))
        a[k] = before
        return (ends[0] - ends[1]) / (2 * step)

    return _each(arguments, chosen, derivative)


def _check_point(loss, arguments, chosen):
    checks.function(loss, "loss", "lambda arrays: ...")
    checks.instance(arguments, dict, "arguments", "a dict of arrays by name")
    for name, a in arguments.items():
        checks.instance(a, np.ndarray, f"arguments[{name!r}]", "an array")
        if a.dtype != np.float64:
            raise TypeError(f"arguments[{name!r}] must be float64, got {a.dtype.name}")
    if chosen is None:
        return
    checks.instance(chosen, dict, "chosen", "a dict of indices by name")
    for name, indices in chosen.items():
        if name not in arguments:
            raise ValueError(
                f"chosen must have some of the names {', '.join(arguments)}, "
                f"got {checks.shown(name)}"
            )
        checks.instance(indices, Iterable, f"chosen[{name!r}]", "indices, tuples of int")
        for k in indices:
            fits = isinstance(k, tuple) and len(k) == arguments[name].ndim
            if not fits or not all(
                0 <= i < n for i, n in zip(k, arguments[name].shape, strict=True)
            ):
                raise ValueError(
                    f"chosen[{name!r}] must be indices of an array of shape "
                    f"{arguments[name].shape}, got {checks.shown(k)}"
                )


def _number(value):
    if np.ndim(value) or not isinstance(value, (Number, np.generic, np.ndarray)):
        raise TypeError(f"loss must return a number, got {checks.shown(value)}")
    return value


def _each(arguments, chosen, derivative) -> Arrays:
    out = {}
    for name in arguments if chosen is None else chosen:
        a = arguments[name]
        out[name] = np.full(a.shape, np.nan)
        for k in np.ndindex(a.shape) if chosen is None else chosen[name]:
            out[name][k] = derivative(a, k)
    return out


@dataclass(frozen=True)
class Finding:
    """The largest error of one array's gradient, measured by one method.

    Parameters
    ----------
    name : str
        The array.
    index : tuple of int or None
        The entry; None for the derivative along a direction through all entries.
    gradient : float
        The gradient from `backward`.
    derivative : float
        The derivative by the other method.
    error : float
        Their difference, relative to the largest derivative of the array.
    limit : float
        The largest error allowed.
    witness : str
        The other method: "central difference" or "complex step".
    """

    name: str
    index: tuple[int, ...] | None
    gradient: float
    derivative: float
    error: float
    limit: float
    witness: str

    @property
    def ok(self) -> bool:
        """True if the error is within the limit."""
        return self.error <= self.limit  # false for NaN

    def __str__(self):
        where = (
            "along a direction" if self.index is None else f"[{', '.join(map(str, self.index))}]"
        )
        sign = "within" if self.ok else "above"
        values = f"backward {self.gradient:.10g}, {self.witness} {self.derivative:.10g}"
        error = f"relative error {self.error:.1e}, {sign} {self.limit:.1e}"
        return f"{self.name} {where}: {values}; {error}"


@dataclass(frozen=True)
class GradCheck:
    """The result of `gradcheck`; true if every gradient is right.

    Parameters
    ----------
    findings : tuple of Finding
        The largest error of every array and method.
    """

    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Finding:
        """The finding with the largest error relative to its limit."""
        return max(
            self.findings, key=lambda f: f.error / f.limit if np.isfinite(f.error) else np.inf
        )

    @property
    def ok(self) -> bool:
        """True if every gradient is right."""
        return all(f.ok for f in self.findings)

    def __bool__(self):
        return self.ok

    def __repr__(self):
        return f"<GradCheck of {len(self.findings)} findings: {self}>"

    def __str__(self):
        wrong = sum(not f.ok for f in self.findings)
        verdict = "gradients are right"
        if wrong:
            verdict = f"{wrong} of {len(self.findings)} gradients are wrong"
        return f"{verdict}; the worst: {self.worst}"


def gradcheck(
    subject: Model | Layer | Engine | Cell,
    x: Any,
    loss: Callable | None = None,
    *,
    targets: Any = None,
    lengths: Any = None,
    state: Any = None,
    hidden_size: int = 3,
    entries: int = 40,
    eps: float = STEP,
    seed: int = 0,
    strict: bool = True,
) -> GradCheck:
    """Compare `backward` with derivatives by other methods, for parameters, x and initial state.

    Central differences on the compiled kernels check the whole model. For each recurrent layer a
    complex step on the interpreter of the cell's equations is a second, more exact check. A float64
    copy of the subject is checked, with the same dropout masks in every run; the subject does not
    change. A central difference across the kink of relu or of a maximum is not a derivative: move x
    if one is reported there.

    Parameters
    ----------
    subject : Model, Layer, Engine or Cell
        The object to check. An engine or a cell gets `hidden_size` units with PyTorch's initial
        values.
    x : ndarray, shape (T, N, D), float or (T, N), int; or list of ndarray; or Pair
        The input as `forward` takes it; a Pair for a Seq2Seq.
    loss : callable, optional
        `loss(y)`, or `loss(y, targets, lengths=...)` if there are targets, returns the loss and
        dL/dy. By default a random weighted sum of y and the final state.
    targets : ndarray, shape as `loss` takes it, optional
        The targets.
    lengths : ndarray, shape (N,), int, optional
        The number of valid steps of each sequence; a pair of them for a Seq2Seq.
    state : tuple, optional
        The initial state; random by default. Not for a Seq2Seq.
    hidden_size : int, default 3
        The hidden size if `subject` is an engine or a cell.
    entries : int, default 40
        Arrays with more entries are checked at this many random entries, and along one random
        direction through all of them.
    eps : float, default eps^(1/3)
        The step of the central differences.
    seed : int, default 0
        The seed of entries, directions, states and dropout masks.
    strict : bool, default True
        Raise GradientError if a gradient is wrong.

    Returns
    -------
    GradCheck
        The largest error of each array; true if all are within their limits.

    Raises
    ------
    GradientError
        If a gradient is wrong and `strict` is true; the message names the worst entry.
    TypeError
        If the subject is none of the above, or the loss does not return a pair.

    Examples
    --------
    >>> from recurrent import LSTM, Linear
    >>> result = gradcheck(Sequential(LSTM(2, 3), Linear(3, 1)), np.ones((4, 2)))
    >>> result.ok, result.worst.name in {f.name for f in result.findings}
    (True, True)
    """
    checks.size(hidden_size, "hidden_size")
    entries, seed = checks.size(entries, "entries"), checks.integer(seed, "seed", 0)
    eps, strict = checks.number(eps, "eps", above=0), checks.flag(strict, "strict")
    if loss is not None:
        checks.function(loss, "loss", "losses.mean_squared_error")
    if isinstance(subject, (Model, Layer)):
        refuse_quantized(subject.parameters, "gradcheck needs gradients of")
    model = _twin(subject, x, hidden_size)
    state = None if state is None else checks.per_layer(state, "state", len(model))
    given = subject if isinstance(subject, Model) else model
    x, lengths, listed = given.prepare_input(x, lengths)
    if given.batch_first and targets is not None and not listed:
        targets = given.targets_by_time(targets, x)
    if isinstance(x, dict):
        x = {name: _own(a) for name, a in x.items()}
    else:
        x = Pair(*map(_own, x)) if isinstance(x, Pair) else _own(x)
    if any(a.size == 0 for a in _named(x).values()):
        raise ValueError(f"x must have at least one entry, got {checks.shown(x)}")
    if state is not None:
        state = [_checked_state(model, k, s) for k, s in enumerate(state)]
    problem = _Problem(model, x, lengths, state, loss, targets, seed)
    rng, findings = np.random.default_rng(seed), []
    gradients = problem.gradients()
    chosen = {name: _chosen(a.shape, entries, rng) for name, a in problem.arguments.items()}
    numeric = central_differences(lambda _: problem.value(), problem.arguments, chosen, eps)
    # The loss is a sum of many rounded terms.
    noise = 50 * np.finfo(np.float64).eps * problem.size / eps
    method = _Method("central difference", CENTRAL, noise)
    for name, a in problem.arguments.items():
        g = gradients[name]
        findings.append(_worst(name, g, numeric[name], chosen[name], method))
        if len(chosen[name]) < a.size:
            findings.append(_along(problem, name, a, g, rng, eps, method))
    for k, layer in enumerate(problem.model.layers):
        if isinstance(layer, Recurrent):
            findings += _by_complex_step(problem, k, entries, rng)
    result = GradCheck(tuple(findings))
    if strict and not result.ok:
        raise GradientError(str(result))
    return result


class _Problem:
    """A loss of a float64 model, as a function of arrays that may be changed in place."""

    def __init__(self, model, x, lengths, state, loss, targets, seed):
        self.model, self.x, self.lengths = model, x, lengths
        self.loss, self.targets, self.seed = loss, targets, seed
        rng = np.random.default_rng([seed, 1])
        y, final, _ = self.forward(None)
        self.states: dict[int, Arrays] = {}
        for k, layer in enumerate(model.layers if isinstance(model, Layered) else []):
            if layer.state_delays:
                initial = None if state is None else state[k]
                arrays = layer.state_arrays(final[k] if initial is None else initial)
                scale = 0.5 if initial is None else 0.0
                self.states[k] = {
                    n: (0 if initial is None else a) + scale * rng.standard_normal(a.shape)
                    for n, a in arrays.items()
                }
        outputs = y if isinstance(y, dict) else {"": y}
        dy = {name: rng.standard_normal(a.shape) for name, a in outputs.items()}
        self.dy = dy if isinstance(y, dict) else dy[""]
        self.dstates = {
            k: {n: rng.standard_normal(a.shape) for n, a in s.items()}
            for k, s in self.states.items()
        }
        named_states = {f"state.{k}.{n}": a for k, s in self.states.items() for n, a in s.items()}
        inputs = {n: a for n, a in _named(x).items() if not np.issubdtype(a.dtype, np.integer)}
        self.arguments = {
            n: a for n, a in {**model.parameters, **inputs, **named_states}.items() if a.size
        }
        total = sum(float(np.abs(a).sum()) for a in outputs.values())
        self.size = max(1.0, abs(self.value()), total if loss is None else 0.0)

    def by_layer(self, states):
        """Return states, given by a layer's number and a name, as the model takes them."""
        if not states:
            return None
        return tuple(
            layer.state_from(states[k]) if k in states else None
            for k, layer in enumerate(self.model.layers)
        )

    def state(self):
        return self.by_layer(self.states)

    def same_masks(self):
        """Restart the generator of dropout masks."""
        self.model.generator = np.random.default_rng([self.seed, 2])

    def forward(self, state, record=True):
        self.same_masks()
        return self.model.forward(self.x, state, self.lengths, record=record, training=True)

    def input_of(self, k):
        """Return the input of layer k and its lengths."""
        self.same_masks()
        outputs = self.model.run_layers(
            self.x, self.state(), self.lengths, record=False, training=True
        )[0]
        if isinstance(self.model, Layered):
            x = np.array(self.model.input_of(k, outputs))
            return x, self.model.lengths_of(k, self.lengths)
        first = len(self.model.encoder)
        part = int(k >= first)
        below = self.model.layers[first if part else 0 : k]
        x = np.array(outputs[0][part] if k in (0, first) else outputs[k])
        return x, lengths_above(below, self.lengths[part])

    def loss_of(self, y):
        if self.targets is None:
            result = self.loss(y)
        else:
            result = self.loss(y, self.targets, lengths=self.model.output_lengths(self.lengths))
        return checks.loss_of(result)

    def value(self):
        y, final, _ = self.forward(self.state(), record=False)
        if self.loss is not None:
            return self.loss_of(y)[0]
        return _dot(self.dy, y) + sum(
            _dot(d, self.model[k].state_arrays(final[k])[n])
            for k, s in self.dstates.items()
            for n, d in s.items()
        )

    def gradients(self) -> Arrays:
        y, _, tape = self.forward(self.state())
        dy, dstate = self.dy, None
        if self.loss is None:
            dstate = self.by_layer(self.dstates)
        else:
            dy = self.loss_of(y)[1]
        gradients = self.model.backward(dy, tape, dstate)
        initial = {
            f"state.{k}.{n}": a
            for k in self.states
            for n, a in self.model[k].state_arrays(gradients.state[k]).items()
        }
        return {**gradients.params, **_named(gradients.dx), **initial}


def _checked_state(model, k, state):
    """Return the initial state of a layer as float64 arrays; raise an error unless it is one."""
    layer = model.layers[k]
    if state is None or not isinstance(layer, Recurrent):
        return state
    kind = Directions if layer.bidirectional else layer.engine.State
    parts = state if layer.bidirectional else (state,)
    words = f"a state of {model.where(k)}, as forward returns it"
    checks.instance(parts, tuple, f"state[{k}]", words)
    for part in (state, *parts):
        if not isinstance(part, (tuple, list)):
            checks.instance(part, kind, f"state[{k}]", words)
    if len(parts) != 1 + layer.bidirectional or any(
        len(p) != len(layer.cell.states) for p in parts
    ):
        raise ValueError(f"state[{k}] must be {words}, got {checks.shown(state)}")
    made = [layer.engine.State(*(_doubles(a, f"state[{k}]") for a in p)) for p in parts]
    return Directions(*made) if layer.bidirectional else made[0]


def _doubles(a, name) -> np.ndarray:
    return checks.array(a, name).astype(np.float64)


def _own(x) -> np.ndarray:
    """Return a copy that may be changed: ids as they are, numbers in float64."""
    x = checks.as_array(x, "x").copy()
    if x.dtype.kind not in "iuf":
        raise TypeError(f"x must be float32 or float64, or integer ids, got {x.dtype.name}")
    return x if np.issubdtype(x.dtype, np.integer) else x.astype(np.float64)


def _named(x) -> Arrays:
    """Return an input, or its gradient, by name."""
    if isinstance(x, dict):
        return {f"x.{name}": a for name, a in x.items()}
    return {"x.source": x.source, "x.target": x.target} if isinstance(x, Pair) else {"x": x}


def _twin(subject, x, hidden_size) -> Any:
    """Return a float64 model with the subject's values, which shares no array with it."""
    if isinstance(subject, Seq2Seq):
        encoder = _twin(subject.encoder, x, hidden_size)
        decoder = _twin(subject.decoder, x, hidden_size)
        return Seq2Seq(encoder, decoder, subject.bridge, subject.start, subject.end)
    if isinstance(subject, (Engine, Cell)):
        cell = subject.cell if isinstance(subject, Engine) else subject
        shape = checks.as_array(ragged.pad_sequences(x, None)[0], "x").shape
        if len(shape) not in (2, 3):
            raise ValueError(f"x must be (T, N, D) or (T, D), got {shape}")
        width = shape[-1]
        subject = layer_from_cell(cell, width, hidden_size).initialise(0, "float64")
    if not isinstance(subject, (Layered, Layer)):
        raise TypeError(
            f"subject must be a model, a layer, an engine or a cell, got {type(subject).__name__}"
        )
    layers = []
    for layer in subject.layers if isinstance(subject, Layered) else [subject]:
        twin = copy.copy(layer)
        twin.owner = None
        twin.bind({n: a.astype(np.float64) for n, a in layer.parameters.items()})
        layers.append(twin)
    if isinstance(subject, Layered):
        return subject.rebuilt(layers, "float64")
    return Sequential(*layers, dtype="float64")


def _chosen(shape, entries, rng) -> list[tuple[int, ...]]:
    """Return all indices of a shape, or a random sample of `entries` of them."""
    every = list(np.ndindex(shape))
    if len(every) <= entries:
        return every
    return [every[k] for k in rng.choice(len(every), entries, replace=False)]


def _dot(a, b):
    if isinstance(a, dict):
        return math.fsum(_dot(a[name], b[name]) for name in a)
    return float(np.sum(a * b))


def _finding(name, index, gradient, derivative, scale, method) -> Finding:
    scale = scale or 1.0
    error, limit = abs(gradient - derivative) / scale, method.limit + method.noise / scale
    return Finding(name, index, float(gradient), float(derivative), error, limit, method.name)


def _worst(name, gradient, derivative, chosen, method) -> Finding:
    """Return the finding of the chosen entry with the largest error."""
    checks.shape(gradient, f"the gradient of {name}", derivative.shape, "the shape of its argument")
    scale = max(np.abs(derivative[k]) for k in chosen)
    errors = [np.abs(gradient[k] - derivative[k]) for k in chosen]
    k = chosen[int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))]
    return _finding(name, k, gradient[k], derivative[k], scale, method)


def _along(problem, name, a, gradient, rng, eps, method) -> Finding:
    """Return the finding of the derivative along a random direction through all entries."""
    direction = rng.choice([-1.0, 1.0], a.shape) / np.sqrt(a.size)
    before, ends = a.copy(), []
    for side in (eps, -eps):
        a[...] = before + side * direction
        ends.append(problem.value())
    a[...] = before
    derivative = (ends[0] - ends[1]) / (2 * eps)
    scale = float(np.sqrt(np.mean(np.square(gradient))))
    return _finding(name, None, _dot(gradient, direction), derivative, scale, method)


def _by_complex_step(problem, k, entries, rng) -> list[Finding]:
    """Check a recurrent layer on its input against a complex step on the interpreter."""
    layer = problem.model[k]
    x, lengths = problem.input_of(k)
    state = (layer.state_from(problem.states[k]),) if k in problem.states else None
    alone = _Problem(_twin(layer, x, 0), x, lengths, state, None, None, problem.seed)

    def loss(a):
        params = layer.params_from(
            {n: a.get(f"0.{n}", p.astype(complex)) for n, p in layer.parameters.items()}
        )
        before = layer.state_from({n: a[f"state.0.{n}"] for n in alone.states[0]})
        alone.same_masks()
        runner = alone.model[0].reference_runner(training=True)  # draws the copy's masks
        y, final, _ = runner.forward(a["x"], params, before, alone.lengths)
        ends = layer.state_arrays(final)
        return np.sum(alone.dy * y) + sum(np.sum(d * ends[n]) for n, d in alone.dstates[0].items())

    gradients = alone.gradients()
    chosen = {n: _chosen(a.shape, entries, rng) for n, a in alone.arguments.items()}
    exact = complex_step(loss, alone.arguments, chosen)
    method = _Method("complex step", COMPLEX)
    names = {n: f"layer {k}: {n.removeprefix('0.')}" for n in exact}
    return [_worst(names[n], gradients[n], exact[n], chosen[n], method) for n in exact]
