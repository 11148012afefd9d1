"""A cell's equations as vector code: applied to a tile of pre-activations while it is still in registers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..cells.expressions import Expr, topological
from .target import TARGETS
from .tile import Segment, accumulate, emit_product, emit_row, emit_rows, emit_units, pointer_to, units_left
from .vector import I64, Vectors


class Expressions:
    """Vector code for expressions, each node once. Products that are used in one sum only are fused into it."""

    def __init__(self, v: Vectors, roots: Iterable[Expr], known: dict[Expr, ir.Value]):
        self.v, self.known = v, dict(known)
        self.uses = Counter(a for e in topological(roots) for a in e.args)
        self.uses.update(roots)

    def value(self, e: Expr) -> ir.Value:
        """The vector that holds an expression."""
        if e not in self.known:
            if e.op == "const":
                self.known[e] = self.v.constant(e.value)
            else:
                self.known[e] = self._fused(e) or self.v.operation(e.op)(*[self.value(a) for a in e.args])
        return self.known[e]

    def _fused(self, e):
        product = next((a for a in e.args if a.op == "mul" and self.uses[a] == 1 and a not in self.known), None)
        if product is None or e.op not in ("add", "sub"):
            return None
        first, second = (self.value(a) for a in product.args)
        other = self.value(e.args[1] if product is e.args[0] else e.args[0])
        if e.op == "sub":
            if product is e.args[0]:
                other = self.v.b.fneg(other)
            else:
                first = self.v.b.fneg(first)
        return self.v.fma(first, second, other)


def ask_ahead(v: Vectors, n, rows: int, j, blocks: int, places) -> None:
    """Have the caches fetch what a tile's epilogue will touch while the tile is computed: `places(row, unit)`, two lists."""
    for r in range(rows):
        for u in v.lines(blocks):
            sources, targets = places(v.b.add(n, I64(r)), v.b.add(j, I64(u * v.lanes)))
            for pointer in dict.fromkeys([*sources, *targets]):
                v.prefetch(pointer)


def leaves(roots: Iterable[Expr], available: Iterable[Expr]) -> list[Expr]:
    """Which of the available nodes are reached from `roots` before any other available one hides them."""
    available, found, seen = list(available), set(), set()

    def visit(e):
        if e in available:
            found.add(e)
        elif e not in seen:
            seen.add(e)
            for a in e.args:
                visit(a)

    for root in roots:
        visit(root)
    return [e for e in available if e in found]


def of_units(v: Vectors, cell, p, row, unit, H) -> dict[Expr, ir.Value]:
    """Where a row's per-unit parameters and inputs lie: p (P, H), or (count, P + M, H) of a cell with M inputs."""
    place = v.b.add(v.b.mul(row, numbers_of_units(v.b, cell, H)), unit)
    return {e: v.at(p, place, v.b.mul(H, I64(k))) for k, e in enumerate(cell.parameter_inputs)}


def numbers_of_units(b: ir.IRBuilder, cell, H) -> ir.Value:
    """How far the rows of p lie apart: 0 where all rows have the same."""
    return b.mul(H, I64(len(cell.parameter_inputs) if cell.inputs else 0))


@intrinsic
def row_of_units(typingctx, target, row, H):
    """Where the numbers of this row begin in p."""

    def codegen(context, b, _, args):
        return b.mul(args[1], numbers_of_units(b, TARGETS[target.name].cell, args[2]))

    return types.int64(target, types.int64, types.int64), codegen


