"""Sampling from logits: temperature, top-k and nucleus (top-p) sampling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .. import checks
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
    if isinstance(value, (int, float)) and value == 0:
        raise ValueError(
            "temperature must be above 0, got 0; greedy always takes the most likely symbol"
        )
    value = checks.number(value, "temperature", above=0)
    return _doubles(logits) / value


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
    k, logits = checks.integer(k, "top_k", 1), _doubles(logits)
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
    p, logits = checks.number(p, "top_p", above=0, most=1), _doubles(logits)
    order = np.argsort(-logits, kind="stable")
    reached = np.cumsum(probabilities(logits)[order])
    return _keep(logits, order[: int(np.searchsorted(reached, p * reached[-1])) + 1])


def _doubles(logits) -> np.ndarray:
    """Return logits in float64; raise TypeError or ValueError unless they are (V,) numbers."""
    ready = type(logits) is np.ndarray and logits.dtype == np.float64 and logits.ndim == 1
    if ready and logits.size:
        return logits
    a = checks.as_array(logits, "logits")
    if a.dtype.kind not in "fiu":
        raise TypeError(f"logits must be numbers, got {a.dtype.name}")
    if a.ndim != 1 or a.size == 0:
        raise ValueError(f"logits must be (V,) with V at least 1, got {a.shape}")
    return a.astype(np.float64)


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
    a = _doubles(logits)
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
    end: int | None = None,
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
    end : int, optional
        The id that ends the text before its length; it is not yielded.

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
        if k == end:
            return
        yield k
        logits = stream.step(np.int32(k))


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """End a text before the first of some texts that it would contain.

    Parameters
    ----------
    pieces : iterable of str
        The text, as it comes.
    stops : sequence of str
        The texts to end at, none of them empty.

    Yields
    ------
    str
        A piece, as soon as it cannot be the beginning of a text to end at.

    Examples
    --------
    >>> list(until(["a", "b.", ".", "c", "d"], ["..", "dd"]))
    ['a', 'b']
    """
    held = ""
    for piece in pieces:
        held += piece
        found = [at for stop in stops if (at := held.find(stop)) >= 0]
        if found:
            if min(found):
                yield held[: min(found)]
            return
        longest = min(len(held), max(map(len, stops)) - 1)
        begun = (n for n in range(longest, 0, -1) if any(s.startswith(held[-n:]) for s in stops))
        ready = len(held) - next(begun, 0)
        if ready:
            yield held[:ready]
        held = held[ready:]
    if held:
        yield held
