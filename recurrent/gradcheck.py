"""Derivatives of a program by two other ways than reverse mode, and `gradcheck`, which compares the three."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import checks
from .data import Pair
from .engine import ragged
from .engine.engine import Engine
from .equations.cell import Cell
from .layers import Layer, Recurrent, layer_from_cell
from .models.base import Model
from .models.seq2seq import Seq2Seq
from .models.sequential import Sequential

Arrays = dict[str, np.ndarray]

STEP = float(
    np.finfo(np.float64).eps ** (1 / 3)
)  # where truncation and rounding of a central difference balance
CENTRAL, COMPLEX = (
    1e-6,
    1e-10,
)  # how far gradients may be from each witness, in parts of the array's largest


class GradientError(ArithmeticError):
    """A gradient is not the derivative of what was computed."""


def complex_step(
    loss: Callable[[Arrays], complex], arguments: Arrays, chosen: dict[str, Iterable] | None = None
) -> Arrays:
    """d loss / d argument for every entry: Im f(x + ih) / h, exact to rounding because nothing is subtracted.

    `loss` takes complex arrays by name. `chosen`: which indices of which arguments, others are NaN; all if None.
    """
    step, values = 1e-30, {n: a.astype(complex) for n, a in arguments.items()}

    def derivative(a, k):
        a[k] += 1j * step
        found = loss(values).imag / step
        a[k] = a[k].real
        return found

    return _each(values, chosen, derivative)


def central_differences(
    loss: Callable[[Arrays], float],
    arguments: Arrays,
    chosen: dict[str, Iterable] | None = None,
    step: float = STEP,
) -> Arrays:
    """d loss / d argument for every entry: (f(x + h) - f(x - h)) / 2h with h = `step`; as `complex_step`, in float64.

    The arguments are changed in place while it runs, so that they may be the parameters of what `loss` runs.
    """

    def derivative(a, k):
        before, ends = a[k], []
        for side in (step, -step):
            a[k] = before + side
            ends.append(loss(arguments))
        a[k] = before
        return (ends[0] - ends[1]) / (2 * step)

    return _each(arguments, chosen, derivative)


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
    """The worst of what one witness says of one array."""

    name: str
    index: tuple[int, ...] | None  # None: along a direction through all entries
    gradient: float  # what backward says
    derivative: float  # what the witness says
    error: float  # their difference, in parts of the largest gradient of the array
    limit: float
    witness: str

    @property
    def ok(self) -> bool:
        """Whether the two agree."""
        return self.error <= self.limit  # NaN does not

    def __str__(self):
        where = (
            "along a direction" if self.index is None else f"[{', '.join(map(str, self.index))}]"
        )
        sign = "within" if self.ok else "above"
        values = f"backward {self.gradient:.10g}, {self.witness} {self.derivative:.10g}"
        return f"{self.name} {where}: {values}; relative error {self.error:.1e}, {sign} {self.limit:.1e}"


@dataclass(frozen=True)
class GradCheck:
    """What `gradcheck` found: the worst entry of every array and witness."""

    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Finding:
        """The one farthest beyond its limit, or nearest to it."""
        return max(
            self.findings, key=lambda f: f.error / f.limit if np.isfinite(f.error) else np.inf
        )

    @property
    def ok(self) -> bool:
        """Whether every gradient is right."""
        return all(f.ok for f in self.findings)

    def __bool__(self):
        return self.ok

    def __str__(self):
        wrong = sum(not f.ok for f in self.findings)
        verdict = (
            "gradients are right"
            if self.ok
            else f"{wrong} of {len(self.findings)} gradients are wrong"
        )
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
    """Compare `backward` with derivatives that use none of it, for every parameter, x and the initial state.

    `subject`: a model, a layer, an engine, or a cell, which is given `hidden_size` units and PyTorch's initial weights. It is
    not changed: a float64 copy with its values is checked. Witnesses: central differences of step `eps` on the compiled
    kernels through the whole model, and for recurrent layers a complex step on the interpreter of the cell's equations.

    x: as `forward` takes it, and so are `lengths`: pairs for a Seq2Seq, which takes no `state`. `loss(y)`, or
    `loss(y, targets, lengths=...)` if there are targets, gives the value and dL/dy; without one the loss is a random sum over
    y and the final state. `state`: the initial one; random numbers if None.
    Dropout acts with the same masks in every run, those of `seed`.

    Arrays of more than `entries` entries are checked in so many of them, drawn from `seed`, and along one direction through
    all. Returns a GradCheck, true if all is right. Raises GradientError, which names the worst entry, unless `strict` is false.
    A central difference across the kink of relu or of a maximum is no derivative: move x if one is reported there.

    >>> from recurrent import LSTM, Linear
    >>> result = gradcheck(Sequential(LSTM(2, 3), Linear(3, 1)), np.ones((4, 2)))
    >>> result.ok, result.worst.name in {f.name for f in result.findings}
    (True, True)
    """
    model = _twin(subject, x, hidden_size)
    x, lengths, _ = model.prepare_input(x, lengths)
    x = Pair(*map(_own, x)) if isinstance(x, Pair) else _own(x)
    problem = _Problem(model, x, lengths, state, loss, targets, seed)
    rng, findings = np.random.default_rng(seed), []
    gradients = problem.gradients()
    chosen = {name: _chosen(a.shape, entries, rng) for name, a in problem.arguments.items()}
    numeric = central_differences(lambda _: problem.value(), problem.arguments, chosen, eps)
    # What rounding alone can do: the loss is a sum of many terms.
    noise = 50 * np.finfo(np.float64).eps * problem.size / eps
    for name, a in problem.arguments.items():
        g = gradients[name]
        findings.append(
            _worst(name, g, numeric[name], chosen[name], CENTRAL, noise, "central difference")
        )
        if len(chosen[name]) < a.size:
            findings.append(_along(problem, name, a, g, rng, eps, noise))
    for k, layer in enumerate(problem.model.layers):
        if isinstance(layer, Recurrent):
            findings += _by_complex_step(problem, k, entries, rng)
    result = GradCheck(tuple(findings))
    if strict and not result.ok:
        raise GradientError(str(result))
    return result


class _Problem:
    """One loss of a float64 model, as a function of arrays that may be changed in place."""

    def __init__(self, model, x, lengths, state, loss, targets, seed):
        self.model, self.x, self.lengths, self.loss, self.targets, self.seed = (
            model,
            x,
            lengths,
            loss,
            targets,
            seed,
        )
        rng = np.random.default_rng([seed, 1])
        y, final, _ = self.forward(None)
        self.states: dict[int, Arrays] = {}
        for k, layer in enumerate(model.layers if isinstance(model, Sequential) else []):
            if isinstance(layer, Recurrent):
                given = None if state is None else state[k]
                arrays = layer.state_arrays(final[k] if given is None else given)
                scale = 0.5 if given is None else 0.0
                self.states[k] = {
                    n: (0 if given is None else a) + scale * rng.standard_normal(a.shape)
                    for n, a in arrays.items()
                }
        self.dy = rng.standard_normal(y.shape)
        self.dstates = {
            k: {n: rng.standard_normal(a.shape) for n, a in s.items()}
            for k, s in self.states.items()
        }
        named_states = {f"state.{k}.{n}": a for k, s in self.states.items() for n, a in s.items()}
        inputs = {n: a for n, a in _named(x).items() if not np.issubdtype(a.dtype, np.integer)}
        self.arguments = {
            n: a for n, a in {**model.parameters, **inputs, **named_states}.items() if a.size
        }
        self.size = max(1.0, abs(self.value()), float(np.abs(y).sum()) if loss is None else 0.0)

    def state(self):
        if not self.states:
            return None
        layers = self.model.layers
        return tuple(
            layer.state_from(self.states[k]) if k in self.states else None
            for k, layer in enumerate(layers)
        )

    def same_masks(self):
        """Start dropout's generator again."""
        self.model.generator = np.random.default_rng([self.seed, 2])

    def forward(self, state, record=True):
        self.same_masks()
        return self.model.forward(self.x, state, self.lengths, record=record, training=True)

    def reaching(self, k):
        """What goes into layer k, and its lengths."""
        self.same_masks()
        outputs = self.model.run_layers(
            self.x, self.state(), self.lengths, record=False, training=True
        )[0]
        if not isinstance(self.model, Seq2Seq):
            return np.array(outputs[k]), self.lengths
        first = len(self.model.encoder)
        part = int(k >= first)
        return np.array(outputs[0][part] if k in (0, first) else outputs[k]), self.lengths[part]

    def loss_of(self, y):
        given = {} if self.targets is None else {"lengths": self.model.output_lengths(self.lengths)}
        found = self.loss(y, *([] if self.targets is None else [self.targets]), **given)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(
                f"the loss must return its value and its gradient with respect to y, got {type(found).__name__}"
            )
        return found

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
            layers = self.model.layers
            ends = [
                layer.state_from(self.dstates[k]) if k in self.dstates else None
                for k, layer in enumerate(layers)
            ]
            dstate = tuple(ends) if self.dstates else None
        else:
            dy = self.loss_of(y)[1]
        found = self.model.backward(dy, tape, dstate)
        initial = {
            f"state.{k}.{n}": a
            for k in self.states
            for n, a in self.model[k].state_arrays(found.state[k]).items()
        }
        return {**found.params, **_named(found.dx), **initial}


