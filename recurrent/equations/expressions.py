"""Expression graphs: scalars that remember how they were computed, their meaning in NumPy, their derivatives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, eq=False)
class Composite:
    """What several nodes of a graph are together, for people: its name, and its formula for each `a` that goes into it."""

    name: str
    formula: str


class Expr:
    """A node of an expression graph: an operation on other nodes, a named input or a constant.

    `part_of` says which composite it belongs to; it changes nothing that is computed.
    """

    __slots__ = ("args", "name", "op", "part_of", "value")

    def __init__(
        self,
        op: str,
        *args: Expr,
        name: str = "",
        value: float = 0.0,
        part_of: Composite | None = None,
    ):
        self.op, self.args, self.name, self.value, self.part_of = op, args, name, value, part_of

    def on(self, *args: Expr) -> Expr:
        """The same operation on other arguments."""
        return (
            self
            if args == self.args
            else Expr(self.op, *args, name=self.name, value=self.value, part_of=self.part_of)
        )

    def __add__(self, other):
        return Expr("add", self, as_expr(other))

    def __radd__(self, other):
        return Expr("add", as_expr(other), self)

    def __sub__(self, other):
        return Expr("sub", self, as_expr(other))

    def __rsub__(self, other):
        return Expr("sub", as_expr(other), self)

    def __mul__(self, other):
        return Expr("mul", self, as_expr(other))

    def __rmul__(self, other):
        return Expr("mul", as_expr(other), self)

    def __truediv__(self, other):
        return Expr("div", self, as_expr(other))

    def __rtruediv__(self, other):
        return Expr("div", as_expr(other), self)

    def __neg__(self):
        return Expr("neg", self)

    def __bool__(self):
        raise TypeError(
            "a cell's equations cannot branch on a value: the kernel computes all units at once; use relu or maximum"
        )

    def _compare(self, other):
        raise TypeError(
            "a cell's equations cannot compare values: there is no branch in a kernel; use relu, maximum or minimum"
        )

    __lt__ = __le__ = __gt__ = __ge__ = _compare

    def __abs__(self):
        return maximum(self, -self)

    def __pow__(self, power):
        if not isinstance(power, int) or not 1 <= power <= 8:
            raise TypeError(
                f"a cell's equations can be raised to whole powers from 1 to 8, got {power!r}; there is exp and sqrt"
            )
        result = self
        for _ in range(power - 1):
            result = result * self
        return result

    def _vector(self, *_):
        raise TypeError(
            "a cell's equations are of one unit, whose values are numbers without axes: neither indices nor @ apply; "
            "all units meet in product, projection and mean"
        )

    __getitem__ = __iter__ = __len__ = __matmul__ = __rmatmul__ = _vector

    def __float__(self):
        raise TypeError(
            "a cell's equations have no values yet: functions of math do not apply; use those of recurrent.cells"
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **_):
        name = ufunc.__name__
        arithmetic = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}
        if name in arithmetic and method == "__call__":  # of a NumPy number and an expression
            return Expr(arithmetic[name], *map(as_expr, inputs))
        raise TypeError(
            f"a cell's equations have no values yet: np.{name} does not apply; use the functions of recurrent.cells"
        )

    def __repr__(self):
        if self.op == "input":
            return self.name
        if self.op == "const":
            return f"{self.value:g}"
        return f"{self.op}({', '.join(map(repr, self.args))})"


def as_expr(x) -> Expr:
    """A number as a constant; an expression as it is. Raises TypeError for anything else."""
    if isinstance(x, Expr):
        return x
    if isinstance(x, (int, float, np.integer, np.floating)):
        return Expr("const", value=float(x))
    raise TypeError(
        f"a cell's equations are made of units' scalars and numbers, got {type(x).__name__}"
    )


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + exp(-x)), computed as 0.5 tanh(0.5 x) + 0.5."""
    return Expr("sigmoid", as_expr(x))


def tanh(x: Expr) -> Expr:
    """Hyperbolic tangent."""
    return Expr("tanh", as_expr(x))


def relu(x: Expr) -> Expr:
    """max(x, 0); NaN stays NaN."""
    return Expr("relu", as_expr(x))


def positive(x: Expr) -> Expr:
    """1 where x > 0, else 0: the derivative of relu."""
    return Expr("positive", as_expr(x))


def exp(x: Expr) -> Expr:
    """e to the power of x; infinite above the dtype's range, 0 below (kernels: already below full precision)."""
    return Expr("exp", as_expr(x))


def sqrt(x: Expr) -> Expr:
    """Square root; NaN below 0. Its derivative is infinite at 0."""
    return Expr("sqrt", as_expr(x))


def maximum(a: Expr, b: Expr) -> Expr:
    """The larger of two; NaN where either is. Where they are equal, the gradient goes to b."""
    return Expr("max", as_expr(a), as_expr(b))


def minimum(a: Expr, b: Expr) -> Expr:
    """The smaller of two; NaN where either is. Where they are equal, the gradient goes to b."""
    return Expr("min", as_expr(a), as_expr(b))


def clip(x: Expr, limit: float) -> Expr:
    """x within -limit and limit; beyond them its derivative is 0."""
    return minimum(maximum(x, -limit), limit)


def softplus(x: Expr) -> Expr:
    """log(1 + exp(x)); x itself where that is large."""
    return Expr("softplus", as_expr(x))


def product(gate: str, vector: Expr) -> Expr:
    """This unit's row `gate` of W_hh times a vector of all units, plus b_hh: as `h.gate`, of something else than h."""
    return Expr("product", as_expr(vector), name=gate)


