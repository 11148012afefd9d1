"""What all workloads that engines do side by side have in common."""

from __future__ import annotations


class Work:
    """A subclass is a frozen dataclass with a `name`, the `group`, `cell` and `task` of its row, `flops` and `bytes` of what
    one time is given for (`per`), None where nobody counts them, and with what engines are compared by.

    `compared`: calls whose results must agree before anything is timed, `tolerance`: the largest difference allowed,
    relative to the larger of 1 and the largest result.
    """

    name: str
    group: str
    cell: str
    task: str
    dtype = "float32"
    flops: float
    bytes: float | None = None
    per = "call"
    compared = 1
    tolerance: float

    @property
    def method(self) -> str:
        """The adaptors' function that does it."""
        return self.task

    def facts(self) -> dict:
        """What a row says about the workload."""
        names = ("name", "group", "cell", "task", "dtype", "flops", "bytes", "per")
        return {n: getattr(self, n) for n in names}

    def data(self) -> object:
        """The same input and weights for every engine."""
        raise NotImplementedError

    def count(self, calls: int) -> int:
        """How many of `per` there are in so many calls."""
        return calls
