"""Expression graphs of scalars: their operations, derivatives, evaluation with NumPy and digest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import checks

MOST_ANGLE = 1e6  # of sin and cos: kernels reduce larger arguments with too few digits of pi
MOST_FACTORS = 64  # of an integer power; a larger one is exp(power log(x))


@dataclass(frozen=True, eq=False)
class Composite:
    """A named group of nodes that pictures show as one; `formula` is in terms of its input `a`."""

    name: str
    formula: str


class Expr:
    """A node of an expression graph: an operation on other nodes, a named input or a constant.

    `part_of` is the composite that the node belongs to; it does not affect any value.
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

    def with_args(self, *args: Expr) -> Expr:
        """Return the same operation on other arguments."""
        if args == self.args:
            return self
        return Expr(self.op, *args, name=self.name, value=self.value, part_of=self.part_of)

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
            "a cell's equations cannot branch on a value, because kernels compute many units at "
            "once; use where(a > b, x, y), maximum or minimum, and multiply comparisons for `and`"
        )

    def __gt__(self, other):
        return Expr("greater", self, as_expr(other))

    def __lt__(self, other):
        return Expr("greater", as_expr(other), self)

    def __ge__(self, other):
        return Expr("at_least", self, as_expr(other))

    def __le__(self, other):
        return Expr("at_least", as_expr(other), self)

    def _equal(self):
        raise TypeError(
            "a cell's equations cannot compare values for equality, which rounding decides; "
            "use >, >=, < or <="
        )

    def __eq__(self, other):
        return self is other or (not isinstance(other, Expr) and self._equal())

    __hash__ = object.__hash__

    def _unknown(self, *_):
        raise TypeError(
            "values in a cell's equations are symbolic and have +, -, *, /, %, **, abs, >, >=, < "
            "and <= only; use the functions of recurrent.cells for others: x - x % 1 rounds down; "
            "for comparisons, a * b is `and`, maximum(a, b) is `or`, 1 - a is `not`"
        )

    __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = _unknown
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __invert__ = _unknown
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _unknown
    __round__ = __trunc__ = __floor__ = __ceil__ = _unknown

    def __mod__(self, other):
        return Expr("remainder", self, as_expr(other))

    def __rmod__(self, other):
        return Expr("remainder", as_expr(other), self)

    def __abs__(self):
        return maximum(self, -self)

    def __pow__(self, power):
        if not isinstance(power, Expr):
            power = float(as_expr(power).value)
            if power == 0.5:
                return sqrt(self)
            if power.is_integer() and abs(power) <= MOST_FACTORS:
                return _integer_power(self, int(power))
        return exp(power * log(self))

    def __rpow__(self, base):
        if (base := as_expr(base).value) <= 0:
            raise ValueError(
                f"the base of a power in a cell's equations must be above 0, got {base:g}"
            )
        return exp(self * math.log(base))

    def _vector(self, *_):
        raise TypeError(
            "a cell's equations describe one unit, whose values are scalars: len, indices and @ do "
            "not apply; use product, projection or mean to combine units"
        )

    __getitem__ = __iter__ = __len__ = __matmul__ = __rmatmul__ = _vector

    def _number(self):
        raise TypeError(
            "values in a cell's equations are symbolic and cannot become numbers: functions of the "
            "math module do not apply; use those of recurrent.cells"
        )

    __float__ = __int__ = __complex__ = __index__ = _number

    def __array_ufunc__(self, ufunc, method, *inputs, **_):
        name = ufunc.__name__
        arithmetic = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}
        arithmetic |= {"remainder": "remainder", "greater": "greater", "greater_equal": "at_least"}
        if name in arithmetic and method == "__call__":  # a NumPy scalar with an expression
            return Expr(arithmetic[name], *map(as_expr, inputs))
        if name in ("less", "less_equal") and method == "__call__":
            swapped = "greater" if name == "less" else "at_least"
            return Expr(swapped, *map(as_expr, reversed(inputs)))
        if name == "power" and method == "__call__":
            return float(inputs[0]) ** inputs[1]
        raise TypeError(
            f"values in a cell's equations are symbolic, so np.{name} does not apply; "
            "use the functions of recurrent.cells"
        )

    def __repr__(self):
        return self._text(4)

    def _text(self, depth: int) -> str:
        """Return the expression down to a depth; the text of a whole graph has no bound."""
        if self.op == "input":
            return self.name
        if self.op == "const":
            return f"{self.value:g}"
        inside = ", ".join(a._text(depth - 1) for a in self.args) if depth else "..."
        return f"{self.op}({inside})"


def as_expr(x) -> Expr:
    """Return an expression unchanged, or a number as a constant; raise TypeError otherwise."""
    if isinstance(x, Expr):
        return x
    if isinstance(x, (int, float, np.integer, np.floating)):
        return Expr("const", value=checks.number(float(x), "a number in a cell's equations"))
    raise TypeError(
        "operands in a cell's equations must be the arguments' scalars, expressions of them or "
        f"numbers, got {type(x).__name__}"
    )


