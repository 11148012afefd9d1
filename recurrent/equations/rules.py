"""The tracer for elementwise rules: equations that update one entry of some arrays.

As with a cell, the equations are a Python function of scalars, and the compiled kernel and its
NumPy form are derived from the graph that it returns. The optimisers are such rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace

from .expressions import Expr, as_expr, fingerprint, topological


@dataclass(frozen=True)
class Rule:
    """A traced rule. Rules of one name are equal if their equations are."""

    name: str
    digest: str  # digest of the equations, the key of compiled code
    numbers: dict[str, Expr] = field(compare=False)  # inputs that are the same for all entries
    arrays: dict[str, Expr] = field(compare=False)  # inputs with a value per entry, and outputs
    results: dict[str, Expr] = field(compare=False)  # new entries by the name of the array


def trace(name: str, equations: Callable, arrays: Iterable[str], numbers: Iterable[str]) -> Rule:
    """Return the rule with these equations.

    `equations(a, k)` receives an entry of each array (`a.p`) and the numbers (`k.lr`), and returns
    a dict of new entries by the name of the array. Raises ValueError for any other name.
    """
    entries = {n: Expr("input", name=f"a.{n}") for n in arrays}
    scalars = {n: Expr("input", name=f"k.{n}") for n in numbers}
    values = equations(SimpleNamespace(**entries), SimpleNamespace(**scalars))
    results = {n: as_expr(e) for n, e in values.items()}
    for n in results:
        if n not in entries:
            raise ValueError(
                f"rule {name}: the equations return {n!r}, but the arrays are {', '.join(entries)}"
            )
    used = set(topological(results.values()))
    scalars = {n: e for n, e in scalars.items() if e in used}
    entries = {n: e for n, e in entries.items() if e in used or n in results}
    digest = fingerprint(results.values(), list(results), list(entries), list(scalars))
    return Rule(name, digest, scalars, entries, results)