def projection(vector: Expr) -> Expr:
    """W_hr times a vector of all units: what a cell hands on in its place, P numbers from H units."""
    return Expr("projection", as_expr(vector))


def mean(x: Expr) -> Expr:
    """The mean over all units: the same number for each of them."""
    return Expr("mean", as_expr(x))


class Op(NamedTuple):
    """What an operation computes in NumPy (complex numbers included) and how a gradient passes through it."""

    numpy: Callable
    gradients: Callable  # (result, arguments, gradient of the result) -> gradient of each argument


OPS = {
    "add": Op(np.add, lambda y, a, d: (d, d)),
    "sub": Op(np.subtract, lambda y, a, d: (d, -d)),
    "mul": Op(np.multiply, lambda y, a, d: (d * a[1], d * a[0])),
    "div": Op(np.divide, lambda y, a, d: (d / a[1], -(d * (y / a[1])))),
    "neg": Op(np.negative, lambda y, a, d: (-d,)),
    "tanh": Op(np.tanh, lambda y, a, d: (d * (1 - y * y),)),
    "sigmoid": Op(lambda x: 0.5 * np.tanh(0.5 * x) + 0.5, lambda y, a, d: (d * (y - y * y),)),
    "exp": Op(np.exp, lambda y, a, d: (d * y,)),
    "sqrt": Op(np.sqrt, lambda y, a, d: (d * (0.5 / y),)),
    "max": Op(
        lambda a, b: np.where((a.real > b.real) | (a != a), a, b),
        lambda y, a, d: _to_the_larger(a[0], a[1], d),
    ),
    "min": Op(
        lambda a, b: np.where((a.real < b.real) | (a != a), a, b),
        lambda y, a, d: _to_the_larger(a[1], a[0], d),
    ),
    "softplus": Op(
        lambda x: np.where(x.real > 0, x, 0) + np.log1p(np.exp(np.where(x.real > 0, -x, x))),
        lambda y, a, d: (d - d * exp(-y),),
    ),
    "relu": Op(
        lambda x: np.where(x.real <= 0, x.dtype.type(0), x), lambda y, a, d: (d * positive(y),)
    ),
    "positive": Op(
        lambda x: (x.real > 0).astype(x.dtype), lambda y, a, d: (Expr("const", value=0.0),)
    ),
}


# Operations in which units meet: one needs the values of all. A product needs the weights besides: `evaluate` is told how.
CROSS_UNIT = {
    "mean": Op(lambda x: _mean_of_rows(x), lambda y, a, d: (mean(d),)),
    "product": Op(None, lambda y, a, d: (Expr("product_t", d, name=y.name),)),
    "product_t": Op(None, None),
    "projection": Op(None, lambda y, a, d: (Expr("projection_t", d),)),
    "projection_t": Op(None, None),
}


def _mean_of_rows(x):
    """In the order of the units, whatever the number of rows: `np.sum` pairs them differently for a single one."""
    return np.broadcast_to(
        np.add.accumulate(x, axis=-1)[..., -1:] / x.dtype.type(x.shape[-1]), x.shape
    )


def operation(op: str) -> Op:
    """The operation of a name."""
    return CROSS_UNIT.get(op) or OPS[op]


def _to_the_larger(a, b, d):
    first = positive(a - b)
    return d * first, d * (1 - first)


def topological(roots: Iterable[Expr]) -> list[Expr]:
    """Every node below `roots` once, arguments before the nodes that use them."""
    order, seen = [], set()

    def visit(e):
        if id(e) not in seen:
            seen.add(id(e))
            for a in e.args:
                visit(a)
            order.append(e)

    for root in roots:
        visit(root)
    return order


def composed(composite: Composite, taken: Sequence[Expr], results: Sequence[Expr]) -> list[Expr]:
    """The results, with every operation between them and what is taken marked as part of the composite."""
    known = set(taken)
    for e in topological(results):
        if e.args and e not in known and any(a in known for a in e.args):
            known.add(e)
            e.part_of = composite
    return list(results)


def shared(roots: Iterable[Expr]) -> dict[Expr, Expr]:
    """Of every node below `roots` the one that stands for all equal ones: what is written twice is computed once."""
    kept, first = {}, {}
    for e in topological(roots):
        args = tuple(kept[a] for a in e.args)
        kept[e] = first.setdefault((e.op, e.name, e.value, args), e.on(*args))
    return kept


def evaluate(
    roots: Iterable[Expr], known: dict[Expr, np.ndarray], dtype, products: Callable | None = None
) -> list[np.ndarray]:
    """Interpret expressions with NumPy. `known` gives the inputs, and any other node whose value is at hand.

    `products(e, vector)`: the value of a product.
    """
    values = dict(known)

    def value(e):
        if e not in values:
            if e.op == "input":
                raise KeyError(f"no value for the input {e.name!r}")
            if e.op == "const":
                values[e] = np.asarray(e.value, dtype)
            elif operation(e.op).numpy is None:
                values[e] = products(e, value(e.args[0]))
            else:
                values[e] = operation(e.op).numpy(*[value(a) for a in e.args])
        return values[e]

    return [value(e) for e in roots]


def fingerprint(roots: Iterable[Expr], *about) -> str:
    """Identifies what is computed, whatever it is called: the same for equal graphs with equal names of inputs.

    `about`: plain values that belong to it.
    """
    roots = list(roots)
    number, lines = {}, []
    for e in topological(roots):
        number[e] = len(number)
        lines.append((e.op, e.name, e.value, tuple(number[a] for a in e.args)))
    text = repr((*about, lines, [number[e] for e in roots]))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
