"""Errors for names and options that do not exist: one line that says what to write instead."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from dis import opmap
from typing import Any, TypeVar

from . import guess
from .elsewhere import answer, answers

F = TypeVar("F", bound=Callable)


def unknown_option(owner: str, name: str, options: Iterable[str], *owners: str) -> TypeError:
    """Return the error for an option that does not exist.

    Parameters
    ----------
    owner : str
        What has no such option, such as "LSTM".
    name : str
        The option.
    options : iterable of str
        The options that can be given.
    *owners : str
        Classes or functions to look up answers for, besides `owner`.
    """
    options = list(options)
    words = answer(name, *(f"{o}({name})" for o in (owner, *owners)))
    if not words and options:
        words = f"; its options are {', '.join(options)}{guess(name, options)}"
    return TypeError(f"{owner} has no option {name!r}{words}")


def refused(function, args, kwargs) -> TypeError | None:
    """Return the error for arguments that do not fit a function's signature, None if they do."""
    parameters = list(inspect.signature(function).parameters.values())
    owner, owners = function.__name__, []
    if parameters and parameters[0].name == "self":
        classes = [c.__name__ for c in type(args[0]).__mro__]
        if owner == "__init__":
            owner, *owners = classes
        else:
            owner, owners = f"{classes[0]}.{owner}", [owner]
        parameters, args = parameters[1:], args[1:]
    p = inspect.Parameter
    places = [a.name for a in parameters if a.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [a.name for a in parameters if a.kind is not p.VAR_KEYWORD]
    if len(names) == len(parameters):
        for name in kwargs:
            if name not in names:
                return unknown_option(owner, name, names, *owners)
    advice = answer("()", *(f"{o}()" for o in (owner, *owners)))
    if len(args) > len(places):
        listed = ", ".join(places) or "none"
        return TypeError(
            f"{owner} takes {len(places)} positional arguments ({listed}), got {len(args)}{advice}"
        )
    for name in places[: len(args)]:
        if name in kwargs:
            return TypeError(f"{owner} got {name} twice, by its place and by its name{advice}")
    various = (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    required = [a.name for a in parameters if a.default is p.empty and a.kind not in various]
    missing = [name for name in required if name not in (*places[: len(args)], *kwargs)]
    if missing:
        words = f"{owner} needs {' and '.join(missing)}: {owner}({', '.join(required)})"
        if kwargs and not args and not owners:  # a function, to be handed on with options
            options = ", ".join(f"{name}=..." for name in kwargs)
            words += f"; to hand it on with options write functools.partial({owner}, {options})"
        return TypeError(words)
    return None


def explained(function: F) -> F:
    """Let the errors for arguments that do not fit a function say what to write instead.

    Parameters
    ----------
    function : callable
        A function, or a class for its constructor.

    Returns
    -------
    callable
        The same, with other errors.
    """
    if isinstance(function, type):
        function.__init__ = explained(function.__init__)
        return function

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # from within the function
            wrong = refused(function, args, kwargs)
            if wrong is None:
                raise
        raise wrong

    return call  # pyright: ignore[reportReturnType]


class Elsewhere:
    """A name that a class does not have: reading it says what to write instead."""

    def __init__(self, name: str, answer: str):
        self.name, self.answer = name, answer

    def __get__(self, instance, owner):
        raise AttributeError(f"{owner.__name__} has no {self.name}; {self.answer}")


class Listed(type):
    """Type of classes whose `dir` leaves out the names that exist elsewhere."""

    def __dir__(cls):
        names = super().__dir__()
        return [n for n in names if not isinstance(inspect.getattr_static(cls, n, None), Elsewhere)]


class Guided(metaclass=Listed):
    """Base of classes that answer the names and options of other libraries.

    An `__getattr__` would make every attribute slower to read. `_explained` has the names of the
    methods whose arguments are explained.
    """

    _explained: tuple[str, ...] = ("__init__",)

    def __init_subclass__(cls, **options: Any):
        for name in cls._explained:
            if name in vars(cls):
                setattr(cls, name, explained(vars(cls)[name]))
        super().__init_subclass__(**options)
        if Guided in cls.__bases__:
            for key, text in answers().items():
                owner, _, name = key.rpartition(".")
                if owner == cls.__name__ and not hasattr(cls, name):
                    setattr(cls, name, Elsewhere(name, text))

    def __dir__(self):
        return sorted({*vars(self), *dir(type(self))})


def module_getattr(module: str, lazy: Iterable[str] = ()) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module.

    Parameters
    ----------
    module : str
        Its `__name__`.
    lazy : iterable of str
        Names of its modules that are imported when they are first read.
    """

    def __getattr__(name: str) -> Any:
        if name in lazy:
            return importlib.import_module(f"{module}.{name}")
        if name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        names = [n for n in vars(sys.modules[module]) if not n.startswith("_")]
        text = f"{module} has no {name}{answer(name) or guess(name, names)}"
        # `from module import name` replaces an AttributeError by one without these words.
        frame = sys._getframe(1)
        imported = frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]
        raise (ImportError if imported else AttributeError)(text)

    return __getattr__
