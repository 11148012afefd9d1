"""Objects that refuse new attributes once they are built, so that a misspelt name is an error."""

from __future__ import annotations

from functools import wraps
from typing import Any

from .. import checks
from ..checks.elsewhere import answer, answers


class Sealed:
    """Base class of objects whose public attributes are those that a constructor has set.

    Attributes and properties of the class, and names that begin with an underscore, can be set too.

    Examples
    --------
    >>> from recurrent import Linear
    >>> Linear(2, 1).trainble = False
    Traceback (most recent call last):
    ...
    AttributeError: Linear has no attribute 'trainble'; did you mean 'trainable'?
    """

    _sealed = False

    def __init_subclass__(cls) -> None:
        constructor = cls.__init__
        if constructor is object.__init__:
            return

        @wraps(constructor)
        def __init__(self, *args, **options):
            constructor(self, *args, **options)
            if type(self) is cls:  # not yet after the constructor of a base class
                self._sealed = True

        cls.__init__ = __init__

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; raise AttributeError for a name that the object does not have."""
        if (
            not self._sealed
            or name[0] == "_"
            or hasattr(type(self), name)
            or hasattr(self, name)  # `vars(self)` would make every attribute slower to read
        ):
            object.__setattr__(self, name, value)
            return
        classes = [c.__name__ for c in type(self).__mro__]
        words = next((answer(k) for c in classes if (k := f"{c}.{name}") in answers()), "")
        words = words or checks.guess(name, [n for n in dir(self) if n[0] != "_"])
        raise AttributeError(f"{classes[0]} has no attribute {name!r}{words}")