def _own(x) -> np.ndarray:
    """A copy that may be changed: ids, or numbers in float64."""
    x = np.array(x)
    return x if np.issubdtype(x.dtype, np.integer) else x.astype(np.float64)


def _named(x) -> Arrays:
    """An input or its gradient by name."""
    return {"x.source": x.source, "x.target": x.target} if isinstance(x, Pair) else {"x": x}


def _twin(subject, x, hidden_size) -> Model:
    """A float64 model with the subject's values, that shares nothing that is written."""
    if isinstance(subject, Seq2Seq):
        parts = (_twin(part, x, hidden_size) for part in (subject.encoder, subject.decoder))
        return Seq2Seq(*parts, subject.bridge, subject.start, subject.end)
    if isinstance(subject, (Engine, Cell)):
        cell = subject.cell if isinstance(subject, Engine) else subject
        width = np.shape(ragged.pad_sequences(x, None)[0])[-1]
        subject = layer_from_cell(cell, width, hidden_size).initialise(0, "float64")
    if not isinstance(subject, (Sequential, Layer)):
        raise TypeError(
            f"gradcheck takes a model, a layer, an engine or a cell, got {type(subject).__name__}"
        )
    layers = []
    for layer in subject.layers if isinstance(subject, Sequential) else [subject]:
        twin = copy.copy(layer)
        twin.owner = None
        twin.bind({n: a.astype(np.float64) for n, a in layer.parameters.items()})
        layers.append(twin)
    return Sequential(*layers, dtype="float64")