@intrinsic
def forward_step(
    typingctx, target, count, j0, j1, init, init_stride, init_rows, x, D, adds_x, h, H, panels, p, old, new, plane, h_new,
    saved,
):  # fmt: skip
    """One time step for `count` sequences and the units j0 to j1, whole tiles but for the end of H.

    init: bias, with an init_stride of 0, or rows of bias plus the x part, and then adds_x is 0, else 1. init_rows (count,):
    which of those rows each sequence starts from, or null. x (count, D), h (count, H).
    panels: for each tile the weights of x, then of h. p: see `of_units`. h_new (count, H), and old and new
    for the other states, `plane` numbers apart. saved (count, K, H): what the tape keeps, or null.
    """
    t = TARGETS[target.name]
    cell = t.cell
    A, K = len(cell.accumulators), len(cell.backward.saved)
    X, R = (sum(getattr(a, part) for a in cell.accumulators) for part in "xh")
    # All that a step computes, with a tape or without: so that the same bits come out.
    results = [*cell.new, *(e for _, e in cell.backward.saved)]
    inputs = leaves(results, (*cell.previous, *cell.parameter_inputs))

    def codegen(context, b, _, args):
        (_, count, j0, j1, init, init_stride, init_rows, x, D, adds_x, h, H, panels, p, old, new, plane, h_new,
         saved) = args  # fmt: skip
        v = Vectors(b, t)
        recording = b.icmp_unsigned("!=", b.ptrtoint(saved, I64), I64(0))

        def units(j, blocks):
            touched = {
                part: [u * A + k for u in range(blocks) for k, a in enumerate(cell.accumulators) if getattr(a, part)]
                for part in "xh"
            }
            panel = v.at(panels, b.mul(j, b.add(b.mul(D, I64(X)), b.mul(H, I64(R)))))
            recurrent = v.at(panel, b.mul(D, I64(X * blocks * v.lanes)))

            def tile(n, rows):
                numbers = [emit_row(v, init_rows, b.add(n, I64(r))) for r in range(rows)]
                starts = [v.at(init, b.mul(init_stride, number), b.mul(j, I64(A))) for number in numbers]
                acc = [[v.load(v.at(s, k * v.lanes)) for k in range(blocks * A)] for s in starts]
                acc = accumulate(v, acc, Segment(v.at(x, b.mul(D, n)), D, I64(1), b.mul(adds_x, D), panel, touched["x"]))
                acc = accumulate(v, acc, Segment(v.at(h, b.mul(H, n)), H, I64(1), H, recurrent, touched["h"]))
                for u in range(blocks):
                    unit, left = b.add(j, I64(u * v.lanes)), units_left(v, b.sub(H, j), u)
                    for r in range(rows):
                        apply(b.add(n, I64(r)), unit, left, acc[r][u * A : (u + 1) * A])

            emit_rows(v, blocks * A, count, tile)

        def apply(row, unit, left, acc):
            place = b.add(b.mul(H, row), unit)
            planes = [b.add(place, b.mul(plane, I64(k))) for k in range(len(cell.states) - 1)]
            where = dict(zip(cell.previous, [v.at(h, place), *(v.at(old, q) for q in planes)], strict=True))
            where |= of_units(v, cell, p, row, unit, H)
            known = dict(zip(inputs, v.load_units([where[e] for e in inputs], left), strict=True))
            known |= {a.input: value for a, value in zip(cell.accumulators, acc, strict=True)}
            code = Expressions(v, results, known)
            values = [code.value(e) for e in results]
            targets = [v.at(h_new, place), *(v.at(new, q) for q in planes)]
            v.store_units(list(zip(values, targets, strict=False)), left)
            if K:
                first = b.add(b.mul(H, b.mul(row, I64(K))), unit)
                with b.if_then(recording):
                    kept = enumerate(values[len(cell.new) :])
                    v.store_units([(e, v.at(saved, first, b.mul(H, I64(k)))) for k, e in kept], left)

        emit_units(v, A, j0, j1, units)
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, i, i, q, i, types.CPointer(i), q, i, i, q, i, q, q, q, q, i, q, q), codegen


@intrinsic
def project_tiles(typingctx, target, count, bias, x, D, H, panels, out):
    """out (count, vectors) = bias plus the x part of every accumulator: an init for `forward_step`, with its panels."""
    t = TARGETS[target.name]
    cell = t.cell
    A = len(cell.accumulators)
    x_accumulators = [k for k, a in enumerate(cell.accumulators) if a.x]
    R = sum(a.h for a in cell.accumulators)

    def codegen(context, b, _, args):
        _, count, bias, x, D, H, panels, out = args
        v = Vectors(b, t)
        padded = b.mul(b.sdiv(b.add(H, I64(v.lanes - 1)), I64(v.lanes)), I64(v.lanes))
        out_stride = b.mul(padded, I64(A))

        def units(j, blocks):
            touched = [u * A + k for u in range(blocks) for k in x_accumulators]
            panel = v.at(panels, b.mul(j, b.add(b.mul(D, I64(len(x_accumulators))), b.mul(H, I64(R)))))

            def tile(n, rows):
                first = [v.load(v.at(bias, b.mul(j, I64(A)), k * v.lanes)) for k in range(blocks * A)]
                segment = Segment(v.at(x, b.mul(D, n)), D, I64(1), D, panel, touched)
                acc = accumulate(v, [list(first) for _ in range(rows)], segment)
                for r, row in enumerate(acc):
                    line = v.at(out, b.mul(out_stride, b.add(n, I64(r))), b.mul(j, I64(A)))
                    for k, value in enumerate(row):
                        v.store(value, v.at(line, k * v.lanes))

            emit_rows(v, blocks * A, count, tile)

        emit_units(v, A, I64(0), H, units)
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, q, q, i, i, q, q), codegen


def flow(v: Vectors, cell, n, j, blocks, da, panels, H, flows) -> list[Segment]:
    """What a tile of dh receives through W_hh: da (count, A + P, H) times panels, if flows is 1; nothing if 0."""
    b = v.b
    row = b.mul(H, I64(len(cell.accumulators) + len(cell.parameters)))
    panel = v.at(panels, b.mul(j, b.mul(H, I64(len(cell.h_gates)))))
    segments = []
    for run in cell.h_runs:
        a = v.at(da, b.mul(row, n), b.mul(H, I64(run.accumulator)))
        weights = v.at(panel, b.mul(H, I64(run.gate * blocks * v.lanes)))
        K = b.mul(flows, b.mul(H, I64(run.count)))
        segments.append(Segment(a, row, I64(1), K, weights, list(range(blocks))))
    return segments


