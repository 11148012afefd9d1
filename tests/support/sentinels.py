"""Run kernels on arrays between sentinels: a write outside is detected, a read outside finds NaN.

`watch(monkeypatch, backend)` copies every array that a compiled kernel gets between sentinels,
however it was allocated, to an address that is not aligned for vectors. Tests call the public
functions as usual; their results must keep every bit.
"""

import inspect
from collections.abc import Callable
from types import ModuleType

import numpy as np
from numba.core.dispatcher import Dispatcher

# Numbers on either side: more than the widest tile, 4 vectors of 16.
GUARD = 80
# Bytes of a cache line, and of the widest vector.
LINE = 64
# By size of a number: as floats NaN with a payload.
PATTERN = {1: 0xA5, 2: 0x7FC0, 4: 0x7FC05EED, 8: 0x7FF800005EED5EED}


class Guarded:
    """A copy of an array between sentinels, one number past an aligned address."""

    def __init__(self, a: np.ndarray):
        size, line = a.dtype.itemsize, LINE // a.dtype.itemsize
        self.original, bits = a, np.dtype(f"u{size}")
        whole = np.full(GUARD + line + a.size + GUARD, PATTERN[size], bits)
        first = GUARD + (1 - whole[GUARD:].ctypes.data // size) % line
        self.before, inside, self.after = np.split(whole, [first, first + a.size])
        self.array = inside.view(a.dtype).reshape(a.shape)
        self.array[...] = a
        self.array.flags.writeable = a.flags.writeable
        assert not a.size or self.array.ctypes.data % LINE == size % LINE

    def check(self, name: str) -> None:
        """Raise AssertionError if a sentinel has changed; copy the contents back if they have."""
        for side, words in (("before", self.before[::-1]), ("after", self.after)):
            touched = np.flatnonzero(words != PATTERN[words.itemsize]) + 1
            assert not touched.size, (
                f"{name} wrote {touched.tolist()} numbers {side} an array {self.array.shape}"
            )
        if self.array.tobytes() != self.original.tobytes():
            self.original[...] = self.array


def guarded(kernel: Dispatcher, seen: set | None = None, kind: Callable = Guarded):
    """Return a function that calls the kernel on guarded copies of its arrays, in tuples too."""

    def call(*args):
        (seen if seen is not None else set()).add(kernel.__name__)
        copies = []

        def guard(a, name):
            if isinstance(a, tuple):
                items = [guard(b, f"{name}[{k}]") for k, b in enumerate(a)]
                return type(a)(*items) if hasattr(a, "_fields") else tuple(items)
            if not isinstance(a, np.ndarray):
                return a
            copies.append((name, kind(a)))
            return copies[-1][1].array

        result = kernel(*[guard(a, str(k)) for k, a in enumerate(args)])
        for name, copy in copies:
            copy.check(f"{kernel.__name__}, argument {name},")
        return result

    call.compile = lambda signature: call  # a kernel called by its signature is guarded too
    return call


class GuardedModule:
    """A module of kernels, all guarded; `seen` collects the names of those that were called."""

    def __init__(self, module: ModuleType, seen: set | None = None, kind: Callable = Guarded):
        self.module, self.seen, self.kind = module, seen, kind

    def __getattr__(self, name):
        value = getattr(self.module, name)
        if (
            isinstance(value, Dispatcher)
            and "fields" in inspect.signature(value.py_func).parameters
        ):
            self.seen.add(name)  # called by its address, it gets addresses
            return value
        return guarded(value, self.seen, self.kind) if isinstance(value, Dispatcher) else value


def kernel_modules(module: ModuleType) -> dict[str, ModuleType]:
    """Return the modules with kernels that a module has imported, by name."""
    modules = {k: v for k, v in vars(module).items() if isinstance(v, ModuleType)}
    return {
        k: v for k, v in modules.items() if any(isinstance(f, Dispatcher) for f in vars(v).values())
    }


def watch(monkeypatch, backend: ModuleType, kind: Callable = Guarded) -> set:
    """Guard every kernel that `backend` calls until the patch is undone.

    Returns the set of names of the kernels called, which fills as they are.
    """
    seen = set()
    for name, module in kernel_modules(backend).items():
        monkeypatch.setattr(backend, name, GuardedModule(module, seen, kind))
    for name, f in list(vars(backend).items()):
        # A cached function may hold kernels that are not guarded.
        if hasattr(f, "cache_clear") and f.__module__ == backend.__name__:
            monkeypatch.setattr(backend, name, f.__wrapped__)
    return seen
