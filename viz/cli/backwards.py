"""The gallery's encoder and decoder: words written backwards, so that attention has somewhere to look. Learned in seconds."""

from __future__ import annotations

from typing import Any

from recurrent.tasks import backwards, task

from .models import Translator

UPDATES, SHOWN = 300, backwards.EXAMPLE


def train(updates: int = UPDATES, progress: Any = True) -> Translator:
    """A model that has seen `updates` batches of random letters and what they are backwards."""
    learned = task("backwards")
    learned.train(updates, progress)
    return Translator(learned.model, backwards.SOURCE, backwards.TARGET)
