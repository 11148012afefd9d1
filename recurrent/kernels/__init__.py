"""What runs: compiled kernels, or their plain NumPy counterparts when NUMBA_DISABLE_JIT=1. Kernels never validate."""

from numba import config

from . import reference

if config.DISABLE_JIT:
    backend = reference
else:
    from . import compiled as backend

__all__ = ["backend", "reference"]
