"""Arrays packed into one text that a script unpacks bit for bit."""

from __future__ import annotations

import base64
import zlib

import numpy as np


class Blob:
    """Arrays as one deflated text in base 85.

    Each array is stored by planes: the first bytes of all its numbers, then the second bytes, and
    so on. With the exponents side by side the text is a fifth smaller.
    """

    def __init__(self):
        self.packer = zlib.compressobj(9, strategy=zlib.Z_FILTERED)
        self.packed: list[bytes] = []
        self.at = 0
        self.known: dict = {}

    def put(self, a: np.ndarray) -> list:
        """Add an array and return its place [offset, length, type]."""
        a = np.asarray(a)
        if a.dtype.kind == "f":
            kind = f"f{a.dtype.itemsize}"
        else:
            kind = "i4" if a.max(initial=0) > 65535 else "u2"
        raw = np.ascontiguousarray(a, "<" + kind).tobytes()
        if (kind, raw) not in self.known:
            pad = -self.at % 8
            self._add(b"\0" * pad)
            for plane in np.frombuffer(raw, np.uint8).reshape(-1, int(kind[1])).T:
                self._add(plane.tobytes())
            self.known[kind, raw] = [self.at + pad, a.size, kind]
            self.at += pad + len(raw)
        return self.known[kind, raw]

    def _add(self, part):
        """Deflate a plane as a separate block, so that it has its own Huffman code."""
        self.packed += [self.packer.compress(part), self.packer.flush(zlib.Z_PARTIAL_FLUSH)]

    def text(self) -> str:
        """Return the text in base 85 with "," for "<", so that it cannot end an element."""
        packed = b"".join([*self.packed, self.packer.copy().flush()])
        return base64.b85encode(packed).decode().replace("<", ",")