def _chosen(shape, entries, rng) -> list[tuple[int, ...]]:
    every = list(np.ndindex(shape))
    return (
        every
        if len(every) <= entries
        else [every[k] for k in rng.choice(len(every), entries, replace=False)]
    )


def _dot(a, b):
    return float(np.sum(a * b))


def _finding(name, index, gradient, derivative, scale, limit, noise, witness) -> Finding:
    scale = scale or 1.0
    return Finding(
        name,
        index,
        float(gradient),
        float(derivative),
        abs(gradient - derivative) / scale,
        limit + noise / scale,
        witness,
    )


def _worst(name, gradient, derivative, chosen, limit, noise, witness) -> Finding:
    checks.shape(gradient, f"the gradient of {name}", derivative.shape, "the shape of its argument")
    scale = max(np.abs(derivative[k]) for k in chosen)
    off = [np.abs(gradient[k] - derivative[k]) for k in chosen]
    k = chosen[int(np.argmax(np.where(np.isnan(off), np.inf, off)))]
    return _finding(name, k, gradient[k], derivative[k], scale, limit, noise, witness)


def _along(problem, name, a, gradient, rng, eps, noise) -> Finding:
    direction = rng.choice([-1.0, 1.0], a.shape) / np.sqrt(a.size)
    before, ends = a.copy(), []
    for side in (eps, -eps):
        a[...] = before + side * direction
        ends.append(problem.value())
    a[...] = before
    derivative = (ends[0] - ends[1]) / (2 * eps)
    scale = float(np.sqrt(np.mean(np.square(gradient))))
    return _finding(
        name,
        None,
        _dot(gradient, direction),
        derivative,
        scale,
        CENTRAL,
        noise,
        "central difference",
    )


def _by_complex_step(problem, k, entries, rng) -> list[Finding]:
    """A recurrent layer on what reaches it, against a complex step on the interpreter of its cell's equations."""
    layer = problem.model[k]
    x, lengths = problem.reaching(k)
    state = (layer.state_from(problem.states[k]),) if k in problem.states else None
    alone = _Problem(_twin(layer, x, 0), x, lengths, state, None, None, problem.seed)

    def loss(a):
        params = layer.params_from(
            {n: a.get(f"0.{n}", p.astype(complex)) for n, p in layer.parameters.items()}
        )
        before = layer.state_from({n: a[f"state.0.{n}"] for n in alone.states[0]})
        alone.same_masks()
        y, final, _ = (
            alone.model[0]
            .reference_runner(training=True)
            .forward(a["x"], params, before, alone.lengths)
        )
        ends = layer.state_arrays(final)
        return np.sum(alone.dy * y) + sum(np.sum(d * ends[n]) for n, d in alone.dstates[0].items())

    gradients = alone.gradients()
    chosen = {n: _chosen(a.shape, entries, rng) for n, a in alone.arguments.items()}
    exact = complex_step(loss, alone.arguments, chosen)
    return [
        _worst(
            f"layer {k}: {n.removeprefix('0.')}",
            gradients[n],
            exact[n],
            chosen[n],
            COMPLEX,
            0.0,
            "complex step",
        )
        for n in exact
    ]
