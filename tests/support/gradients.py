"""Derivatives by other methods than reverse mode, and checks of gradients against them."""

import numpy as np

from recurrent.conformance.promises import assert_gradients as assert_gradients
from recurrent.conformance.tolerance import tolerance
from recurrent.gradcheck import complex_step as complex_step_of


def complex_step(problem):
    """Return d loss / d argument for every entry, by complex step on the interpreter."""
    return complex_step_of(lambda a: problem.loss(a, problem.engine.reference), problem.arguments())


def complex_projection(problem, direction):
    """Return the derivative along a direction in all arguments together, on the interpreter."""
    step = 1e-30
    arguments = {n: a + 1j * step * direction[n] for n, a in problem.arguments().items()}
    return problem.loss(arguments, problem.engine.reference).imag / step


def central_projection(problem, direction):
    """Return the derivative along a direction by central differences on the engine, and its error.

    Truncation and rounding errors balance at a step of eps^(1/3), where each is about eps^(2/3) of
    the size of the loss.
    """
    step = np.finfo(np.float64).eps ** (1 / 3)
    length = np.sqrt(sum(np.sum(d * d) for d in direction.values()))
    step /= max(1.0, length)

    def at(s):
        return problem.loss({n: a + s * direction[n] for n, a in problem.arguments().items()})

    size = np.sqrt(sum(np.sum(d * d) for d in problem.outer_gradients)) * max(1.0, length)
    bound = size * tolerance(np.float64, problem.terms) / step + size * (step * length) ** 2
    return (at(step) - at(-step)) / (2 * step), bound


def random_direction(problem, seed=1):
    """Return a random direction in all arguments."""
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(a.shape) for n, a in problem.arguments().items()}


def assert_projection(gradients, problem, direction):
    """Check the derivative along `direction` against a complex step on the interpreter."""
    parts = {n: gradients[n] * d for n, d in direction.items()}
    size = np.sqrt(sum(np.sum(a * a) for a in parts.values()))
    terms = problem.terms_of("W_hh") + sum(a.size for a in parts.values())
    actual = sum(np.sum(a) for a in parts.values())
    expected = complex_projection(problem, direction)
    # Where a unit saturates, its slope, such as 1 - tanh(a)^2, has an absolute error of about eps.
    outer = np.sqrt(sum(np.sum(d * d) for d in problem.outer_gradients))
    length = np.sqrt(sum(np.sum(d * d) for d in direction.values()))
    bound = tolerance(np.float64, terms, size) + np.finfo(np.float64).eps * outer * length
    assert abs(actual - expected) <= bound, (
        f"gradient along a direction: {actual}, not {expected}, in {problem.case}"
    )


def assert_central(gradients, problem, direction):
    """Check the derivative along `direction` against central differences on the engine."""
    actual = sum(np.sum(gradients[n] * d) for n, d in direction.items())
    expected, bound = central_projection(problem, direction)
    assert abs(actual - expected) <= bound, (
        f"gradient along a direction: {actual}, not {expected}, in {problem.case}"
    )


def same_side_of_the_kink(engine, y, other):
    """Return whether two programs agree on which relu units are active.

    If rounding decides the sign of a pre-activation, the gradients cannot be compared.
    """
    return engine.name not in ("rnn_relu", "indrnn") or np.array_equal(y > 0, other > 0)
