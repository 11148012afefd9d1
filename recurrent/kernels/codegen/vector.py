"""Vector instructions: a small assembler over llvmlite, and the approximations of the activations.

`Vectors` writes loads, stores, arithmetic and functions for vectors of `lanes` numbers of one
dtype. Every rounding is written out: LLVM is given nothing that it may contract or reorder.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from ...equations.expressions import MOST_ANGLE
from .target import Target

LINE = 64  # bytes of a cache line
I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


class Vectors:
    """A writer of vector code for one dtype and one number of lanes."""

    def __init__(self, builder: ir.IRBuilder, target: Target, lanes: int | None = None):
        self.b, self.target, self.lanes = builder, target, lanes or target.lanes
        self.double = target.dtype.itemsize == 8
        self.real = ir.DoubleType() if self.double else ir.FloatType()
        self.type = ir.VectorType(self.real, self.lanes)
        self.mask = ir.VectorType(I1, self.lanes)
        self.suffix = f"v{self.lanes}f{8 * target.dtype.itemsize}"

    def call(self, name: str, result: ir.Type, *args: ir.Value) -> ir.Value:
        """Call an LLVM intrinsic by name."""
        function = ir.FunctionType(result, [a.type for a in args])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, function, name), args)

    def constant(self, x: float) -> ir.Value:
        """Return a vector with one number in every lane."""
        return ir.Constant(self.type, [x] * self.lanes)

    def fma(self, a, b, c):
        """Return a b + c, rounded once if the processor has fused multiply-adds, else twice."""
        if self.target.unit.fma:
            return self.call(f"llvm.fma.{self.suffix}", self.type, a, b, c)
        return self.b.fadd(self.b.fmul(a, b), c)

    def broadcast(self, scalar):
        """Return a vector with a scalar in every lane."""
        v = self.b.insert_element(ir.Constant(self.type, ir.Undefined), scalar, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.b.shuffle_vector(v, ir.Constant(self.type, ir.Undefined), zeros)

    def at(self, pointer, *offsets):
        """Return a pointer moved by the sum of the offsets, counted in numbers."""
        for o in offsets:
            pointer = self.b.gep(pointer, [I64(o) if isinstance(o, int) else o])
        return pointer

    def load(self, pointer, mask=None):
        """Load a vector from any address; lanes outside the mask are not read and become zero."""
        vector = self.b.bitcast(pointer, self.type.as_pointer())
        if mask is not None:
            name, zero = f"llvm.masked.load.{self.suffix}.p0", ir.Constant(self.type, None)
            return self.call(name, self.type, vector, I32(self.real_bytes), mask, zero)
        v = self.b.load(vector)
        v.align = self.real_bytes
        return v

    def panel(self, panels, j, K):
        """Return a pointer to the panel of the units from j on, of K rows of weights per unit."""
        return self.at(panels, self.b.mul(j, self.b.add(K, I64(self.target.scale_rows))))

    def scale(self, panel, vector: int, vectors: int):
        """Return the scales of quantised weights, whose bytes are the first rows of a panel.

        None if weights have no scale. `vector`: which one of the `vectors` of a row.
        """
        if not self.target.scale_rows:
            return None
        b, words = self.b, ir.VectorType(I32, self.lanes)
        bits = ir.Constant(words, None)
        for k in range(self.target.scale_rows):
            code = self._load_codes(self.at(panel, (vector + k * vectors) * self.lanes))
            place = ir.Constant(words, [8 * k] * self.lanes)
            bits = b.or_(bits, b.shl(b.zext(code, words), place))
        return b.bitcast(bits, self.type)

    def load_weights(self, pointer, scale):
        """Load a vector of packed weights; quantised ones are widened to numbers, exactly."""
        if not self.target.weights:
            return self.load(pointer)
        b, words, code = self.b, ir.VectorType(I32, self.lanes), self._load_codes(pointer)
        if self.target.weights == "bfloat16":
            upper = ir.Constant(words, [16] * self.lanes)
            return b.bitcast(b.shl(b.zext(code, words), upper), self.type)
        return b.fmul(b.sitofp(b.sext(code, words), self.type), scale)

    def _load_codes(self, pointer):
        """Load a vector of quantised weights as they are stored."""
        kind = ir.VectorType(pointer.type.pointee, self.lanes)
        code = self.b.load(self.b.bitcast(pointer, kind.as_pointer()))
        code.align = 1
        return code

    def store(self, value, pointer, mask=None):
        """Store a vector at any address; with a mask only those lanes."""
        vector = self.b.bitcast(pointer, self.type.as_pointer())
        if mask is not None:
            name = f"llvm.masked.store.{self.suffix}.p0"
            self.call(name, ir.VoidType(), value, vector, I32(self.real_bytes), mask)
        else:
            self.b.store(value, vector).align = self.real_bytes

    @property
    def real_bytes(self) -> int:
        """Bytes of a number."""
        return self.target.dtype.itemsize

    def first(self, count) -> ir.Value:
        """Return the mask of the first `count` (i64) lanes."""
        lane = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        many = self.b.insert_element(ir.Constant(lane.type, ir.Undefined), count, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        many = self.b.shuffle_vector(many, ir.Constant(lane.type, ir.Undefined), zeros)
        return self.b.icmp_signed("<", lane, many)

    def lines(self, blocks: int) -> range:
        """Return which of `blocks` adjacent vectors begin a cache line, provided the first does."""
        return range(0, blocks, max(1, LINE // (self.lanes * self.real_bytes)))

    def prefetch(self, pointer) -> None:
        """Prefetch the cache line of a pointer; any address is allowed."""
        place = self.b.bitcast(pointer, ir.IntType(8).as_pointer())
        self.call("llvm.prefetch.p0", ir.VoidType(), place, I32(0), I32(3), I32(1))

    def load_units(self, pointers: list, count) -> list:
        """Load vectors of which only the first `count` lanes exist; the others are zero."""
        if not pointers:
            return []
        whole = self.b.icmp_signed(">=", count, I64(self.lanes))
        with self.b.if_else(whole) as (then, otherwise):
            with then:
                full, after_full = [self.load(p) for p in pointers], self.b.block
            with otherwise:
                mask = self.first(count)
                part, after_part = [self.load(p, mask) for p in pointers], self.b.block
        out = []
        for a, b in zip(full, part, strict=True):
            phi = self.b.phi(self.type)
            phi.add_incoming(a, after_full)
            phi.add_incoming(b, after_part)
            out.append(phi)
        return out

    def store_units(self, pairs: list, count) -> None:
        """Store (value, pointer) pairs, the first `count` lanes of each."""
        whole = self.b.icmp_signed(">=", count, I64(self.lanes))
        with self.b.if_else(whole) as (then, otherwise):
            with then:
                for value, pointer in pairs:
                    self.store(value, pointer)
            with otherwise:
                mask = self.first(count)
                for value, pointer in pairs:
                    self.store(value, pointer, mask)

    def transposed(self, rows: list) -> list:
        """Transpose a square matrix of `lanes` vectors."""
        distance = 1
        while distance < self.lanes:
            low = [e if not e & distance else e - distance + self.lanes for e in range(self.lanes)]
            high = [e + distance if not e & distance else e + self.lanes for e in range(self.lanes)]
            masks = [ir.Constant(ir.VectorType(I32, self.lanes), m) for m in (low, high)]
            out = list(rows)
            for i in range(self.lanes):
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    out[i], out[i + distance] = (self.b.shuffle_vector(*pair, m) for m in masks)
            rows, distance = out, 2 * distance
        return rows

    def clamp(self, x, low: float, high: float):
        """Limit x to low..high; NaN stays NaN."""
        low, high = self.constant(low), self.constant(high)
        x = self.b.select(self.b.fcmp_ordered("<", x, low), low, x)
        return self.b.select(self.b.fcmp_ordered(">", x, high), high, x)

    def polynomial(self, s, coefficients: list[float]):
        """Evaluate a polynomial by Horner's rule, highest power first."""
        p = self.constant(coefficients[0])
        for a in coefficients[1:]:
            p = self.fma(p, s, self.constant(a))
        return p

    def tanh(self, x):
        """Return tanh(x), approximated; sigmoid is computed from it.

        float32: a rational function of degree 13 over 6, within 6 ulp. float64: expm1(2x) /
        (expm1(2x) + 2), with expm1 by range reduction and its series, within 4 ulp. Both saturate
        at exactly +-1. Tests check these bounds.
        """
        if self.double:
            e = self.expm1(self.b.fmul(self.clamp(x, -20.0, 20.0), self.constant(2.0)))
            return self.b.fdiv(e, self.b.fadd(e, self.constant(2.0)))
        x = self.clamp(x, -9.0, 9.0)
        s = self.b.fmul(x, x)
        p = self.b.fmul(x, self.polynomial(s, TANH_P))
        return self.clamp(self.b.fdiv(p, self.polynomial(s, TANH_Q)), -1.0, 1.0)

    def expm1(self, x):
        """Return exp(x) - 1 in float64, for |x| <= 700."""
        k, q = self._reduced_exp(x)
        power = self._power_of_two(k)
        return self.fma(power, q, self.b.fsub(power, self.constant(1.0)))

    def exp(self, x):
        """Return exp(x) within 1.5 ulp in both dtypes; 0 or infinite where exp(x) rounds to that.

        The power of two is applied in two factors, because its exponent leaves the range of normal
        numbers before the result does. Tests check the bound.
        """
        low, high = (-746.0, 710.0) if self.double else (-104.0, 89.0)
        k, q = self._reduced_exp(self.clamp(x, low, high))
        half = self.b.ashr(k, ir.Constant(k.type, [1] * self.lanes))
        y = self.b.fadd(q, self.constant(1.0))
        for part in (half, self.b.sub(k, half)):
            y = self.b.fmul(y, self._power_of_two(part))
        return y

    def _reduced_exp(self, x):
        """Return (k, q) with exp(x) = 2^k (q + 1): k an integer, |x - k ln(2)| <= ln(2) / 2."""
        # Adding this number rounds to an integer, which is then in the lowest bits.
        magic = self.constant(1.5 * 2.0 ** (52 if self.double else 23))
        shifted = self.fma(x, self.constant(1 / math.log(2)), magic)
        k = self.b.fsub(shifted, magic)
        if self.double:
            high, low, terms = LN2_HIGH, LN2_LOW, 14
        else:
            high, low, terms = LN2_HIGH_32, math.log(2) - LN2_HIGH_32, 7
        r = self.fma(k, self.constant(-high), x)
        r = self.fma(k, self.constant(-low), r)
        series = [1 / math.factorial(n) for n in range(terms, 1, -1)]
        q = self.fma(self.b.fmul(r, r), self.polynomial(r, series), r)
        return self.b.sub(self._bits(shifted), self._bits(magic)), q

    def _bits(self, x):
        """Return the bits of numbers as integers."""
        return self.b.bitcast(x, ir.VectorType(I64 if self.double else I32, self.lanes))

    def _power_of_two(self, k):
        """Return 2^k for integers that are exponents of normal numbers."""
        bias, place = (1023, 52) if self.double else (127, 23)
        biased = self.b.add(k, ir.Constant(k.type, [bias] * self.lanes))
        return self.b.bitcast(
            self.b.shl(biased, ir.Constant(k.type, [place] * self.lanes)), self.type
        )

    def sqrt(self, x):
        """Return the square root."""
        return self.call(f"llvm.sqrt.{self.suffix}", self.type, x)

    def maximum(self, x, y):
        """Return the larger of two; NaN if either is NaN."""
        first = self.b.or_(self.b.fcmp_ordered(">", x, y), self.b.fcmp_unordered("uno", x, x))
        return self.b.select(first, x, y)

    def minimum(self, x, y):
        """Return the smaller of two; NaN if either is NaN."""
        return self.b.fneg(self.maximum(self.b.fneg(x), self.b.fneg(y)))

    def softplus(self, x):
        """Return log(1 + exp(x)) within 4 ulp, which tests check.

        Computed as max(x, 0) + log(1 + e) with e = exp(-|x|), where log(1 + e) = 2 artanh(e / (2 +
        e)) by its series.
        """
        e = self.exp(self.minimum(x, self.b.fneg(x)))
        s = self.b.fdiv(e, self.b.fadd(e, self.constant(2.0)))
        series = [2 / (2 * n + 1) for n in range(17 if self.double else 8, -1, -1)]
        return self.fma(s, self.polynomial(self.b.fmul(s, s), series), self.relu(x))

    def log(self, x):
        """Return the natural logarithm within 1 ulp in both dtypes, which tests check.

        x = 2^k m with m from sqrt(1/2) to sqrt(2), and log(m) = f - s (f - R) with f = m - 1,
        s = f / (2 + f) and R = 2 artanh(s) / s - 2 by its series. -inf for 0 and for numbers
        below the smallest normal one, NaN below.
        """
        b, bits = self.b, self._bits(x)
        bias, place = (1023, 52) if self.double else (127, 23)

        def integers(n):
            return ir.Constant(bits.type, [n] * self.lanes)

        # Adding the bits of 1 over those of sqrt(1/2) carries into the exponent from there on.
        root = 0x3FE6A09E667F3BCD if self.double else 0x3F3504F3
        offset = b.sub(bits, integers(root))
        k = b.ashr(offset, integers(place))
        m = b.bitcast(b.sub(bits, b.shl(k, integers(place))), self.type)
        k = b.sitofp(k, self.type)
        f = b.fsub(m, self.constant(1.0))
        s = b.fdiv(f, b.fadd(f, self.constant(2.0)))
        z = b.fmul(s, s)
        series = [2 / (2 * n + 1) for n in range(12 if self.double else 6, 0, -1)]
        rest = b.fmul(z, self.polynomial(z, series))
        high, low = (LN2_HIGH, LN2_LOW)
        if not self.double:
            high, low = LN2_HIGH_32, math.log(2) - LN2_HIGH_32
        # The square of f is exact neither here nor below, but it is small beside f.
        half = b.fmul(self.constant(0.5), b.fmul(f, f))
        small = self.fma(s, b.fadd(half, rest), b.fmul(k, self.constant(low)))
        y = self.fma(k, self.constant(high), b.fsub(f, b.fsub(half, small)))
        infinite, nothing = self.constant(math.inf), self.constant(math.nan)
        tiny = self.constant(2.0 ** (1 - bias))
        y = b.select(b.fcmp_ordered("<", x, tiny), self.constant(-math.inf), y)
        y = b.select(b.fcmp_ordered("==", x, infinite), infinite, y)
        return b.select(b.fcmp_unordered("<", x, self.constant(0.0)), nothing, y)

    def sin(self, x):
        """Return the sine within 2 ulp; NaN for |x| above `MOST_ANGLE`. Tests check the bound."""
        return self._circular(x, 0)

    def cos(self, x):
        """Return the cosine, as `sin` does."""
        return self._circular(x, 1)

    def _circular(self, x, quarter: int):
        """Return sin(x + quarter pi / 2), in float64 for both dtypes.

        With k the nearest integer to 2 x / pi, r = x - k pi / 2 is computed from pi in parts whose
        products with k are exact; the series of sine or cosine at r follow.
        """
        b = self.b
        if not self.double:
            wide = Vectors(b, Target(np.dtype(np.float64), self.target.unit, None), self.lanes)
            y = wide._circular(b.fpext(x, wide.type), quarter)
            return b.fptrunc(y, self.type)
        magic = self.constant(1.5 * 2.0**52)
        shifted = b.fadd(b.fmul(x, self.constant(2 / math.pi)), magic)
        k = b.fsub(shifted, magic)
        first, second, third, fourth = map(self.constant, HALF_PI)
        r = b.fsub(x, b.fmul(k, first))  # exact
        product = b.fmul(k, second)
        high = b.fsub(r, product)
        # The error of this difference, exact whichever of the two is larger.
        back = b.fsub(high, r)
        low = b.fsub(b.fsub(r, b.fsub(high, back)), b.fadd(product, back))
        r = b.fadd(high, b.fsub(b.fsub(low, b.fmul(k, third)), b.fmul(k, fourth)))
        z = b.fmul(r, r)
        odd = [(-1) ** n / math.factorial(2 * n + 1) for n in range(8, 0, -1)]
        even = [(-1) ** n / math.factorial(2 * n) for n in range(9, 1, -1)]
        sine = self.fma(b.fmul(r, z), self.polynomial(z, odd), r)
        half, one = b.fmul(self.constant(0.5), z), self.constant(1.0)
        most = b.fsub(one, half)
        lost = b.fsub(b.fsub(one, most), half)  # the rounding error of 1 - z / 2
        cosine = b.fadd(most, self.fma(b.fmul(z, z), self.polynomial(z, even), lost))

        def integers(n):
            return ir.Constant(ir.VectorType(I64, self.lanes), [n] * self.lanes)

        quadrant = b.add(self._bits(shifted), integers(quarter))

        def bit(n):
            return b.icmp_signed("!=", b.and_(quadrant, integers(n)), integers(0))

        y = b.select(bit(1), cosine, sine)
        y = b.select(bit(2), b.fneg(y), y)
        size = self.maximum(x, b.fneg(x))
        within = b.fcmp_ordered("<=", size, self.constant(MOST_ANGLE))
        return b.select(within, y, self.constant(math.nan))

    def remainder(self, a, b):
        """Return a - b floor(a / b), whose sign is that of b; NaN if b is 0 or a infinite.

        Exact with fused multiply-adds while |a / b| is below 2^23 in float32, 2^52 in float64.
        """
        build, zero = self.b, self.constant(0.0)
        quotient = self.call(f"llvm.floor.{self.suffix}", self.type, build.fdiv(a, b))
        rest = self.fma(build.fneg(quotient), b, a)
        # The quotient may be rounded up to an integer, or, without fusion, the product.
        signs = (build.fcmp_ordered("<", n, zero) for n in (rest, b))
        opposite = build.and_(build.xor(*signs), build.fcmp_ordered("!=", rest, zero))
        rest = build.select(opposite, build.fadd(rest, b), rest)
        # An infinite b gives a itself, or b for the other sign, as NumPy does.
        size = self.maximum(b, build.fneg(b))
        endless = build.fcmp_ordered("==", size, self.constant(math.inf))
        signs = (build.fcmp_ordered("<", n, zero) for n in (a, b))
        across = build.and_(build.xor(*signs), build.fcmp_ordered("!=", a, zero))
        finite = build.fcmp_ordered("<", self.maximum(a, build.fneg(a)), self.constant(math.inf))
        limit = build.select(finite, build.select(across, b, a), self.constant(math.nan))
        return build.select(endless, limit, rest)

    def greater(self, a, b):
        """Return 1 where a > b, else 0."""
        return self._truth(self.b.fcmp_ordered(">", a, b))

    def at_least(self, a, b):
        """Return 1 where a >= b, else 0."""
        return self._truth(self.b.fcmp_ordered(">=", a, b))

    def _truth(self, mask):
        return self.b.select(mask, self.constant(1.0), self.constant(0.0))

    def where(self, condition, a, b):
        """Return a where the condition is not 0 (NaN is not), else b."""
        return self.b.select(self.b.fcmp_unordered("!=", condition, self.constant(0.0)), a, b)

    def across(self, x, combine: Callable) -> ir.Value:
        """Reduce all lanes to one number, the upper half combined with the lower, and so on.

        The order depends on the number of lanes alone.
        """
        lanes, undefined = self.lanes, ir.Undefined
        while lanes > 1:
            lanes //= 2
            indices = ir.VectorType(I32, lanes)
            low, high = (
                self.b.shuffle_vector(
                    x,
                    ir.Constant(x.type, undefined),
                    ir.Constant(indices, list(range(k, k + lanes))),
                )
                for k in (0, lanes)
            )
            x = combine(low, high)
        return self.b.extract_element(x, I32(0))

    def positive(self, x):
        """Return 1 where x > 0, else 0: the derivative of relu."""
        one, zero = self.constant(1.0), self.constant(0.0)
        return self.b.select(self.b.fcmp_ordered(">", x, zero), one, zero)

    def relu(self, x):
        """Return max(x, 0); NaN stays NaN."""
        zero = self.constant(0.0)
        return self.b.select(self.b.fcmp_ordered("<=", x, zero), zero, x)

    def sigmoid(self, x):
        """Return 1 / (1 + exp(-x)), computed as tanh(x / 2) / 2 + 1 / 2."""
        half = self.constant(0.5)
        return self.fma(self.tanh(self.b.fmul(x, half)), half, half)

    def operation(self, op: str) -> Callable:
        """Return the function that writes an operation of the equations."""
        return {
            "add": self.b.fadd,
            "sub": self.b.fsub,
            "mul": self.b.fmul,
            "div": self.b.fdiv,
            "neg": self.b.fneg,
            "exp": self.exp,
            "sqrt": self.sqrt,
            "max": self.maximum,
            "min": self.minimum,
            "log": self.log,
            "sin": self.sin,
            "cos": self.cos,
            "remainder": self.remainder,
            "greater": self.greater,
            "at_least": self.at_least,
            "where": self.where,
            "softplus": self.softplus,
            "tanh": self.tanh,
            "sigmoid": self.sigmoid,
            "relu": self.relu,
            "positive": self.positive,
        }[op]


# ln(2) in two parts; the first has so few bits that its product with any exponent k is exact.
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LN2_HIGH_32 = 355 / 512
# pi / 2 in parts of 33 bits, so that their products with integers below 2^20 are exact; the rest.
HALF_PI = (
    float.fromhex("0x1.921fb544p+0"),
    float.fromhex("0x1.0b4611a6p-34"),
    float.fromhex("0x1.3198a2ep-69"),
    float.fromhex("0x1.b839a252049c1p-104"),
)
# tanh(x) = x P(x^2) / Q(x^2) on +-9: a least-squares fit, reweighted until the relative error was
# level at 7e-9.
TANH_P = [
    -4.146445975980494e-16,
    2.58120781693183e-13,
    -9.90015916468856e-11,
    5.4631254187142986e-08,
    1.5207024262053892e-05,
    0.0006410953938029706,
    0.004900000058114529,
]
TANH_Q = [
    1.2472663684093277e-06,
    0.00012001698632957414,
    0.0022744284942746162,
    0.004900000058114529,
]
