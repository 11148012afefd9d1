"""The choice of the units and inputs that a picture draws."""

from __future__ import annotations

from collections.abc import Sequence

# All units are drawn up to ALL of them; beyond that, the first, the last and those asked for.
ALL, FIRST, LAST = 12, 4, 2


def shown(count: int, wanted: Sequence[int] = ()) -> list[int]:
    """Return which of `count` indices are drawn: all if few, else both ends and `wanted`.

    >>> shown(5), shown(512, [100])
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 100, 510, 511])
    """
    if count <= ALL:
        return list(range(count))
    return sorted({*range(FIRST), *range(count - LAST, count), *wanted})