def sigmoid(x: Expr) -> Expr:
    """Return 1 / (1 + exp(-x)), computed as 0.5 tanh(0.5 x) + 0.5."""
    return Expr("sigmoid", as_expr(x))


def tanh(x: Expr) -> Expr:
    """Return the hyperbolic tangent."""
    return Expr("tanh", as_expr(x))


def relu(x: Expr) -> Expr:
    """Return max(x, 0); NaN stays NaN."""
    return Expr("relu", as_expr(x))


def positive(x: Expr) -> Expr:
    """Return 1 where x > 0, else 0: the derivative of relu."""
    return Expr("positive", as_expr(x))


def exp(x: Expr) -> Expr:
    """Return e to the power of x.

    The result is infinite above the dtype's range and 0 below it; kernels also flush results
    below the smallest normal number to 0.
    """
    return Expr("exp", as_expr(x))


def sqrt(x: Expr) -> Expr:
    """Return the square root: NaN below 0, with an infinite derivative at 0."""
    return Expr("sqrt", as_expr(x))


def log(x: Expr) -> Expr:
    """Return the natural logarithm: NaN below 0, -inf at 0.

    Kernels read numbers below the smallest normal one as 0.
    """
    return Expr("log", as_expr(x))


def sin(x: Expr) -> Expr:
    """Return the sine; NaN for |x| above a million."""
    return Expr("sin", as_expr(x))


def cos(x: Expr) -> Expr:
    """Return the cosine; NaN for |x| above a million."""
    return Expr("cos", as_expr(x))


def where(condition: Expr, a: Expr | float, b: Expr | float) -> Expr:
    """Return a where the condition is not 0, else b.

    The gradient goes to the one that is taken, and none to the condition. The other is computed
    too: its derivative must be finite, so write sqrt(where(x > 0, x, 1)) inside a `where`.
    """
    return Expr("where", as_expr(condition), as_expr(a), as_expr(b))


def maximum(a: Expr | float, b: Expr | float) -> Expr:
    """Return the larger of two; NaN if either is NaN. The gradient goes to b if they are equal."""
    return Expr("max", as_expr(a), as_expr(b))


def minimum(a: Expr | float, b: Expr | float) -> Expr:
    """Return the smaller of two; NaN if either is NaN. The gradient goes to b if they are equal."""
    return Expr("min", as_expr(a), as_expr(b))


def clip(x: Expr, limit: float) -> Expr:
    """Return x clipped to [-limit, limit]; the derivative is 0 outside."""
    if not isinstance(limit, Expr):
        limit = checks.number(limit, "limit", least=0)
    return minimum(maximum(x, -limit), limit)


def softplus(x: Expr) -> Expr:
    """Return log(1 + exp(x)), without overflow for large x."""
    return Expr("softplus", as_expr(x))


def product(gate: str, vector: Expr) -> Expr:
    """Return W_hh v + b_hh for one gate of this unit: `h.gate` with another vector v in place of h.

    `vector` is this unit's entry of v.
    """
    return Expr("product", as_expr(vector), name=checks.text(gate, "gate"))


def projection(vector: Expr) -> Expr:
    """Return W_hr v: v of H units projected to P values. `vector` is this unit's entry of v."""
    return Expr("projection", as_expr(vector))


def mean(x: Expr) -> Expr:
    """Return the mean of x over all units, the same for each unit."""
    return Expr("mean", as_expr(x))


