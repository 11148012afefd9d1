"""Lowering: a cell's expressions as vector code, and the positions of a row's per-unit numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...equations.expressions import Expr, topological
from .target import TARGETS
from .vector import I64, Vectors


class Expressions:
    """Vector code for expressions, each node once.

    A multiplication whose only use is one addition becomes a fused multiply-add with it.
    """

    def __init__(self, v: Vectors, roots: Iterable[Expr], known: dict[Expr, ir.Value]):
        self.v, self.known = v, dict(known)
        self.uses = Counter(a for e in topological(roots) for a in e.args)
        self.uses.update(roots)

    def value(self, e: Expr) -> ir.Value:
        """Return the vector that holds an expression."""
        stack = [e]
        while stack:
            last = stack[-1]
            product = self._fused_product(last)
            if product is None:
                operands = last.args
            else:
                operands = (*product.args, last.args[1 if product is last.args[0] else 0])
            missing = [a for a in operands if a not in self.known]
            if missing and last not in self.known:
                stack += reversed(missing)
                continue
            stack.pop()
            if last not in self.known:
                self.known[last] = self._code(last, product, [self.known[a] for a in operands])
        return self.known[e]

    def _fused_product(self, e) -> Expr | None:
        """Return the product that a sum or difference is fused with, or None."""
        if e.op not in ("add", "sub"):
            return None
        return next(
            (a for a in e.args if a.op == "mul" and self.uses[a] == 1 and a not in self.known), None
        )

    def _code(self, e, product, values) -> ir.Value:
        if e.op == "const":
            return self.v.constant(e.value)
        if product is None:
            return self.v.operation(e.op)(*values)
        first, second, other = values
        if e.op == "sub":
            if product is e.args[0]:
                other = self.v.b.fneg(other)
            else:
                first = self.v.b.fneg(first)
        return self.v.fma(first, second, other)


def leaves(roots: Iterable[Expr], available: Iterable[Expr]) -> list[Expr]:
    """Return the available nodes that computing `roots` reads, in their order."""
    available = list(available)
    reached = set(topological(roots, set(available)))
    return [e for e in available if e in reached]


def per_unit_pointers(v: Vectors, cell, p, row, unit, H) -> dict[Expr, ir.Value]:
    """Return pointers to a row's per-unit parameters and masks.

    p: (parameters, H), the same for all rows; (rows, parameters + masks, H) of a cell with masks.
    """
    place = v.b.add(v.b.mul(row, per_unit_stride(v.b, cell, H)), unit)
    return {e: v.at(p, place, v.b.mul(H, I64(k))) for k, e in enumerate(cell.parameter_inputs)}


def per_unit_stride(b: ir.IRBuilder, cell, H) -> ir.Value:
    """Return the distance between two rows of p: 0 if all rows have the same numbers."""
    return b.mul(H, I64(len(cell.parameter_inputs) if cell.masks else 0))


@intrinsic
def per_unit_offset(typingctx, target, row, H):
    """Return where the numbers of a row begin in p."""

    def codegen(context, b, _, args):
        return b.mul(args[1], per_unit_stride(b, TARGETS[target.name].cell, args[2]))

    return types.int64(target, types.int64, types.int64), codegen
