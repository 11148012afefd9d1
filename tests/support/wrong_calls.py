"""Wrong calls: one argument of a call that works is replaced by a value that is none.

`wrong_values` are the values that take the place of an argument, and `fault` says what is wrong
with the answer. A call either works or raises one of the documented errors, from a `raise` of the
package, on one line that names the argument; and it then changes nothing.
"""

from __future__ import annotations

import linecache
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import recurrent
import viz
from recurrent.gradcheck import GradientError

PACKAGES = [str(Path(package.__file__).parent) for package in (recurrent, viz)]
# Words of errors that Python, NumPy and Numba raise on their own.
FOREIGN = re.compile(
    "object has no|not iterable|not subscriptable|not callable|unsupported|inhomogeneous"
    "|not be broadcast|broadcast together|cannot broadcast"
    "|ufunc|not supported between|positional argument|truth value|unexpected keyword|<class"
    "|cannot unpack|too many values|not enough values|nopython|out of bounds|0x"
)


@dataclass
class Call:
    """A call that works.

    Parameters
    ----------
    name : str
        Name of the function.
    make : callable
        Returns the function, its arguments by name, and the objects that a failed call leaves as
        they are.
    words : dict of str to str
        A pattern that names an argument in errors, where that is not its name.
    errors : tuple of type
        Documented errors other than TypeError and ValueError.
    without : dict of str to set of str
        Labels of values that an argument must not get, because the call would not end.
    """

    name: str
    make: Callable[[], tuple]
    words: dict[str, str] = field(default_factory=dict)
    errors: tuple[type, ...] = ()
    without: dict[str, set[str]] = field(default_factory=dict)


class Nothing:
    """An object that has none of what is needed."""


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "2": lambda: 2,
    "numpy 2": lambda: np.int64(2),
    "0": lambda: 0,
    "-1": lambda: -1,
    "10**20": lambda: 10**20,
    "1.5": lambda: 1.5,
    "float32 0.5": lambda: np.float32(0.5),
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "complex": lambda: 1j,
    "str": lambda: "wrong",
    "empty str": lambda: "",
    "long str": lambda: "wrong " * 1000,
    "bytes": lambda: b"wrong",
    "list": lambda: [1, 2],
    "list of str": lambda: ["a", "b"],
    "list of None": lambda: [None],
    "uneven list": lambda: [[1, 2], [3]],
    "empty list": list,
    "empty tuple": tuple,
    "dict": lambda: {"a": 1},
    "set": lambda: {1},
    "object": Nothing,
    "type": lambda: Nothing,
    "function": lambda: lambda *_, **__: None,
    "empty array": lambda: np.zeros(0, np.float32),
    "scalar array": lambda: np.zeros((), np.float32),
    "floats": lambda: np.linspace(0, 1, 3, dtype=np.float32),
    "doubles": lambda: np.zeros((2, 2, 2)),
    "ints": lambda: np.arange(4),
    "bools": lambda: np.ones((3, 2), bool),
    "four axes": lambda: np.zeros((2, 2, 2, 2), np.float32),
    "complex array": lambda: np.zeros(3, complex),
    "object array": lambda: np.array([None, "a"], object),
    "str array": lambda: np.array(["a", "b"]),
    "records": lambda: np.zeros(2, [("a", int), ("b", float)]),
    "dates": lambda: np.zeros(2, "M8[D]"),
}

try:
    import torch

    VALUES |= {
        "tensor": lambda: torch.ones(3, 2),
        "int tensor": lambda: torch.ones(3, dtype=torch.int64),
        "tensor with gradient": lambda: torch.ones(3, 2, 2, requires_grad=True),
        "bfloat16 tensor": lambda: torch.ones(3, 2, 2, dtype=torch.bfloat16),
        "sparse tensor": lambda: torch.ones(3, 2).to_sparse(),
    }
except ImportError:
    pass


