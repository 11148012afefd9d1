"""Signals that ask a program to end wait for the end of an update: Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import signals

NAMES = ("SIGTERM", "SIGHUP", "SIGINT")  # handlers are put back in this order
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))

# Handlers that end the program, which a training may hold back. A program may add its own.
ENDING: set[Any] = {*signals.DEFAULTS, signals.raise_ended}


class DeferredInterrupt:
    """Holds back a signal until the training loop is between two updates.

    Attributes
    ----------
    signum : int or None
        The first signal that came, such as `signal.SIGTERM`, to this process or another one that
        shares the training.
    caught : bool
        Whether a signal came to this process.
    forced : bool
        Whether a second Ctrl-C came, which does not wait.
    honoured : bool
        Whether the training loop has ended because of the signal.
    immediate : bool
        Whether a signal raises KeyboardInterrupt at once, as in a validation.
    holding : bool
        Whether even a second Ctrl-C waits: inside `held`.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.caught = self.forced = self.honoured = self.immediate = self.holding = False

    def handle(self, signum, frame) -> None:
        """Handle a signal: note it, and raise KeyboardInterrupt if it does not wait."""
        # A second SIGTERM is no second wish: `timeout`, for one, sends each signal twice.
        self.forced |= signum == signal.SIGINT and self.caught
        self.caught = True
        self.told(signum)
        if self.immediate or (self.forced and not self.holding):
            self.check()

    def told(self, signum: int | None) -> None:
        """Note a signal that came to this process or to another one, unless one came before."""
        if self.signum is None:
            self.signum = signum

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal was held back; then nothing more until `end`."""
        if self.signum is not None:
            self.immediate, self.holding = False, True
            raise KeyboardInterrupt

    def end(self, known: bool = True) -> bool:
        """Note that the training loop has come to its end; return whether a signal had come.

        One that is not known to all processes that share the training is not honoured.
        """
        self.holding = False
        self.honoured = self.signum is not None and known
        return self.honoured

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal raise KeyboardInterrupt at once inside this context."""
        try:
            self.immediate = True
            self.check()
            yield
        finally:
            self.immediate = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let even a second Ctrl-C wait for the end of this context."""
        outer, self.holding = self.holding, True
        try:
            yield
        finally:
            self.holding = outer
        if self.forced and not outer:
            self.check()


_current: DeferredInterrupt | None = None  # of the main thread


@contextmanager
def deferred_interrupt() -> Iterator[DeferredInterrupt]:
    """Handle SIGINT, SIGTERM and SIGHUP by a `DeferredInterrupt` inside this context.

    A signal is left alone whose handler is not in `ENDING`, because the program has its own or
    ignores the signal; so are all of them outside the main thread. Contexts nest: an inner one
    yields the object of the outer one. When the outer one ends, a signal that no training loop has
    honoured is sent again.

    Yields
    ------
    DeferredInterrupt
        Its `signum` says which signal came, for an exit code of 128 + signum.
    """
    global _current
    if threading.current_thread() is not threading.main_thread():
        yield DeferredInterrupt()
        return
    if _current is not None:
        yield _current
        return
    interrupt = _current = DeferredInterrupt()
    replaced: dict[int, Any] = {}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        for signum in SIGNALS:
            handler = signal.getsignal(signum)
            if handler in ENDING:
                replaced[signum] = handler
                signal.signal(signum, interrupt.handle)
        yield interrupt
    finally:
        _current, interrupt.holding = None, True
        # No handler that is back may raise before all of them are.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for signum, handler in replaced.items():
            signal.signal(signum, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if interrupt.signum is not None and not interrupt.honoured:
            signal.raise_signal(interrupt.signum)
