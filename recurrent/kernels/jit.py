"""The decorator of all kernels: compile options, and the on-disk cache of compiled code."""

from __future__ import annotations

import numba
from numba import config, njit

from .cache import KernelCache, warn_once
from .codegen import forks as forks  # a fork waits for a compilation


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


def address_of(kernel, signature: tuple) -> int:
    """Return the address of a kernel compiled for a signature, as a C function."""
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)


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