def wrong_values(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield labels and values that take the place of an argument with this value."""
    for label, make in VALUES.items():
        yield label, make()
    if isinstance(value, np.ndarray):
        yield from _wrong_arrays(value)
    elif isinstance(value, (tuple, list)) and value:
        kind = (lambda v: type(value)(*v)) if hasattr(value, "_fields") else type(value)
        for k, part in enumerate(value):
            for label, other in _wrong_entries(part):
                yield f"[{k}] {label}", kind([*value[:k], other, *value[k + 1 :]])
        yield "one entry less", tuple(value[:-1])
        yield "one entry more", (*value, value[-1])
    elif isinstance(value, dict):
        for key, part in value.items():
            for label, other in _wrong_entries(part):
                yield f"[{key!r}] {label}", {**value, key: other}
        yield "one name less", dict(list(value.items())[:-1])
        yield "one name more", {**value, "more": 1}


def _wrong_entries(part):
    for label in ("None", "2", "nan", "str", "dict", "object", "uneven list", "four axes"):
        yield label, VALUES[label]()
    if isinstance(part, np.ndarray):
        yield from _wrong_arrays(part)


def _wrong_arrays(a: np.ndarray) -> Iterator[tuple[str, Any]]:
    yield "one axis more", a[..., None]
    for axis in range(a.ndim):
        yield f"axis {axis} shorter", a.take(range(a.shape[axis] - 1), axis)
        yield f"axis {axis} longer", a.take([*range(a.shape[axis]), 0], axis)
        yield f"axis {axis} removed", a.take(0, axis)
        yield f"axis {axis} empty", a.take([], axis)
    other = "float32" if a.dtype == "float64" else "float64"
    for dtype in (other, "float16", "int64", "bool", "complex64", a.dtype.newbyteorder()):
        yield f"dtype {np.dtype(dtype).str}", a.astype(dtype)
    if a.dtype.kind == "f":
        yield "all nan", np.full_like(a, np.nan)
        yield "all inf", np.full_like(a, np.inf)
    if a.dtype.kind == "i":
        yield "all negative", np.full_like(a, -1)
        yield "all huge", np.full_like(a, np.iinfo(a.dtype).max)
    frozen = a.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "strided", np.repeat(a[..., None], 2, -1)[..., 0]
    yield "list", a.tolist()


def trials(call: Call) -> Iterator[tuple[str, str]]:
    """Yield each argument of a call with the label of each value that takes its place."""
    for argument, value in call.make()[1].items():
        # What a tape holds is nobody's business.
        for label, _ in wrong_values(None if argument == "tape" else value):
            if label not in call.without.get(argument, ()):
                yield argument, label


def attempt(call: Call, argument: str, label: str) -> tuple[str, str]:
    """Make one wrong call; return "works", "error" or "fault", and the message."""
    function, arguments, watched = call.make()
    kind = None if argument == "tape" else arguments[argument]
    wrong = next(v for name, v in wrong_values(kind) if name == label)
    before = snapshot(watched)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(**{**arguments, argument: wrong})
    except Exception as error:
        found = fault(call, argument, error)
        if not found and snapshot(watched) != before:
            found = "the failed call has changed something"
        shown = f"{type(error).__name__}: {error}"
        return ("fault", f"{found}: {shown}") if found else ("error", shown)
    return "works", type(result).__name__


def fault(call: Call, argument: str, error: Exception) -> str:
    """Return what is wrong with an error, or an empty str."""
    if isinstance(error, (GradientError, FloatingPointError)):
        return ""  # no fault of the arguments, but a result
    message = str(error)
    documented = (TypeError, ValueError, *call.errors)
    if not isinstance(error, documented):
        return "of an undocumented type"
    if "\n" in message or len(message) > 400:
        return "not one line"
    if FOREIGN.search(re.sub("got Tensor: .*", "", message)):  # quotes the other library
        return "foreign words"
    if not re.search(rf"\b({call.words.get(argument, argument)})", message):
        return "does not name the argument"
    origin = error
    while origin.__cause__ is not None:  # an error that names the layer around it
        origin = origin.__cause__
    place = origin.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    file = place.tb_frame.f_code.co_filename
    if not any(file.startswith(package) for package in PACKAGES):
        return f"raised in {file}"
    if not linecache.getline(file, place.tb_lineno).strip().startswith("raise"):
        return f"raised by chance in {file}:{place.tb_lineno}"
    return ""


def snapshot(value: Any) -> Any:
    """Return everything about an object that a failed call leaves as it is, comparable."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, (tuple, list)):
        return [snapshot(v) for v in value]
    if isinstance(value, dict):
        return {k: snapshot(v) for k, v in value.items()}
    if isinstance(value, recurrent.layers.Layer):
        return snapshot(dict(value.parameters)), value.generator.bit_generator.state
    if isinstance(value, recurrent.models.base.Model):
        return snapshot(value.flat), value.generator.bit_generator.state
    if isinstance(value, recurrent.optim.Optimizer):
        return repr(value), value.steps, snapshot(value.arrays)
    if isinstance(value, recurrent.layers.stream.Stream):
        return snapshot(value.state)
    if isinstance(value, recurrent.CharLM):
        return snapshot([value.model, vars(value.training), value.options])
    if isinstance(value, (SimpleNamespace, recurrent.TruncatedBPTT)):
        return snapshot(vars(value))
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return repr(value) if isinstance(value, (int, float, str, type(None))) else id(value)
