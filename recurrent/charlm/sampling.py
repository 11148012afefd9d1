"""From logits to a symbol: pure filters on one vector of logits (V,), and the draw; from symbol to symbol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..layers.stream import Stream


def temperature(logits: np.ndarray, value: float) -> np.ndarray:
    """Logits (V,) / value: below 1 the likely grow likelier, above 1 all grow alike. Raises ValueError unless positive."""
    if not 0 < value < np.inf:
        raise ValueError(
            f"temperature must be above 0, got {value}; greedy takes the likeliest symbol always"
        )
    return np.asarray(logits, np.float64) / value


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the k likeliest symbols (of equal ones the first), the others get -inf. Raises ValueError for k below 1."""
    if k < 1:
        raise ValueError(f"top_k must be at least 1, got {k}")
    return _keep(logits, np.argsort(-logits, kind="stable")[:k])


def top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest likeliest symbols whose probabilities reach p (nucleus sampling; Holtzman et al., 2020).

    The others get -inf. At least one stays. Raises ValueError for p outside 0 < p <= 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {p}")
    order = np.argsort(-logits, kind="stable")
    reached = np.cumsum(probabilities(logits)[order])
    return _keep(logits, order[: int(np.searchsorted(reached, p * reached[-1])) + 1])


def _keep(logits, ids):
    out = np.full(len(logits), -np.inf)
    out[ids] = logits[ids]
    return out


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits (V,), in float64. Raises FloatingPointError for logits that have no softmax."""
    a = np.asarray(logits, np.float64)
    if not np.isfinite(a.max()):
        raise FloatingPointError(
            "the model's output is not finite: its parameters hold NaN or infinite numbers"
        )
    e = np.exp(a - a.max())
    return e / e.sum()


def choose(
    logits: np.ndarray,
    rng: np.random.Generator,
    value: float = 1.0,
    k: int | None = None,
    p: float | None = None,
    greedy: bool = False,
) -> int:
    """Draw an id: temperature first, then top-k, then top-p; `greedy` takes the first of the likeliest."""
    if greedy:
        return int(np.argmax(probabilities(logits)))
    a = temperature(logits, value)
    a = a if k is None else top_k(a, k)
    a = a if p is None else top_p(a, p)
    reached = np.cumsum(probabilities(a))
    return int(np.searchsorted(reached / reached[-1], rng.random(), side="right"))


def draw(
    stream: Stream,
    V: int,
    length: int,
    prime: Iterable[int],
    rng: np.random.Generator,
    options: dict,
) -> Iterator[int]:
    """`length` ids, each drawn by `choose` with these options from what the stream of a model says after all before it.

    Without a prime the first is drawn uniformly from the V ids.
    """
    logits = None
    for k in prime:
        logits = stream.step(k)
    for _ in range(length):
        k = int(rng.integers(V)) if logits is None else choose(logits, rng, **options)
        yield k
        logits = stream.step(np.int32(k))
