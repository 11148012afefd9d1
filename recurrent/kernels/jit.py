"""The one decorator: compile options are stated here and nowhere else, and where compiled code is kept."""

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
    """Digest of everything besides a cell's equations that compiled code depends on: Numba and two whole folders."""
    digest = hashlib.sha256(numba.__version__.encode())
    package = Path(__file__).parents[1]
    for path in sorted(
        p for folder in ("kernels", "equations") for p in (package / folder).rglob("*.py")
    ):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class _OwnName(str):
    """Numba's pattern for the names of its data files, with a number that no other process chooses.

    Numba counts from 1. Two processes that fill an empty cache at once, one in float32 and one in float64, may so write
    to one file; the index then leads to code for arguments of the other type, and every later call is a TypeError.
    """

    def format(self, number: int) -> str:
        return super().format(number=uuid.uuid4().int)


def jit(function):
    """Compile on first call, keep the result on disk, release the GIL.

    NumPy's error model: Python's checks each division, and that check alone stops vectorisation (10 times slower).
    No fast-math: contraction or reassociation chosen by the compiler would break the bitwise promises.
    """
    compiled = njit(nogil=True, error_model="numpy")(function)
    if config.DISABLE_JIT:
        return compiled
    try:
        compiled.enable_caching()
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        # Not a temporary folder: code that anyone could have put there would be run.
        warnings.warn(
            "recurrent: no folder for compiled kernels can be written, so every process compiles them again; "
            "set NUMBA_CACHE_DIR to one that can",
            RuntimeWarning,
            stacklevel=1,  # one place, so that it is said once
        )
        return compiled
    files = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if files is not None:
        # An index of its own for each version of the sources: Numba looks at one file's date alone, not at those that it
        # calls, and cannot read an index whose types have moved to another module since.
        files._index_name = f"{source_digest()}-{files._index_name}"
        files._index_path = str(Path(files._cache_path) / files._index_name)
        files._data_name_pattern = _OwnName(files._data_name_pattern)
    return compiled