class Op(NamedTuple):
    """The NumPy function of an operation, for complex numbers too, and its derivatives."""

    numpy: Callable | None
    # (result, arguments, gradient of the result) -> gradient of each argument, None for none
    gradients: Callable | None


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
    "log": Op(np.log, lambda y, a, d: (d / a[0],)),
    "sin": Op(lambda x: np.sin(_in_range(x)), lambda y, a, d: (d * cos(a[0]),)),
    "cos": Op(lambda x: np.cos(_in_range(x)), lambda y, a, d: (-(d * sin(a[0])),)),
    # a - b floor(a / b), so the quotient (a - y) / b is an integer.
    "remainder": Op(lambda a, b: _remainder(a, b), lambda y, a, d: (d, -(d * ((a[0] - y) / a[1])))),
    # A comparison is constant on both sides of its jump.
    "greater": Op(lambda a, b: _truth(a.real > b.real, a, b), lambda y, a, d: (None, None)),
    "at_least": Op(lambda a, b: _truth(a.real >= b.real, a, b), lambda y, a, d: (None, None)),
    "where": Op(
        lambda c, a, b: np.where(c.real != 0, a, b),
        lambda y, a, d: (None, where(a[0], d, 0.0), where(a[0], 0.0, d)),
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

# Operations that combine the values of all units. Products also need weights: `evaluate` takes a
# function for them.
CROSS_UNIT = {
    "mean": Op(lambda x: _mean_of_rows(x), lambda y, a, d: (mean(d),)),
    "product": Op(None, lambda y, a, d: (Expr("product_t", d, name=y.name),)),
    "product_t": Op(None, None),
    "projection": Op(None, lambda y, a, d: (Expr("projection_t", d),)),
    "projection_t": Op(None, None),
}


def _mean_of_rows(x):
    """Return the mean of each row, summed in the order of the units as kernels do.

    `np.sum` would use a different order for a single row than for several.
    """
    return np.broadcast_to(
        np.add.accumulate(x, axis=-1)[..., -1:] / x.dtype.type(x.shape[-1]), x.shape
    )


def _in_range(x):
    """Return x, NaN where kernels give NaN for sin and cos."""
    return np.where(np.abs(x.real) <= MOST_ANGLE, x, x.dtype.type(np.nan))


def _truth(condition, a, b):
    """Return 1 where the condition holds, else 0, in the dtype of the arguments."""
    return condition.astype(np.result_type(a, b))


def _remainder(a, b):
    if not np.iscomplexobj(a) and not np.iscomplexobj(b):
        return np.remainder(a, b)
    rest = np.remainder(a.real, b.real)
    return rest + 1j * (a.imag - np.rint((a.real - rest) / b.real) * b.imag)


def _integer_power(x: Expr, power: int) -> Expr:
    """Return a product of |power| factors; its inverse if the power is negative."""
    if power <= 0:
        return 1 / _integer_power(x, -power) if power else as_expr(1.0)
    if power > 8:  # the square of the lower half of the factors
        half = _integer_power(x, power // 2)
        return half * half * x if power % 2 else half * half
    result = x
    for _ in range(power - 1):
        result = result * x
    return result


def operation(op: str) -> Op:
    """Return the operation with this name."""
    return CROSS_UNIT.get(op) or OPS[op]


def _to_the_larger(a, b, d):
    first = positive(a - b)
    return d * first, d * (1 - first)


def topological(roots: Iterable[Expr], leaves: Container[Expr] = ()) -> list[Expr]:
    """Return every node reachable from `roots` once, arguments before the nodes that use them.

    The arguments of `leaves` are left out. No function of graphs is recursive: a graph may be
    deeper than Python's stack.
    """
    order, seen = [], set()
    for root in roots:
        stack = [(root, False)]
        while stack:
            e, finished = stack.pop()
            if finished:
                order.append(e)
            elif e not in seen:
                seen.add(e)
                stack.append((e, True))
                if e not in leaves:
                    stack += [(a, False) for a in reversed(e.args)]
    return order


def composed(composite: Composite, inputs: Sequence[Expr], results: Sequence[Expr]) -> list[Expr]:
    """Mark every operation between the inputs and the results as part of the composite."""
    inside = set(inputs)
    for e in topological(results):
        if e.args and e not in inside and any(a in inside for a in e.args):
            inside.add(e)
            e.part_of = composite
    return list(results)


def deduplicate(roots: Iterable[Expr]) -> dict[Expr, Expr]:
    """Map every node reachable from `roots` to the first equal one, so that it is computed once."""
    representative, first = {}, {}
    for e in topological(roots):
        args = tuple(representative[a] for a in e.args)
        key = (e.op, e.name, e.value, args)
        representative[e] = first.setdefault(key, e.with_args(*args))
    return representative


def evaluate(
    roots: Iterable[Expr], known: dict[Expr, np.ndarray], dtype, products: Callable | None = None
) -> list[np.ndarray]:
    """Evaluate expressions with NumPy.

    `known` holds the values of the inputs and of any other nodes; `products(e, vector)` computes
    a product of weights with a vector. Raises KeyError if an input has no value.
    """
    roots, values = list(roots), dict(known)
    for e in topological(roots, values):
        if e in values:
            continue
        if e.op == "input":
            raise KeyError(f"the input {e.name!r} has no value")
        if e.op == "const":
            values[e] = np.asarray(e.value, dtype)
        elif (compute := operation(e.op).numpy) is not None:
            values[e] = compute(*[values[a] for a in e.args])
        else:
            values[e] = products(e, values[e.args[0]])
    return [values[e] for e in roots]


def fingerprint(roots: Iterable[Expr], *metadata) -> str:
    """Return a digest of expressions: equal for equal graphs of equally named inputs.

    `metadata` are plain values that are digested too.
    """
    roots = list(roots)
    number, lines = {}, []
    for e in topological(roots):
        number[e] = len(number)
        lines.append((e.op, e.name, e.value, tuple(number[a] for a in e.args)))
    text = repr((*metadata, lines, [number[e] for e in roots]))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
