"""Gradients by two other ways than reverse mode, and the one function that compares gradients."""

import numpy as np

from recurrent.conformance.promises import assert_gradients as assert_gradients
from recurrent.conformance.tolerance import tolerance
from recurrent.gradcheck import complex_step as complex_step_of


def complex_step(problem):
    """d loss / d argument for every entry, on the interpreter of the cell's expression graph; needs float64."""
    return complex_step_of(lambda a: problem.loss(a, problem.engine.reference), problem.arguments())


def complex_projection(problem, direction):
    """d loss along one direction in all arguments together, on the interpreter."""
    step = 1e-30
    arguments = {n: a + 1j * step * direction[n] for n, a in problem.arguments().items()}
    return problem.loss(arguments, problem.engine.reference).imag / step


def central_projection(problem, direction):
    """d loss along one direction, by central differences on the engine itself, and how far that can be off.

    Truncation and rounding balance at a step of eps^(1/3): each is then about eps^(2/3) of the loss's size.
    """
    step = np.finfo(np.float64).eps ** (1 / 3)
    length = np.sqrt(sum(np.sum(d * d) for d in direction.values()))
    step /= max(1.0, length)

    def at(s):
        return problem.loss({n: a + s * direction[n] for n, a in problem.arguments().items()})

    weights = problem.arriving
    size = np.sqrt(sum(np.sum(w * w) for w in weights)) * max(1.0, length)
    bound = size * tolerance(np.float64, problem.terms) / step + size * (step * length) ** 2
    return (at(step) - at(-step)) / (2 * step), bound


def random_direction(problem, seed=1):
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(a.shape) for n, a in problem.arguments().items()}


def assert_projection(gradients, problem, direction):
    """The derivative along `direction` that these gradients claim is that of the interpreter, by a complex step."""
    parts = {n: gradients[n] * d for n, d in direction.items()}
    size = np.sqrt(sum(np.sum(a * a) for a in parts.values()))
    terms = problem.terms_of("W_hh") + sum(a.size for a in parts.values())
    actual, expected = (
        sum(np.sum(a) for a in parts.values()),
        complex_projection(problem, direction),
    )
    bound = tolerance(np.float64, terms, size)
    assert abs(actual - expected) <= bound, (
        f"gradient along a direction: {actual}, not {expected}, in {problem.case}"
    )


def assert_central(gradients, problem, direction):
    """The derivative along `direction` that these gradients claim is that of the engine, by central differences."""
    actual = sum(np.sum(gradients[n] * d) for n, d in direction.items())
    expected, bound = central_projection(problem, direction)
    assert abs(actual - expected) <= bound, (
        f"gradient along a direction: {actual}, not {expected}, in {problem.case}"
    )


def same_side_of_the_kink(engine, y, other):
    """Whether two programs agree on which units of relu are on: its derivative jumps where they do not.

    A draw with a pre-activation so near to 0 that rounding decides is ill-conditioned; its gradients say nothing.
    """
    return engine.name not in ("rnn_relu", "indrnn") or np.array_equal(y > 0, other > 0)
