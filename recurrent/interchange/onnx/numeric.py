"""Our own functions of ONNX's operators, where onnx's are slow or wrong: elementwise and shapes.

Each maker takes a `Known` and returns the function of its arrays, or None where onnx's own function
has to do. What is constant is prepared by the maker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from . import bounds
from .known import Known, Run, integers

MAKERS: dict[str, Callable[[Known], Run | None]] = {}


def own(*names: str) -> Callable[[Any], Any]:
    """Register a maker for operators of these names."""

    def register(make: Callable[[Known], Run | None]) -> Callable[[Known], Run | None]:
        for name in names:
            MAKERS[name] = make
        return make

    return register


# Elementwise


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)), with the dtype of x."""
    y = np.exp(-x)
    y += 1
    return np.reciprocal(y)


UNARY: dict[str, Run] = {
    "Relu": lambda x: np.maximum(x, 0), "Tanh": np.tanh, "Sigmoid": sigmoid, "Sqrt": np.sqrt,
    "Exp": np.exp, "Log": np.log, "Neg": np.negative, "Abs": np.abs, "Floor": np.floor,
    "Ceil": np.ceil, "Round": np.rint, "Sin": np.sin, "Cos": np.cos, "Not": np.logical_not,
    "Reciprocal": np.reciprocal, "Identity": lambda x: x, "IsNaN": np.isnan,
    "Softsign": lambda x: x / (1 + np.abs(x)), "Softplus": lambda x: np.logaddexp(x, 0),
    "Size": lambda x: np.array(x.size, np.int64),
}  # fmt: skip
PAIRS: dict[str, Any] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Equal": np.equal, "Less": np.less,
    "LessOrEqual": np.less_equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
}  # fmt: skip


@own(*UNARY)
def _unary(node: Known) -> Run | None:
    return UNARY[node.proto.op_type] if len(node.proto.input) == 1 else None


def _paired(function: Run) -> Run:
    def run(a: Any, b: Any) -> Any:
        if a.size * b.size > bounds.MOST_ENTRIES:
            bounds.broadcast(a, b)
        return function(a, b)

    return run


@own(*PAIRS)
def _pair(node: Known) -> Run | None:
    if "axis" in node.attributes or "broadcast" in node.attributes:  # of versions before 7
        return None
    return _paired(PAIRS[node.proto.op_type])


@own("Div")
def _div(node: Known) -> Run | None:
    return None if "broadcast" in node.attributes else _paired(divided)


def divided(a: Any, b: Any) -> Any:
    """Return a / b; of integers, rounded towards zero."""
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    quotient, rest = np.divmod(a, b)
    return quotient + ((rest != 0) & ((a < 0) != (b < 0))).astype(a.dtype)


@own("Pow")
def _pow(node: Known) -> Run | None:
    if "broadcast" in node.attributes:
        return None
    exponent = node.constant(1)
    if exponent is not None and exponent.size == 1 and exponent.ndim == 0 and exponent == 2:
        return lambda x, _: np.square(x)
    return _paired(lambda a, b: np.power(a, b).astype(a.dtype, copy=False))


@own("Max", "Min", "Sum")
def _many(node: Known) -> Run:
    function = {"Max": np.maximum, "Min": np.minimum, "Sum": np.add}[node.proto.op_type]
    return lambda *arrays: functools.reduce(_paired(function), arrays)


@own("Where")
def _where(node: Known) -> Run:
    def run(condition: Any, a: Any, b: Any) -> Any:
        bounds.broadcast(condition, a, b)
        return np.where(condition, a, b)

    return run


@own("Clip")
def _clip(node: Known) -> Run:
    low, high = node.attributes.get("min"), node.attributes.get("max")

    def run(x: Any, least: Any = low, most: Any = high) -> Any:
        if least is not None:
            x = np.maximum(x, least)
        return x if most is None else np.minimum(x, most)

    return run


@own("Dropout")
def _dropout(node: Known) -> Run | None:
    training = node.constant(2)
    if node.given(2) and (training is None or training.any()):
        return None
    if node.outputs == 1:
        return lambda x, *_: x
    return lambda x, *_: (x, np.ones(x.shape, bool))


