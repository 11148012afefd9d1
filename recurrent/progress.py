"""What `fit` shows while it runs. rich is imported only when there is something to show."""

from __future__ import annotations

import time
from typing import Any


class Silent:
    """Shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __call__(self, history: Any, steps: int) -> None:
        """After each update: the history so far, and the steps of all sequences that the update read."""


class Progress(Silent):
    """Updates done, loss, last validation, steps a second, time left: a bar on a terminal, else a line now and then."""

    REFRESH = 0.1, 10.0  # seconds between two looks: terminal, file

    def __init__(self, total: int, start: int, metric: str, console: Any = None):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.console = console or Console(stderr=True)
        self.total, self.start, self.metric = total, start, metric
        self.bar = None
        if self.console.is_terminal:
            self.bar = Bar(
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[words]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self.console,
                auto_refresh=False,
                expand=True,
            )
            self.task = self.bar.add_task("", total=total, completed=start, words="")
        self.wait = self.REFRESH[self.bar is None]
        self.loss, self.steps = None, 0
        self.began = self.shown = time.perf_counter()
        self.rate = 0.0

    def __enter__(self):
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *error):
        if self.bar:
            self.bar.stop()

    def __call__(self, history, steps):
        value = history.losses[-1]
        self.loss = value if self.loss is None else 0.98 * self.loss + 0.02 * value  # a single batch's loss jumps about
        self.steps += steps
        now = time.perf_counter()
        done = self.start + len(history.losses)
        if now - self.shown < self.wait and done < self.total:
            return
        elapsed = now - self.shown
        rate = self.steps / max(elapsed, 1e-9)
        self.rate = rate if self.rate == 0 or self.bar is None else 0.8 * self.rate + 0.2 * rate
        self.shown, self.steps = now, 0
        words = self.words(history)
        if self.bar:
            self.bar.update(self.task, completed=done, words=words)
            self.bar.refresh()
        else:
            left = (now - self.began) / len(history.losses) * (self.total - done)
            self.console.print(f"update {done}/{self.total}  {words}  {left:.0f} s left", highlight=False, soft_wrap=True)

    def words(self, history) -> str:
        """The numbers of the moment."""
        parts = [f"loss {self.loss:.4f}"]
        if history.validation:
            parts.append(f"validation {history.validation[-1][1]:.4f}")
        if history.metrics:
            parts.append(f"{self.metric} {history.metrics[-1][1]:.4f}")
        unit = next((u for u in ((1e6, "M"), (1e3, "k")) if self.rate >= u[0]), (1, ""))
        return "  ".join([*parts, f"{self.rate / unit[0]:.3g}{unit[1]} steps/s"])
