"""The engine's promises: functions of a problem that raise AssertionError if one is broken."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .problem import Problem, flat
from .tolerance import assert_close, assert_same_bits, require


def row(state: Any, n: int) -> Any:
    """Return row n of a state, or of the gradient of one."""
    return None if state is None else type(state)(*[s[n : n + 1] for s in state])


def same_states(actual: Any, expected: Any, what: str = "") -> None:
    """Check that two states, or two Params, are equal bit for bit."""
    for name, a, b in zip(actual._fields, actual, expected, strict=True):
        assert_same_bits(a, b, f"{what} {name}")


def equals_the_interpreter(p: Problem) -> None:
    """Check outputs, states, gates and gradients against the interpreter of the equations."""
    reference = p.engine.reference
    y, final, tape = p.forward(record=True)
    gates = p.engine.cell.gates
    require(
        set(tape.gates) == set(gates),
        f"expected a tape with the gates {', '.join(gates)}, got {', '.join(tape.gates)}",
    )
    expected_y, expected_final, expected_tape = p.forward(reference, record=True)
    assert_close(y, expected_y, p.terms, max(1.0, largest(expected_y)), "y")
    for name, a, b in zip(final._fields, final, expected_final, strict=True):
        assert_close(a, b, p.terms, max(1.0, largest(b)), f"final {name}")
    for actual, expected in (
        (tape.gates, expected_tape.gates),
        (tape.states, expected_tape.states),
    ):
        require(
            set(actual) == set(expected),
            f"expected a tape with {', '.join(expected)}, got {', '.join(actual)}",
        )
        for name, b in expected.items():
            assert_close(actual[name], b, p.terms, max(1.0, largest(b)), name)
    assert_gradients(p.gradients(), p.gradients(reference), p)


def a_row_equals_the_sequence_alone(p: Problem, n: int = 0) -> None:
    """Check that sequence n of the batch gives the same bits on its own, forward and backward."""
    y, final, tape = p.forward(record=True)
    lengths = None if p.lengths is None else p.lengths[n : n + 1]
    y1, final1, tape1 = p.forward(
        x=p.x[:, n : n + 1], state=row(p.state, n), lengths=lengths, record=True
    )
    assert_same_bits(y1[:, 0], y[:, n], "y")
    same_states(row(final, n), final1)
    for gate in tape.gates:
        assert_same_bits(tape1.gates[gate][:, 0], tape.gates[gate][:, n], gate)
    dx, _, d_initial = p.engine.backward(p.dy, tape, p.dstate)
    dx1, _, d_initial1 = p.engine.backward(p.dy[:, n : n + 1], tape1, row(p.dstate, n))
    assert_same_bits(dx1[:, 0], dx[:, n], "dx")
    same_states(row(d_initial, n), d_initial1, "gradient of initial")


def longer_padding_changes_nothing(p: Problem) -> None:
    """Check that more padding, whatever its values, changes no bit of a ragged batch."""
    T = p.case.T
    y, final, _ = p.forward()
    y2, final2, _ = p.forward(x=np.concatenate([p.x, np.full((3, *p.x.shape[1:]), 7, p.x.dtype)]))
    assert_same_bits(y2[:T], y, "y")
    require(not y2[T:].any(), "y at a padded step must be 0")
    same_states(final2, final)


def steps_equal_forward(p: Problem) -> None:
    """Check that `step` and a stepper equal the sequence call, bit for bit; without padding."""
    y, final, _ = p.forward()
    state = p.state
    for t in range(p.case.T):
        state = p.engine.step(p.x[t], state, p.params)
        assert_same_bits(state[0], y[t], f"y of step {t}")
    same_states(state, final)
    stepper, whole = p.engine.stepper(p.params), p.forward(state=None)[0]
    for t in range(p.case.T):
        assert_same_bits(stepper(p.x[t]), whole[t], f"y of step {t} of a stepper")


def two_chunks_equal_one_call(p: Problem, cut: int = 1) -> None:
    """Check that two calls that carry the state equal one call, bit for bit; without padding."""
    y, final, _ = p.forward()
    y1, between, _ = p.forward(x=p.x[:cut])
    y2, final2, _ = p.forward(x=p.x[cut:], state=between)
    assert_same_bits(np.concatenate([y1, y2]), y, "y")
    same_states(final2, final)


def results(p: Problem, **changes: Any) -> list[np.ndarray]:
    """Return all outputs and gradients of a problem, with some arguments of `forward` changed."""
    y, final, _ = p.forward(**changes)
    return [y, *flat(final), *p.gradients(**changes).values()]


def same_results(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Check that two lists from `results` are equal bit for bit."""
    for k, (a, b) in enumerate(zip(actual, expected, strict=True)):
        assert_same_bits(a, b, f"result {k}")


def threads_change_no_bit(p: Problem) -> None:
    """Check that one thread and all of Numba's threads give the same bits."""
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = results(p)
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        same_results(results(p), alone)
    finally:
        numba.set_num_threads(before)


def assert_gradients(actual: dict, expected: dict, problem: Problem) -> None:
    """Check every gradient, by name, within the tolerance of its number of terms.

    The scale of a gradient is its largest entry, but at least the size of a single product: the
    derivative of a saturated gate is the difference of two numbers near 1, so its gradient is
    small by cancellation.
    """
    require(
        set(actual) == set(expected),
        f"expected gradients of {sorted(expected)}, got {sorted(actual)}",
    )
    dy, arguments = largest(*problem.outer_gradients), problem.arguments()
    factor = {
        "x": "W_ih",
        "W_ih": "x",
        "W_ih_reverse": "x",
        "h": "W_hh",
        "h_reverse": "W_hh_reverse",
    }
    for name, e in expected.items():
        by = arguments[factor[name]] if name in factor else np.ones(0)
        # W_hh of an element-wise cell is empty: its h is multiplied by gates alone, like c.
        size = max(largest(e), dy * (largest(by) if by.size else 1.0))
        what = f"gradient of {name} in {problem.case}"
        assert_close(actual[name], e, problem.terms_of(name), size, what)


def largest(*arrays: np.ndarray) -> float:
    """Return the largest magnitude in any of the arrays; 0 if all are empty."""
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)
