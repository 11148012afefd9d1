"""Gradients by two other ways than reverse mode, and the one function that compares gradients."""

import numpy as np
from tolerance import assert_close, tolerance

from recurrent import derivatives


def complex_step(problem):
    """d loss / d argument for every entry, on the interpreter of the cell's expression graph; needs float64."""
    return derivatives.complex_step(lambda a: problem.loss(a, problem.engine.reference), problem.arguments())


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


def assert_gradients(actual, expected, problem):
    """Every gradient by name within the tolerance of its number of terms.

    The size of the sums is that of the largest entry, but not less than that of a single product: where a gate is
    saturated its derivative is the difference of two numbers near 1, and the gradient small by cancellation.
    """
    assert set(actual) == set(expected), f"gradients of {sorted(actual)} where {sorted(expected)} are expected"
    dy, arguments = largest(*problem.arriving), problem.arguments()
    factor = {"x": "W_ih", "W_ih": "x", "W_ih_reverse": "x", "h": "W_hh", "h_reverse": "W_hh_reverse"}
    for name, e in expected.items():
        size = max(largest(e), dy * largest(arguments[factor[name]] if name in factor else np.ones(1)))
        assert_close(actual[name], e, problem.terms_of(name), size, f"gradient of {name} in {problem.case}")


def largest(*arrays):
    """The largest magnitude in any of the arrays; 0 where they are empty."""
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)


def assert_projection(gradients, problem, direction):
    """The derivative along `direction` that these gradients claim is that of the interpreter, by a complex step."""
    parts = {n: gradients[n] * d for n, d in direction.items()}
    size = np.sqrt(sum(np.sum(a * a) for a in parts.values()))
    terms = problem.terms_of("W_hh") + sum(a.size for a in parts.values())
    actual, expected = sum(np.sum(a) for a in parts.values()), complex_projection(problem, direction)
    bound = tolerance(np.float64, terms, size)
    assert abs(actual - expected) <= bound, f"gradient along a direction: {actual}, not {expected}, in {problem.case}"


def assert_central(gradients, problem, direction):
    """The derivative along `direction` that these gradients claim is that of the engine, by central differences."""
    actual = sum(np.sum(gradients[n] * d) for n, d in direction.items())
    expected, bound = central_projection(problem, direction)
    assert abs(actual - expected) <= bound, f"gradient along a direction: {actual}, not {expected}, in {problem.case}"


def same_side_of_the_kink(engine, y, other):
    """Whether two programs agree on which units of relu are on: its derivative jumps where they do not.

    A draw with a pre-activation so near to 0 that rounding decides is ill-conditioned; its gradients say nothing.
    """
    return engine.name != "rnn_relu" or np.array_equal(y > 0, other > 0)
