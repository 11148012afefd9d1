"""Progress displays. rich is imported only when there is something to show.

Where the console cannot be written, because it is closed or full, a display shows nothing more.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

Item = TypeVar("Item")

PATIENCE = 2.0  # seconds before `track` shows a bar


def track(
    items: Iterable[Item],
    describe: Callable[[Item], str],
    console: Any = None,
    total: int | None = None,
) -> Iterator[Item]:
    """Yield the items; a terminal shows a progress bar if this takes longer than PATIENCE.

    Parameters
    ----------
    items : iterable
        The items.
    describe : callable
        Returns the text that is shown while an item is processed.
    console : rich.console.Console, optional
        Console that shows the bar; standard error by default.
    total : int, optional
        Number of items. By default it is `len(items)`, and not known if they have none.

    Yields
    ------
    object
        Each item.
    """
    bar: Any = None
    task: Any = None
    began = time.perf_counter()
    visible = sys.stderr.isatty() if console is None else console.is_terminal
    try:
        for done, item in enumerate(items):
            if bar is None and visible and time.perf_counter() - began > PATIENCE:
                from rich.progress import Progress as Bar

                bar = Bar(console=console or _standard_error(), transient=True)
                if total is None and isinstance(items, Sized):
                    total = len(items)
                task = bar.add_task("", total=total)
                visible = _shown(bar.start)
            if bar is not None and visible:
                visible = _shown(
                    bar.update, task, completed=done, description=describe(item), refresh=True
                )
            yield item
    finally:
        if bar is not None:
            _shown(bar.stop)


def _standard_error() -> Any:
    """Return a console on standard error."""
    from rich.console import Console

    class StandardError(Console):
        def on_broken_pipe(self):
            raise  # the error; rich would discard standard output and exit

    return StandardError(stderr=True)


def _shown(show: Callable, *arguments: Any, **options: Any) -> bool:
    """Call a function that writes to a console; return False if that cannot be written."""
    try:
        show(*arguments, **options)
    except (OSError, ValueError, SystemExit):  # closed, full, or a pipe that nobody reads
        return False
    return True


class Silent:
    """A progress display that shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __call__(self, history: Any, steps: int) -> None:
        """Report an update.

        Parameters
        ----------
        history : History
            The history so far.
        steps : int
            Number of time steps, over all sequences, that the update has read.
        """


class Progress(Silent):
    """Shows updates, loss, last validation, time steps per second and time left.

    A terminal shows a bar; anything else gets a line every ten seconds.

    Parameters
    ----------
    total : int
        Number of updates at the end of training.
    start : int
        Number of updates made before.
    console : rich.console.Console, optional
        Console that shows it; standard error by default.
    """

    REFRESH = 0.1, 10.0  # seconds between two displays: on a terminal, in a file

    def __init__(self, total: int, start: int, console: Any = None):
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        self.console = console or _standard_error()
        self.visible = True  # until the console cannot be written
        self.total, self.start = total, start
        self.history: Any = None
        self.bar = None
        if self.console.is_terminal:
            whole = Column(no_wrap=True)
            # On a narrow terminal the bar gives way to the numbers.
            flexible = Column(ratio=1)
            self.bar = Bar(
                MofNCompleteColumn(table_column=whole),
                BarColumn(bar_width=None, table_column=flexible),
                TextColumn("{task.fields[words]}", table_column=whole),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=whole),
                console=self.console,
                auto_refresh=False,
                expand=True,
            )
            self.task = self.bar.add_task("", total=total, completed=start, words="")
        self.wait = self.REFRESH[self.bar is None]
        self.steps = 0  # since the last display
        self.began = self.shown = time.perf_counter()
        self.rate = 0.0

    def __enter__(self):
        if self.bar:
            self.visible = _shown(self.bar.start)
        return self

    def __exit__(self, *error):
        if self.steps:  # training stopped between two displays
            self.show()
        if self.bar:
            _shown(self.bar.stop)
        if self.visible and self.history is not None and not any(error):
            reason = {"patience": "patience is used up", "callback": "a callback returned True"}
            if words := reason.get(self.history.stopped):
                line = f"training ended at update {self.history.updates}: {words}"
                _shown(self.console.print, line, highlight=False, soft_wrap=True)

    def __call__(self, history, steps):
        self.history = history
        self.steps += steps
        if time.perf_counter() - self.shown >= self.wait or history.updates == self.total:
            self.show()

    def show(self) -> None:
        """Show the current numbers, unless the console could not be written before."""
        if not self.visible:
            return
        now, done = time.perf_counter(), self.history.updates
        rate = self.steps / max(now - self.shown, 1e-9)
        self.rate = rate if self.rate == 0 or self.bar is None else 0.8 * self.rate + 0.2 * rate
        self.shown, self.steps = now, 0
        words = self.words(self.history)
        if self.bar:
            self.visible = _shown(
                self.bar.update, self.task, completed=done, words=words, refresh=True
            )
        else:
            left = (now - self.began) / (done - self.start) * (self.total - done)
            line = f"update {done}/{self.total}  {words}  {left:.0f} s left"
            self.visible = _shown(self.console.print, line, highlight=False, soft_wrap=True)

    def words(self, history: Any) -> str:
        """Return the text beside the bar.

        Parameters
        ----------
        history : History
            The history so far.

        Returns
        -------
        str
        """
        parts = [f"loss {history.smoothed:.4g}"]
        if history.validation:
            parts.append(f"held out {history.validation[-1][1]:.4g}")
        for name, values in history.metrics.items():
            if values:
                parts.append(f"{name.replace('_', ' ')} {values[-1][1]:.4g}")
        unit = next((u for u in ((1e6, "M"), (1e3, "k")) if self.rate >= u[0]), (1, ""))
        parts.append(f"{self.rate / unit[0]:.3g}{unit[1]} steps/s")
        # Room for the count, the time and a short bar.
        room = self.console.width - 2 * len(str(self.total)) - 20
        while self.bar and len(parts) > 2 and len("  ".join(parts)) > room:
            del parts[1]
        return "  ".join(parts)