@own("Cast")
def _cast(node: Known) -> Run | None:
    import onnx

    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"])
    except (KeyError, TypeError):
        return None
    if dtype.kind not in "fiub" or dtype.itemsize == 2 or dtype.name.startswith(("float8", "int4")):
        return None

    def run(x: Any) -> Any:
        if x.dtype.kind not in "fiub":
            raise ValueError(f"cannot cast from {x.dtype} to {dtype}")
        return x.astype(dtype, copy=False)

    return run


# Shapes


@own("Shape")
def _shape(node: Known) -> Run:
    part = slice(node.attributes.get("start", 0), node.attributes.get("end"))
    return lambda x: np.array(x.shape[part], np.int64)


@own("Reshape")
def _reshape(node: Known) -> Run:
    known, sizes = node.integers("shape", 1)
    keeps = not node.attributes.get("allowzero", 0)
    if known and sizes is not None and not (keeps and 0 in sizes):
        return lambda x, _=None: x.reshape(sizes)

    def run(x: Any, shape: Any = sizes) -> Any:
        wanted = list(shape if isinstance(shape, tuple) else integers(shape))
        if keeps and 0 in wanted:
            if len(wanted) > x.ndim and 0 in wanted[x.ndim :]:
                raise ValueError(f"shape {wanted} keeps axes that x of shape {x.shape} has not")
            wanted = [x.shape[k] if n == 0 else n for k, n in enumerate(wanted)]
        return x.reshape(wanted)

    return run


@own("Flatten")
def _flatten(node: Known) -> Run:
    axis = node.attributes.get("axis", 1)

    def run(x: Any) -> Any:
        return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))

    return run


@own("Squeeze")
def _squeeze(node: Known) -> Run:
    known, axes = node.integers("axes", 1)
    if known:
        return lambda x, _=None: x.squeeze(axes)
    return lambda x, a: x.squeeze(integers(a))


@own("Unsqueeze")
def _unsqueeze(node: Known) -> Run:
    known, axes = node.integers("axes", 1)
    if known and axes and len(set(axes)) == len(axes) and max(map(abs, axes)) < 64:
        index: tuple[Any, ...] = ()
        if min(axes) >= 0:
            index = tuple(None if k in axes else slice(None) for k in range(max(axes) + 1))
        elif max(axes) < 0:
            index = (..., *(None if k in axes else slice(None) for k in range(min(axes), 0)))
        if index:
            return lambda x, _=None: x[index]
    return lambda x, a=axes: np.expand_dims(x, a if isinstance(a, tuple) else integers(a))


@own("Transpose")
def _transpose(node: Known) -> Run:
    perm = node.attributes.get("perm")
    return lambda x: x.transpose(perm)


@own("Concat")
def _concat(node: Known) -> Run:
    axis = node.attributes.get("axis", 1)

    def run(*arrays: Any) -> Any:
        bounds.checked(sum([a.size for a in arrays]))
        return np.concatenate(arrays, axis)

    return run


@own("Slice")
def _slice(node: Known) -> Run:
    names = ("starts", "ends", "axes", "steps")
    found = [node.integers(name, k) for k, name in enumerate(names, 1)]
    if all(known for known, _ in found):
        starts, ends, axes, steps = (values for _, values in found)
        axes = tuple(range(len(starts or ()))) if axes is None else axes
        backwards = steps is not None and min(steps, default=1) < 0
        if not backwards and min(axes, default=0) >= 0:
            index = _parts(max(axes, default=-1) + 1, starts or (), ends or (), axes, steps)
            return lambda x, *_: x[index]

    def run(x: Any, *given: Any) -> Any:
        values = [
            v if known else (None if a is None else integers(a))
            for (known, v), a in zip(found, [*given, None, None, None, None], strict=False)
        ]
        starts, ends, axes, steps = values
        axes = range(len(starts or ())) if axes is None else axes
        if steps is not None and min(steps, default=1) < 0:  # a start before the axis is its first
            starts = [
                max(start, -x.shape[axis]) if step < 0 else start
                for start, axis, step in zip(starts or (), axes, steps, strict=False)
            ]
        return x[_parts(x.ndim, starts or (), ends or (), axes, steps)]

    return run


