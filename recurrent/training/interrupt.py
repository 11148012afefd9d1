"""Ctrl-C that waits for the end of an update."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager


class DeferredInterrupt:
    """Holds back an interrupt until the training loop is between two updates."""

    def __init__(self):
        self.requested = False
        self.immediate = False  # inside `at_once`
        self.forced = False  # a second Ctrl-C, which does not wait

    def handle(self, signum, frame):
        """Handle the signal: raise at once for a second Ctrl-C and inside `at_once`."""
        self.forced = self.requested
        self.requested = True
        if self.immediate or self.forced:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if an interrupt was held back."""
        if self.requested:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self):
        """Let Ctrl-C raise immediately inside this context."""
        self.check()
        self.immediate = True
        try:
            yield
        finally:
            self.immediate = False


@contextmanager
def deferred_interrupt():
    """Install a `DeferredInterrupt` as the handler of SIGINT.

    Outside the main thread, and where the program has a handler of its own, nothing is installed.
    """
    interrupt = DeferredInterrupt()
    install = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if install:
        signal.signal(signal.SIGINT, interrupt.handle)
    try:
        yield interrupt
    finally:
        if install:
            signal.signal(signal.SIGINT, signal.default_int_handler)
