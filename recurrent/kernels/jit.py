"""The decorator of all kernels: compile options, cache on disk, and forks during a compilation."""

from __future__ import annotations

import os
from typing import Any

import numba
from llvmlite.binding import ffi
from numba import config, njit
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import parallel

from .cache import KernelCache, warn_once


def jit(function):
    """Compile a function on its first call, cache the result on disk, release the GIL.

    NumPy's error model: Python's checks each division, and that check alone stops vectorisation (10
    times slower). No fast-math: contraction or reassociation chosen by the compiler would break the
    bitwise promises.
    """
    compiled = njit(nogil=True, error_model="numpy")(function)
    if not config.DISABLE_JIT:
        try:
            compiled._cache = KernelCache(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            # No temporary folder instead: anyone could have put code there, and it would be run.
            warn_once("cannot write to any folder for compiled kernels")
    return compiled


_entries: dict = {}


def launch(kernel, target, *args):
    """Call a kernel by the signature of its first call with this target.

    Types, dimensions and layout of the arguments must depend on the target alone. Numba's dispatch
    would derive them again in every call, from each field of a named tuple.
    """
    entry = _entries.get((kernel, target))
    if entry is None:
        signature = tuple(numba.typeof(a) for a in (target, *args))
        entry = _entries[kernel, target] = kernel.compile(signature)
    return entry(target, *args)


# Locks of Numba and LLVM in the order in which a compilation takes them. A child forked while
# another thread holds one would wait for it for ever, and LLVM would be in the middle of its work.
# So a fork waits for that thread.
_locks: list[Any] = [
    lock
    for lock in (
        global_compiler_lock,
        getattr(ffi.lib, "_lock", None),
        getattr(parallel, "_backend_init_thread_lock", None),
    )
    if lock is not None
]
_held: list[Any] = []  # by the thread that forks


def _hold_locks() -> None:
    for lock in _locks:
        lock.__enter__()
        _held.append(lock)


def _release_locks() -> None:
    while _held:
        _held.pop().__exit__(None, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_hold_locks, after_in_parent=_release_locks, after_in_child=_release_locks
    )
