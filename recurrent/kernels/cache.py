"""The cache of compiled kernels on disk: Numba's, with a digest in each file.

Numba decides from the date of one source file whether cached code is current. A kernel also depends
on the files that it calls and on those that generate its code, so the cache is keyed by a digest of
two whole folders: `codegen.target` puts it in the type of a kernel's first argument, and `Files` in
the names of the cache's index files.

Numba raises an error where a file of its cache is damaged or cannot be written, and loads machine
code without checking it. Here such a kernel is compiled in memory, and the user is told once.
"""

from __future__ import annotations

import hashlib
import pickle
import uuid
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

DIGEST = hashlib.sha256().digest_size


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


_warned = False


def warn_once(problem: str) -> None:
    """Warn, once in a process, that kernels are compiled in memory."""
    global _warned
    if _warned:
        return
    _warned = True
    warnings.warn(
        f"recurrent: {problem}, so kernels are compiled in memory, and again by every process; "
        "set NUMBA_CACHE_DIR to a folder that can be written",
        RuntimeWarning,
        stacklevel=2,
    )


class Files(IndexDataCacheFile):
    """The index and the data files of one kernel; each begins with a digest of the rest.

    The index has another name for each version of the sources. Numba looks at the date of one file
    only, and it cannot read an index whose pickled types have moved to another module.
    """

    def __init__(self, cache_path: str, filename_base: str, source_stamp: Any):
        super().__init__(cache_path, f"{source_digest()}-{filename_base}", source_stamp)

    def _data_name(self, number):
        # Numba counts from 1. Two processes that fill an empty cache at once, one in float32 and
        # one in float64, could write to the same file. The index would then lead to code for
        # arguments of the other type, and every later call would raise a TypeError.
        return super()._data_name(uuid.uuid4().int)

    def save(self, key, data):
        try:
            self._load_index()
        except Exception:
            self.flush()  # replaces a damaged index
        super().save(key, data)

    def _load_index(self):
        try:
            content = self._read(self._index_path)
        except FileNotFoundError:
            return {}
        stamp, overloads = pickle.loads(content)
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads):
        self._write(self._index_path, (self._source_stamp, overloads))

    def _load_data(self, name):
        return pickle.loads(self._read(self._data_path(name)))

    def _save_data(self, name, data):
        self._write(self._data_path(name), data)

    def _read(self, path) -> bytes:
        whole = Path(path).read_bytes()
        if hashlib.sha256(whole[DIGEST:]).digest() != whole[:DIGEST]:
            raise ValueError(f"{path} is damaged")
        return whole[DIGEST:]

    def _write(self, path, value):
        content = self._dump(value)
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(content).digest() + content)


class KernelCache(FunctionCache):
    """The cache of one kernel; an error of it is a warning, the first time in a process."""

    def __init__(self, function):
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = Files(
            self._cache_path, self._impl.filename_base, locator.get_source_stamp()
        )

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:
            problem = error
        self._warn(problem)  # outside, so that no warning turned into an error is caught
        return None

    def save_overload(self, sig, data):
        problem = None
        try:
            super().save_overload(sig, data)
        except Exception as error:
            problem = error
        if problem is not None:
            self._warn(problem)

    def _warn(self, error):
        warn_once(f"the cache of compiled kernels in {self._cache_path} cannot be used ({error})")
