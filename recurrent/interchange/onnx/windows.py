"""Our own functions of ONNX's operators that multiply matrices or read windows of an array."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np

from ... import kernels
from . import bounds
from .known import Known, Run, integers
from .numeric import MAKERS, limits, own

__all__ = ["MAKERS"]

PIECE = 1 << 22  # bytes of windows that are copied at a time
PLANS = 16  # shapes of x for which a convolution keeps its plan
FLOATS = tuple(map(np.dtype, (np.float32, np.float64)))


# Products of matrices


def linear(W: np.ndarray, b: np.ndarray | None = None) -> Run:
    """Return x -> x @ W.T + b for x (S, K), W (M, K) and b (M,): each row as it is alone."""
    W = np.ascontiguousarray(W)
    b = np.zeros(len(W), W.dtype) if b is None else np.ascontiguousarray(b)
    packed = kernels.backend.pack_linear(W, b)

    def run(x: Any) -> Any:
        bounds.checked(len(x) * len(W))
        y = np.empty((len(x), len(W)), W.dtype)
        kernels.backend.linear(np.ascontiguousarray(x), packed, y)
        return y

    return run


@own("MatMul")
def matmul(node: Known) -> Run:
    B = node.constant(1)
    if B is None or B.ndim != 2 or not B.size or B.dtype not in FLOATS:
        return product
    held, K = linear(B.T), len(B)

    def run(a: Any, b: Any) -> Any:
        if a.dtype != b.dtype or not a.ndim or a.shape[-1] != K or not a.size:
            return product(a, b)
        return held(a.reshape(-1, K)).reshape(*a.shape[:-1], b.shape[1])

    return run


def product(a: Any, b: Any) -> Any:
    """Return a @ b of any shapes."""
    if a.size * b.size > bounds.MOST_ENTRIES and a.ndim > 1 and b.ndim > 1:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        bounds.checked(prod(batch) * a.shape[-2] * b.shape[-1])
    return np.matmul(a, b)


@own("Gemm")
def _gemm(node: Known) -> Run | None:
    alpha, beta = (node.attributes.get(name, 1.0) for name in ("alpha", "beta"))
    left, right = (node.attributes.get(name, 0) for name in ("transA", "transB"))
    if "broadcast" in node.attributes:
        return None
    B: Any = node.constant(1)
    held: Any = None
    if B is not None and B.ndim == 2 and B.size and B.dtype in FLOATS:
        W = B if right else B.T
        W = W if alpha == 1 else W * B.dtype.type(alpha)
        K, bias = W.shape[1], _bias(node.constant(2), len(W), beta)
        if bias is not None or not node.given(2):
            held = linear(W, bias)

    def run(a: Any, b: Any, c: Any = None) -> Any:
        a = a.T if left else a
        if held is not None and a.ndim == 2 and a.shape[1] == K and a.dtype == b.dtype:
            return held(a)
        b = b.T if right else b
        y = product(a, b)
        if alpha != 1:
            y = y * y.dtype.type(alpha)
        if c is None:
            return y
        return y + (c if beta == 1 else c * c.dtype.type(beta))

    return run


def _bias(C: Any, size: int, factor: float) -> Any:
    """Return the constant that a Gemm adds as one number for each column; None if it is no such."""
    if C is None or C.size not in (1, size) or prod(C.shape[:-1]) != 1:
        return None
    return np.broadcast_to(C.reshape(-1) * C.dtype.type(factor), size)


# Windows


class Windows:
    """Holds the places of the windows of a convolution or a pool: the attributes of its node."""

    def __init__(self, node: Known, kernel: Sequence[int] | None = None):
        own = node.attributes
        kernel = kernel or own.get("kernel_shape")
        if not kernel or min(kernel) < 1:
            raise ValueError(f"kernel_shape must be at least 1 along each axis, got {kernel}")
        self.kernel, rank = tuple(kernel), len(kernel)
        self.strides = self._numbers(own, "strides", rank, 1)
        self.dilations = self._numbers(own, "dilations", rank, 1)
        self.pads = self._numbers(own, "pads", 2 * rank, 0, least=0)
        self.auto = own.get("auto_pad", "NOTSET")
        self.ceil = bool(own.get("ceil_mode", 0))
        self.spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    @staticmethod
    def _numbers(own: dict[str, Any], name: str, size: int, default: int, least: int = 1) -> Any:
        given = list(own.get(name) or [default] * size)
        if len(given) != size or min(given) < least:
            raise ValueError(f"{name} must be {size} numbers of at least {least}, got {given}")
        return given

    def placed(self, sizes: Sequence[int]) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
        """Return the padding of each axis, and the number of windows along it."""
        rank = len(self.kernel)
        if len(sizes) != rank:
            raise ValueError(f"x must have {rank} axes after the channels, got {len(sizes)}")
        pads, counts = [], []
        for k, (n, stride, span) in enumerate(zip(sizes, self.strides, self.spans, strict=True)):
            before, after = self.pads[k], self.pads[k + rank]
            if self.auto.startswith("SAME"):
                count = ceil(n / stride)
                total = max((count - 1) * stride + span - n, 0)
                before = (total + (self.auto == "SAME_LOWER")) // 2
                after = total - before
            elif self.auto == "VALID":
                before = after = 0
            left = n + before + after - span
            count = left // stride + 1
            if self.ceil and self.auto == "NOTSET":
                count = -(-left // stride) + 1
                if (count - 1) * stride >= n + before:  # it would begin in the padding
                    count -= 1
                after = max(after, (count - 1) * stride + span - n - before)
            if count < 1:
                raise ValueError(
                    f"a window of {span} is longer than the {n + before + after} entries of axis "
                    f"{k + 2} with its padding"
                )
            pads.append((before, after))
            counts.append(count)
        return pads, tuple(counts)

    def positions(self, counts: Sequence[int]) -> Any:
        """Yield the place of each entry of a window, and the slices that have it of all windows."""
        for place in itertools.product(*map(range, self.kernel)):
            yield (
                place,
                (
                    ...,
                    *(
                        slice(p * d, p * d + (n - 1) * s + 1, s)
                        for p, d, n, s in zip(
                            place, self.dilations, counts, self.strides, strict=True
                        )
                    ),
                ),
            )


def padded(x: np.ndarray, pads: Sequence[tuple[int, int]], value: Any = 0) -> np.ndarray:
    """Return x with padding around its last axes; x itself if there is none."""
    if not any(before or after for before, after in pads):
        return x
    head = x.shape[: x.ndim - len(pads)]
    tail = x.shape[x.ndim - len(pads) :]
    shape = (*head, *(n + sum(pad) for n, pad in zip(tail, pads, strict=True)))
    y = np.full(bounds.shape(shape), value, x.dtype)
    y[(..., *(slice(b, b + n) for (b, _), n in zip(pads, tail, strict=True)))] = x
    return y


@own("Conv")
def _conv(node: Known) -> Run:
    W: Any = node.constant(1)
    b, groups = node.constant(2), node.attributes.get("group", 1)
    made = None
    if W is not None and (b is not None or not node.given(2)):
        made = Convolution(node, W, b, groups)

    def run(x: Any, W: Any, b: Any = None) -> Any:
        return (made or Convolution(node, W, b, groups))(x)

    return run


class _Plan(NamedTuple):
    """What a convolution does with arrays of one shape."""

    pads: Any  # around the axes after the channels; None if there are none
    counts: tuple[int, ...]  # windows along each of them
    shape: tuple[int, ...]  # of the result
    windows: tuple[int, ...]  # shape and strides of all windows
    strides: tuple[int, ...]
    piece: int  # windows along the first axis that are copied at a time
    back: tuple[int, ...]  # the axes of rows, the outputs after N


class Convolution:
    """A convolution with its weights packed."""

    def __init__(self, node: Known, W: np.ndarray, b: np.ndarray | None, groups: int):
        if W.ndim < 3 or W.dtype not in FLOATS:
            raise ValueError(f"W must be floats of at least 3 axes, got {W.dtype} {W.shape}")
        given = tuple(node.attributes.get("kernel_shape") or W.shape[2:])
        if given != W.shape[2:] or groups < 1 or len(W) % groups:
            raise ValueError(
                f"W must have the kernel {given} and a multiple of {groups} outputs, got {W.shape}"
            )
        self.windows, self.groups = Windows(node, W.shape[2:]), groups
        self.dtype, self.channels, self.M = W.dtype, W.shape[1], len(W)
        self.depthwise = self.channels == 1 and self.M == groups > 1
        self.W = W.reshape(groups, self.M // groups, -1)
        self.b = b
        self.plans: dict[tuple[int, ...], _Plan] = {}
        if not self.depthwise:
            biases = [None] * groups if b is None else b.reshape(groups, -1)
            self.parts = [linear(w, c) for w, c in zip(self.W, biases, strict=True)]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        plan = self.plans.get(x.shape) or self._plan(x)
        if x.dtype != self.dtype:
            raise ValueError(f"x must have the dtype of W, {self.dtype}, got {x.dtype}")
        x = padded(x, plan.pads) if plan.pads else np.ascontiguousarray(x)
        if self.depthwise:
            return self._by_place(x, np.empty(plan.shape, x.dtype), plan.counts)
        # (N, *counts, channels, *kernel): the entries of a window are a row
        views = np.ndarray(plan.windows, x.dtype, x, 0, plan.strides)
        size, M = self.channels * prod(self.windows.kernel), self.M // self.groups
        if self.groups == 1 and plan.piece >= plan.counts[0]:
            rows = self.parts[0](views.reshape(-1, size))
            return rows.reshape(len(x), *plan.counts, M).transpose(plan.back)
        y = np.empty(plan.shape, x.dtype)
        rank = len(plan.counts)
        for first in range(0, plan.counts[0], plan.piece):
            some = slice(first, first + plan.piece)
            for g, part in enumerate(self.parts):
                own = slice(g * self.channels, (g + 1) * self.channels)
                window = views[(slice(None), some, *[slice(None)] * (rank - 1), own)]
                rows = part(window.reshape(-1, size)).reshape(*window.shape[: rank + 1], M)
                y[:, g * M : (g + 1) * M, some] = rows.transpose(plan.back)
        return y

    def _plan(self, x: np.ndarray) -> _Plan:
        """Return where the windows of arrays of this shape lie; keep it."""
        C, rank = self.groups * self.channels, len(self.windows.kernel)
        if x.ndim != rank + 2 or x.shape[1] != C:
            raise ValueError(f"x must be (N, {C}, ...) of {rank + 2} axes, got {x.shape}")
        pads, counts = self.windows.placed(x.shape[2:])
        shape = bounds.shape((len(x), self.M, *counts))
        sizes = (*x.shape[:2], *(n + sum(p) for n, p in zip(x.shape[2:], pads, strict=True)))
        steps = [self.dtype.itemsize * prod(sizes[k + 1 :]) for k in range(len(sizes))]
        strides = (
            steps[0],
            *(a * s for a, s in zip(steps[2:], self.windows.strides, strict=True)),
            steps[1],
            *(a * d for a, d in zip(steps[2:], self.windows.dilations, strict=True)),
        )
        row = len(x) * prod(counts[1:]) * self.channels * prod(self.windows.kernel)
        plan = _Plan(
            pads=pads if any(map(any, pads)) else None,
            counts=counts,
            shape=shape,
            windows=(len(x), *counts, C, *self.windows.kernel),
            strides=strides,
            piece=max(1, PIECE // max(1, row * self.dtype.itemsize)),
            back=(0, rank + 1, *range(1, rank + 1)),
        )
        if len(self.plans) >= PLANS:
            self.plans.clear()
        self.plans[x.shape] = plan
        return plan

    def _by_place(self, x, y, counts):
        """Return y of a convolution whose channels are apart: one product for each place."""
        W = self.W.reshape(self.M, *self.windows.kernel)
        by_channel = (-1, *[1] * len(counts))
        y[...] = 0 if self.b is None else self.b.reshape(by_channel)
        for place, part in self.windows.positions(counts):
            y += x[part] * W[(slice(None), *place)].reshape(by_channel)
        return y


@own("ConvTranspose")
def _conv_transpose(node: Known) -> Run:
    groups, own = node.attributes.get("group", 1), node.attributes

    def run(x: Any, W: Any, b: Any = None) -> Any:
        rank = W.ndim - 2
        if rank < 1 or x.ndim != W.ndim or x.shape[1] != len(W) or len(W) % max(groups, 1):
            raise ValueError(f"x and W must be (N, C, ...) and (C, M, ...) of {groups} groups")
        windows = Windows(node, W.shape[2:])
        more = Windows._numbers(own, "output_padding", rank, 0, least=0)
        extents = [
            (n - 1) * s + span + extra
            for n, s, span, extra in zip(
                x.shape[2:], windows.strides, windows.spans, more, strict=True
            )
        ]
        N, (C, M) = len(x), W.shape[:2]
        full = np.zeros(bounds.shape((N, M * groups, *extents)), x.dtype)
        for g in range(groups):
            share = slice(g * (C // groups), (g + 1) * (C // groups))
            rows = np.moveaxis(x[:, share], 1, -1).reshape(-1, C // groups)
            bounds.checked(len(rows) * M * prod(windows.kernel))
            spread = linear(W[share].reshape(C // groups, -1).T)(rows)
            spread = spread.reshape(N, *x.shape[2:], M, *windows.kernel)
            spread = np.moveaxis(spread, rank + 1, 1)
            target = full[:, g * M : (g + 1) * M]
            for place, part in windows.positions(x.shape[2:]):
                target[part] += spread[(..., *place)]
        kept = _kept(windows, own, extents, x.shape[2:])
        more = [(0, max(0, part.stop - n)) for part, n in zip(kept, extents, strict=True)]
        y = padded(full, more)[(..., *kept)]
        return y if b is None else y + b.reshape(-1, *[1] * rank)

    return run


def _kept(windows: Windows, own: dict[str, Any], extents: Any, sizes: Any) -> list[slice]:
    """Return the slices of what a transposed convolution keeps of all that it adds up."""
    rank, found = len(extents), []
    wanted = own.get("output_shape")
    if wanted:
        wanted = wanted[-rank:]
    elif windows.auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(sizes, windows.strides, strict=True)]
    for k, extent in enumerate(extents):
        before, after = windows.pads[k], windows.pads[k + rank]
        if windows.auto == "VALID":
            before = after = 0
        if wanted:
            total = max(extent - wanted[k], 0)
            before = total // 2 if windows.auto == "SAME_UPPER" else total - total // 2
            after = extent - wanted[k] - before
        if extent - before - after < 1:
            raise ValueError(f"padding of {before} and {after} leaves nothing of {extent}")
        found.append(slice(before, extent - after))
    return found


@own("MaxPool")
def _max_pool(node: Known) -> Run | None:
    if node.outputs != 1:
        return None
    windows = Windows(node)

    def run(x: Any) -> Any:
        pads, counts = windows.placed(x.shape[2:])
        x = padded(x, pads, limits(x.dtype)[0])
        y = None
        for _, part in windows.positions(counts):
            y = x[part].copy() if y is None else np.maximum(y, x[part], out=y)
        return y

    return run


@own("AveragePool")
def _average_pool(node: Known) -> Run:
    windows, counted = Windows(node), bool(node.attributes.get("count_include_pad", 0))

    def total(x: Any, counts: Any) -> Any:
        y = 0
        for _, part in windows.positions(counts):
            y = y + x[part]
        return y

    def run(x: Any) -> Any:
        pads, counts = windows.placed(x.shape[2:])
        inside = np.ones(x.shape[2:], x.dtype)
        if counted:  # what ceil_mode adds on the right counts for nothing
            rank = len(pads)
            own = [
                (before, min(after, windows.pads[k + rank]) if windows.auto == "NOTSET" else after)
                for k, (before, after) in enumerate(pads)
            ]
            inside = padded(inside, own, 1)
            rest = [(0, after - kept) for (_, after), (_, kept) in zip(pads, own, strict=True)]
            inside = padded(inside, rest)
        else:
            inside = padded(inside, pads)
        return total(padded(x, pads), counts) / total(inside, counts)

    return run


@own("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Known) -> Run:
    mean = node.proto.op_type == "GlobalAveragePool"

    def run(x: Any) -> Any:
        axes = tuple(range(2, x.ndim))
        if mean:
            return np.add.reduce(x, axes, keepdims=True) / prod(x.shape[2:])
        return np.maximum.reduce(x, axes, keepdims=True)

    return run


@own("Pad")
def _pad(node: Known) -> Run | None:
    if node.opset < 2:
        return None
    known, fixed = node.integers("pads", 1)
    mode, constant = node.attributes.get("mode", "constant"), node.attributes.get("value", 0)
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise ValueError(f"mode must be constant, reflect, edge or wrap, got {mode}")

    def run(x: Any, given: Any = None, value: Any = None, axes: Any = None) -> Any:
        widths = fixed if known else integers(given)
        chosen = range(x.ndim) if axes is None else integers(axes)
        if widths is None or len(widths) != 2 * len(chosen):
            raise ValueError(f"pads must be {2 * len(chosen)} numbers, got {widths}")
        pads = [(0, 0)] * x.ndim
        for k, axis in enumerate(chosen):
            pads[axis] = (widths[k], widths[k + len(chosen)])
        bounds.shape(
            max(0, n + before + after) for n, (before, after) in zip(x.shape, pads, strict=True)
        )
        if any(before < 0 or after < 0 for before, after in pads):
            part = [
                slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pads, strict=True)
            ]
            x, pads = x[tuple(part)], [(max(b, 0), max(a, 0)) for b, a in pads]
        if mode == "constant":
            fill = constant if value is None or not value.size else value.reshape(())
            return padded(x, pads, fill)
        for axis, (before, after) in enumerate(pads):
            if before or after:
                x = x.take(_places(x.shape[axis], before, after, mode), axis)
        return x

    return run


@lru_cache(256)
def _places(n: int, before: int, after: int, mode: str) -> np.ndarray:
    """Return which entries of an axis are at each place of it with its padding."""
    if not n:
        raise ValueError(f"an axis of length 0 has nothing to pad with in mode {mode}")
    found = np.pad(np.arange(n), (before, after), mode)  # pyright: ignore[reportArgumentType, reportCallIssue]
    found.flags.writeable = False
    return found
