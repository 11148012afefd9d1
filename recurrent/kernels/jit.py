"""The one decorator: compile options are stated here and nowhere else."""

from numba import njit


def jit(function):
    """Compile on first call, keep the result on disk, release the GIL.

    NumPy's error model: Python's checks each division, and that check alone stops vectorisation (10 times slower).
    No fast-math: contraction or reassociation chosen by the compiler would break the bitwise promises.
    """
    return njit(nogil=True, cache=True, error_model="numpy")(function)
