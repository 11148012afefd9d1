"""The choice of units and inputs that are drawn."""

from __future__ import annotations

from collections.abc import Sequence

# Up to ALL units are all drawn; of more, the first, the last, and those asked for.
ALL, FIRST, LAST = 12, 4, 2


def shown(count: int, wanted: Sequence[int] = ()) -> list[int]:
    """Return the indices that are drawn.

    >>> shown(5), shown(512, [100])
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 100, 510, 511])
    """
    if count <= ALL:
        return list(range(count))
    return sorted({*range(FIRST), *range(count - LAST, count), *wanted})
