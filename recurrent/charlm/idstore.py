"""A growing array of ids that takes little more memory than the ids themselves."""

from __future__ import annotations

from typing import Any

import numpy as np


class IdStore:
    """Ids that are appended piece by piece.

    Parameters
    ----------
    dtype : numpy.dtype
        An unsigned integer dtype; it may become a wider one.

    Examples
    --------
    >>> store = IdStore(np.uint8)
    >>> store.append(np.array([3, 255]), np.uint8)
    >>> store.append(np.array([256]), np.uint16)
    >>> store.array()
    array([  3, 255, 256], dtype=uint16)
    """

    CHUNK = 2**18  # ids that are widened at a time

    def __init__(self, dtype: Any):
        self.dtype, self.bytes = np.dtype(dtype), bytearray()

    def array(self) -> np.ndarray:
        """Return the ids, in the memory of the store, to which nothing may then be appended.

        Returns
        -------
        ndarray, shape (n,), of the dtype of the store
        """
        return np.frombuffer(self.bytes, self.dtype)

    def append(self, ids: np.ndarray, dtype: Any) -> None:
        """Append ids.

        Parameters
        ----------
        ids : ndarray, shape (n,), int
            The ids.
        dtype : numpy.dtype
            Unsigned, as wide as that of the store or wider, and wide enough for the ids.
        """
        if dtype != self.dtype:
            self._widen(np.dtype(dtype))
        self.bytes += np.ascontiguousarray(ids, dtype).view(np.uint8).data

    def _widen(self, dtype: np.dtype) -> None:
        """Convert the ids to a wider dtype in place, from the last to the first."""
        n = len(self.bytes) // self.dtype.itemsize
        self.bytes.extend(bytes(n * (dtype.itemsize - self.dtype.itemsize)))
        narrow = np.frombuffer(self.bytes, self.dtype, n)
        wide = np.frombuffer(self.bytes, dtype, n)
        for end in range(n, 0, -self.CHUNK):
            part = slice(max(0, end - self.CHUNK), end)
            wide[part] = narrow[part].copy()
        self.dtype = dtype
