"""A fork waits until no other thread compiles.

The child would inherit the locks of Numba and LLVM, held for ever by a thread that it does not
have, and LLVM in the middle of its work.
"""

from __future__ import annotations

import os
from typing import Any

from llvmlite.binding import ffi
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import parallel

# In the order in which a compilation takes them.
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


def _hold() -> None:
    for lock in _locks:
        lock.__enter__()
        _held.append(lock)


def _release() -> None:
    while _held:
        _held.pop().__exit__(None, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
