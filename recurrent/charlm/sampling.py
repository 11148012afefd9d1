"""Sampling from logits: temperature, top-k and nucleus (top-p) sampling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..layers.stream import Stream


def temperature(logits: np.ndarray, value: float) -> np.ndarray:
    """Divide logits by a temperature: below 1 sharpens the distribution, above 1 flattens it.

    Parameters
    ----------
    logits : ndarray, shape (V,), float
        Logits.
    value : float
        The temperature, above 0.

    Returns
    -------
    ndarray, shape (V,), float64

    Raises
    ------
    ValueError
        If the temperature is not positive and finite.
    """
    if not 0 < value < np.inf:
        raise ValueError(
            f"temperature must be above 0, got {value}; greedy always takes the most likely symbol"
        )
    return np.asarray(logits, np.float64) / value


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the k most likely symbols; the logits of the others become -inf.

    Parameters
    ----------
    logits : ndarray, shape (V,), float
        Logits.
    k : int
        How many to keep; of equal ones the first.

    Returns
    -------
    ndarray, shape (V,), float64

    Raises
    ------
    ValueError
        If k is below 1.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1, got {k}")
    return _keep(logits, np.argsort(-logits, kind="stable")[:k])


def top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Nucleus sampling: keep the fewest most likely symbols whose total probability reaches p.

    Parameters
    ----------
    logits : ndarray, shape (V,), float
        Logits.
    p : float
        The probability to reach, above 0 and at most 1.

    Returns
    -------
    ndarray, shape (V,), float64
        The other symbols get -inf; at least one symbol is kept.

    Raises
    ------
    ValueError
        If p is out of range.

    References
    ----------
    A. Holtzman et al., "The curious case of neural text degeneration", ICLR 2020.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {p}")
    order = np.argsort(-logits, kind="stable")
    reached = np.cumsum(probabilities(logits)[order])
    return _keep(logits, order[: int(np.searchsorted(reached, p * reached[-1])) + 1])


def _keep(logits, ids):
    """Set all logits but those of `ids` to -inf."""
    out = np.full(len(logits), -np.inf)
    out[ids] = logits[ids]
    return out


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Compute the softmax of logits.

    Parameters
    ----------
    logits : ndarray, shape (V,), float
        Logits; -inf is allowed.

    Returns
    -------
    ndarray, shape (V,), float64

    Raises
    ------
    FloatingPointError
        If the largest logit is not finite.
    """
    a = np.asarray(logits, np.float64)
    if not np.isfinite(a.max()):
        raise FloatingPointError(
            "the model's output is not finite: its parameters hold NaN or infinite numbers"
        )
    e = np.exp(a - a.max())
    return e / e.sum()


def sample_id(
    logits: np.ndarray,
    rng: np.random.Generator,
    value: float = 1.0,
    k: int | None = None,
    p: float | None = None,
    greedy: bool = False,
) -> int:
    """Sample an id: temperature first, then top-k, then top-p.

    Parameters
    ----------
    logits : ndarray, shape (V,), float
        Logits.
    rng : numpy.random.Generator
        Gives one random number per call; unused if `greedy`.
    value : float
        The temperature.
    k : int, optional
        Top-k sampling.
    p : float, optional
        Nucleus sampling.
    greedy : bool
        Return the most likely id; the first of those that are equally likely.

    Returns
    -------
    int
    """
    if greedy:
        return int(np.argmax(probabilities(logits)))
    a = temperature(logits, value)
    a = a if k is None else top_k(a, k)
    a = a if p is None else top_p(a, p)
    reached = np.cumsum(probabilities(a))
    return int(np.searchsorted(reached / reached[-1], rng.random(), side="right"))


def generate(
    stream: Stream,
    V: int,
    length: int,
    prime: Iterable[int],
    rng: np.random.Generator,
    options: dict,
) -> Iterator[int]:
    """Generate ids one by one, each sampled from a model's output for the ids before it.

    Parameters
    ----------
    stream : Stream
        A stream of the model.
    V : int
        Size of the vocabulary.
    length : int
        How many ids to generate.
    prime : iterable of int
        Ids that the model reads first. Without any, the first id is sampled uniformly.
    rng : numpy.random.Generator
        Source of random numbers.
    options : dict
        Options of `sample_id`.

    Yields
    ------
    int
        Each id.
    """
    logits = None
    for k in prime:
        logits = stream.step(k)
    for _ in range(length):
        k = int(rng.integers(V)) if logits is None else sample_id(logits, rng, **options)
        yield k
        logits = stream.step(np.int32(k))