def _parts(rank: int, starts: Any, ends: Any, axes: Any, steps: Any) -> tuple[slice, ...]:
    """Return the slices of the first `rank` axes."""
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError(
            f"starts, ends, axes and steps must have equal lengths, got {len(starts)}, "
            f"{len(ends)}, {len(axes)} and {len(steps)}"
        )
    found = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} is none of {rank}")
        found[axis] = slice(start, end, step)
    return tuple(found)


@own("Gather")
def _gather(node: Known) -> Run:
    axis, index = node.attributes.get("axis", 0), node.constant(1)
    if index is not None and index.ndim == 0 and axis >= 0:
        part = (*[slice(None)] * axis, int(index))
        return lambda x, _: x[part]

    def run(x: Any, ids: Any) -> Any:
        if x.size * ids.size > bounds.MOST_ENTRIES:
            bounds.checked(x.size // max(x.shape[axis], 1) * ids.size)
        return x.take(ids, axis)

    return run


@own("GatherElements")
def _gather_elements(node: Known) -> Run:
    axis = node.attributes.get("axis", 0)

    def run(x: Any, ids: Any) -> Any:
        # ids may be smaller along the other axes
        part = tuple(
            slice(None) if k == axis % x.ndim else slice(n) for k, n in enumerate(ids.shape)
        )
        return np.take_along_axis(x[part], ids, axis)

    return run


@own("ScatterElements", "Scatter")
def _scatter_elements(node: Known) -> Run | None:
    axis = node.attributes.get("axis", 0)
    if node.attributes.get("reduction", "none") != "none":
        return None

    def run(x: Any, ids: Any, updates: Any) -> Any:
        y = x.copy()
        part = tuple(
            slice(None) if k == axis % x.ndim else slice(n) for k, n in enumerate(ids.shape)
        )
        np.put_along_axis(y[part], ids, updates, axis)
        return y

    return run


@own("ScatterND")
def _scatter_nd(node: Known) -> Run | None:
    if node.attributes.get("reduction", "none") != "none":
        return None

    def run(x: Any, ids: Any, updates: Any) -> Any:
        y = x.copy()
        y[tuple(np.moveaxis(ids, -1, 0))] = updates
        return y

    return run


@own("Split")
def _split(node: Known) -> Run:
    axis, count = node.attributes.get("axis", 0), node.outputs
    known, fixed = node.integers("split", 1)
    most = node.attributes.get("num_outputs", count)
    if most != count:
        raise ValueError(f"num_outputs must be the number of outputs {count}, got {most}")

    def run(x: Any, given: Any = None) -> Any:
        n = x.shape[axis]
        sizes = fixed if known else integers(given)
        if sizes is None:
            size = -(-n // count)
            sizes = [*[size] * (count - 1), n - size * (count - 1)]
        if sum(sizes) != n or min(sizes) < 0 or len(sizes) != count:
            raise ValueError(f"{count} parts of axis {axis} must sum to {n}, got {list(sizes)}")
        before, found = (slice(None),) * (axis % x.ndim), []
        start = 0
        for size in sizes:
            found.append(x[(*before, slice(start, start + size))])
            start += size
        return found[0] if count == 1 else tuple(found)

    return run


@own("Expand")
def _expand(node: Known) -> Run:
    def run(x: Any, shape: Any) -> Any:
        return np.broadcast_to(x, bounds.shape(np.broadcast_shapes(x.shape, integers(shape))))

    return run


@own("Tile")
def _tile(node: Known) -> Run | None:
    if node.opset < 6:
        return None

    def run(x: Any, repeats: Any) -> Any:
        counts = integers(repeats)
        if len(counts) != x.ndim or min(counts, default=0) < 0:
            raise ValueError(f"repeats must be {x.ndim} numbers of at least 0, got {counts}")
        bounds.checked(x.size * prod(counts))
        return np.tile(x, counts)

    return run


@own("ConstantOfShape")
def _constant_of_shape(node: Known) -> Run:
    import onnx

    value = node.attributes.get("value")
    a = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    if a.size != 1:
        raise ValueError(f"value must have one entry, got {a.size}")
    return lambda shape: np.full(bounds.shape(integers(shape)), a.flat[0])


@own("Range")
def _range(node: Known) -> Run:
    def run(start: Any, limit: Any, delta: Any) -> Any:
        if start.size != 1 or limit.size != 1 or delta.size != 1 or not delta.any():
            raise ValueError("start, limit and delta must be numbers, and delta not 0")
        first, last, step = (a.item() for a in (start, limit, delta))
        count = np.ceil((last - first) / step)
        if not np.isfinite(count):
            raise ValueError(f"the range from {first} to {last} by {step} has no end")
        bounds.checked(count)
        steps = np.arange(max(int(count), 0), dtype=start.dtype)
        return start.reshape(()) + steps * delta.reshape(())

    return run


# Reductions and normalisation


@own("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
def _reduction(node: Known) -> Run:
    kind = node.proto.op_type
    known, fixed = node.integers("axes", 1)
    keepdims = bool(node.attributes.get("keepdims", 1))
    leaves = bool(node.attributes.get("noop_with_empty_axes", 0))
    reduce: Any = {
        "ReduceSum": np.add, "ReduceMean": np.add, "ReduceMax": np.maximum,
        "ReduceMin": np.minimum, "ReduceProd": np.multiply,
    }[kind].reduce  # fmt: skip

    def run(x: Any, given: Any = None) -> Any:
        axes = fixed if known else integers(given)
        if not axes:
            if leaves:
                return x
            axes = None
        if kind in ("ReduceMax", "ReduceMin"):
            empty = {} if x.size else {"initial": limits(x.dtype)[kind == "ReduceMin"]}
            return reduce(x, axis=axes, keepdims=keepdims, **empty)
        y = reduce(x, axis=axes, dtype=x.dtype, keepdims=keepdims)
        if kind != "ReduceMean":
            return y
        y = np.asarray(y)
        return divided(y, np.array(x.size // max(y.size, 1), y.dtype))

    return run


def limits(dtype: np.dtype) -> tuple[Any, Any]:
    """Return the least and the largest value of a dtype."""
    if dtype.kind == "f":
        return -np.inf, np.inf
    return (False, True) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


@own("Softmax", "LogSoftmax")
def _softmax(node: Known) -> Run:
    newer = node.opset >= 13
    axis = node.attributes.get("axis", -1 if newer else 1)
    logarithm = node.proto.op_type == "LogSoftmax"

    def run(x: Any) -> Any:
        if x.size == 0:
            return x
        # Older versions take all axes from `axis` on together.
        along: Any = axis if newer else tuple(range(axis % max(x.ndim, 1), x.ndim))
        y = x - x.max(along, keepdims=True)
        if logarithm:
            return y - np.log(np.exp(y).sum(along, keepdims=True))
        np.exp(y, out=y)
        y /= y.sum(along, keepdims=True)
        return y

    return run


@own("LayerNormalization")
def _layer_norm(node: Known) -> Run | None:
    if node.outputs != 1:
        return None
    axis, epsilon = node.attributes.get("axis", -1), node.attributes.get("epsilon", 1e-5)

    def run(x: Any, scale: Any, bias: Any = None) -> Any:
        axes = tuple(range(axis % x.ndim, x.ndim))
        count = prod(x.shape[k] for k in axes)
        d = x - np.add.reduce(x, axes, keepdims=True) / count
        d /= np.sqrt(np.add.reduce(d * d, axes, keepdims=True) / count + epsilon)
        y = d * scale
        return y if bias is None else y + bias

    return run


@own("BatchNormalization")
def _batch_norm(node: Known) -> Run | None:
    if node.outputs != 1 or node.opset < 9 or node.attributes.get("training_mode", 0):
        return None
    epsilon = node.attributes.get("epsilon", 1e-5)

    def run(x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
        by_channel = (-1, *[1] * (x.ndim - 2))
        factor = scale / np.sqrt(variance + epsilon)
        y = x * factor.reshape(by_channel)
        y += (bias - mean * factor).reshape(by_channel)
        return y

    return run
