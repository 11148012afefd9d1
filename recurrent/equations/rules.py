"""The tracer for elementwise rules: what happens to one entry of some arrays, written once as its equations.

A rule is a Python function of scalars, as a cell is; the compiled pass over the arrays and its NumPy form are read from
the graph that it returns. The optimisers are such rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace

from .expressions import Expr, as_expr, fingerprint, topological


@dataclass(frozen=True)
class Rule:
    """A traced rule. Rules of one name with equal equations are equal."""

    name: str
    digest: str  # of the equations: the key of compiled code
    numbers: dict[str, Expr] = field(
        compare=False
    )  # inputs that are the same for all entries, by name
    arrays: dict[str, Expr] = field(
        compare=False
    )  # inputs that every entry has its own of; all arrays that are touched
    results: dict[str, Expr] = field(compare=False)  # new values of arrays, by name


def trace(name: str, equations: Callable, arrays: Iterable[str], numbers: Iterable[str]) -> Rule:
    """The rule that `equations(a, k)` says: from `a.p`, an entry of the array p, and the number `k.lr`, new entries by name.

    Raises ValueError for a result that is none of the arrays.
    """
    a, k = (
        {n: Expr("input", name=f"{space}.{n}") for n in names}
        for space, names in (("a", arrays), ("k", numbers))
    )
    results = {
        n: as_expr(e) for n, e in equations(SimpleNamespace(**a), SimpleNamespace(**k)).items()
    }
    for n in results:
        if n not in a:
            raise ValueError(
                f"rule {name}: the equations return {n}, but the arrays are {', '.join(a)}"
            )
    used = set(topological(results.values()))
    numbers = {n: e for n, e in k.items() if e in used}
    arrays = {n: e for n, e in a.items() if e in used or n in results}
    return Rule(
        name,
        fingerprint(results.values(), list(results), list(arrays), list(numbers)),
        numbers,
        arrays,
        results,
    )