@intrinsic
def flow_tiles(typingctx, target, count, j0, j1, da, panels, carry, H):
    """carry (count, H)[:, j0:j1] += da (count, A + P, H) times W_hh: the last part of the gradient of the initial h."""
    t = TARGETS[target.name]

    def codegen(context, b, _, args):
        _, count, j0, j1, da, panels, carry, H = args
        v = Vectors(b, t)

        def segments(n, j, blocks):
            return flow(v, t.cell, n, j, blocks, da, panels, H, I64(1))

        emit_product(v, count, H, carry, H, carry, segments, (j0, j1))
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, i, i, q, q, q, i), codegen


@intrinsic
def backward_step(
    typingctx, target, count, j0, j1, flows, da_later, panels, dy, carry, carry_plane, saved, h_old, h_new, old, new, plane, H,
    p, da, total, total_plane,
):  # fmt: skip
    """One time step back for `count` sequences and the units j0 to j1, whole tiles but for the end of H.

    carry (states, count, H): gradients of the states after this step, without dy and without what comes through W_hh
    from the step after: da_later (count, A + P, H) times panels, where flows is 1; 0 at a sequence's end.
    carry becomes the gradients of the states before this step, again without what comes through W_hh. da (count, A + P,
    H) is written; total (states, count, H) too unless null. States lie `carry_plane`, `plane`, `total_plane` apart.
    """
    t = TARGETS[target.name]
    cell, back = t.cell, t.cell.backward
    width = len(cell.accumulators) + len(cell.parameters)
    results = [*back.d_accumulators, *back.d_parameters, *back.d_previous, *back.d_states]
    kept = [e for _, e in back.saved]
    available = (*back.d_new, *kept, *cell.new, *cell.previous, *cell.parameter_inputs)
    inputs = [e for e in leaves(results, available) if e not in back.d_new]

    def codegen(context, b, _, args):
        (_, count, j0, j1, flows, da_later, panels, dy, carry, carry_plane, saved, h_old, h_new, old, new, plane, H, p, da,
         total, total_plane) = args  # fmt: skip
        v = Vectors(b, t)
        totals = b.icmp_unsigned("!=", b.ptrtoint(total, I64), I64(0))

        def units(j, blocks):
            left = [units_left(v, b.sub(H, j), u) for u in range(blocks)]

            def tile(n, rows):
                lines = [v.at(carry, b.mul(H, b.add(n, I64(r))), j) for r in range(rows)]
                columns = [v.load_units([v.at(line, u * v.lanes) for line in lines], left[u]) for u in range(blocks)]
                acc = [list(row) for row in zip(*columns, strict=True)]
                ask_ahead(v, n, rows, j, blocks, places)
                for segment in flow(v, cell, n, j, blocks, da_later, panels, H, flows):
                    acc = accumulate(v, acc, segment)
                for u in range(blocks):
                    for r in range(rows):
                        apply(b.add(n, I64(r)), b.add(j, I64(u * v.lanes)), left[u], acc[r][u])

            emit_rows(v, blocks, count, tile)

        def places(row, unit):
            here = b.add(b.mul(H, row), unit)
            first, first_saved = (b.add(b.mul(H, b.mul(row, I64(n))), unit) for n in (width, len(kept)))
            planes = [b.add(here, b.mul(plane, I64(k))) for k in range(len(cell.states) - 1)]
            carries = [v.at(carry, here, b.mul(carry_plane, I64(k))) for k in range(len(cell.states))]
            where = {e: v.at(saved, first_saved, b.mul(H, I64(k))) for k, e in enumerate(kept)}
            where |= dict(zip(cell.new, [v.at(h_new, here), *(v.at(new, q) for q in planes)], strict=True))
            where |= dict(zip(cell.previous, [v.at(h_old, here), *(v.at(old, q) for q in planes)], strict=True))
            where |= of_units(v, cell, p, row, unit, H)
            da_at = [v.at(da, first, b.mul(H, I64(k))) for k in range(width)]
            return [v.at(dy, here), *carries[1:], *(where[e] for e in inputs)], da_at + carries

        def apply(row, unit, left, dh):
            sources, targets = places(row, unit)
            d_y, *rest = v.load_units(sources, left)
            others = len(cell.states) - 1
            d_new = [dh, *rest[:others]]
            d_new[cell.output] = b.fadd(d_new[cell.output], d_y)
            known = dict(zip([*back.d_new, *inputs], [*d_new, *rest[others:]], strict=True))
            code = Expressions(v, results, known)
            values = [code.value(e) for e in results]
            v.store_units(list(zip(values, targets, strict=False)), left)
            with b.if_then(totals):
                to = [v.at(total, b.add(b.mul(H, row), unit), b.mul(total_plane, I64(k))) for k in range(len(d_new))]
                v.store_units(list(zip(values[-len(to) :], to, strict=True)), left)

        emit_units(v, 1, j0, j1, units)
        return context.get_dummy_value()

    i, q = types.int64, pointer_to(t)
    return types.void(target, i, i, i, i, q, q, q, q, i, q, q, q, q, q, i, i, q, q, q, i), codegen
