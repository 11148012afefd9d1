"""The decorator of all kernels: compile options and the on-disk cache of compiled code.

Numba decides from the date of one file whether cached code is current. A kernel also depends on the
files that it calls and on those that generate its code, so the cache is keyed by a digest of two
whole folders: `codegen.target` puts it in the type of a kernel's first argument, and `jit` in the
names of the cache's index files.
"""

from __future__ import annotations

import hashlib
import uuid
import warnings
from functools import cache
from pathlib import Path

import numba
from numba import config, njit


@cache
def source_digest() -> str:
    """Return a digest of Numba's version and of all sources in `kernels` and `equations`.

    Compiled code depends on these, and on a cell's equations.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    package = Path(__file__).parents[1]
    sources = [p for folder in ("kernels", "equations") for p in (package / folder).rglob("*.py")]
    for path in sorted(sources):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class _UniqueName(str):
    """Numba's pattern for names of data files; its numbers are unique across processes.

    Numba counts from 1. Two processes that fill an empty cache at once, one in float32 and one in
    float64, could write to the same file. The index would then lead to code for arguments of the
    other type, and every later call would raise a TypeError.
    """

    def format(self, number: int) -> str:
        return super().format(number=uuid.uuid4().int)


def jit(function):
    """Compile a function on its first call, cache the result on disk, release the GIL.

    NumPy's error model: Python's checks each division, and that check alone stops vectorisation (10
    times slower). No fast-math: contraction or reassociation chosen by the compiler would break the
    bitwise promises.
    """
    compiled = njit(nogil=True, error_model="numpy")(function)
    if config.DISABLE_JIT:
        return compiled
    try:
        compiled.enable_caching()
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        # No temporary folder instead: anyone could have put code there, and it would be run.
        warnings.warn(
            "recurrent: cannot write to any folder for compiled kernels, so every process compiles "
            "them again; set NUMBA_CACHE_DIR to a writable folder",
            RuntimeWarning,
            stacklevel=1,  # always the same place, so that Python shows the warning once
        )
        return compiled
    files = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if files is not None:
        # A separate index for each version of the sources. Numba looks at the date of one file
        # only, and it cannot read an index whose pickled types have moved to another module.
        files._index_name = f"{source_digest()}-{files._index_name}"
        files._index_path = str(Path(files._cache_path) / files._index_name)
        files._data_name_pattern = _UniqueName(files._data_name_pattern)
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
