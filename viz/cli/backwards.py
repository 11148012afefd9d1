"""The gallery's encoder and decoder with attention, trained in seconds to reverse words."""

from __future__ import annotations

from typing import Any

from recurrent.cli.runner import trained
from recurrent.tasks import backwards, task

from .models import Translator

UPDATES, SHOWN = 300, backwards.EXAMPLE


def train(updates: int = UPDATES, progress: Any = True) -> Translator:
    """Train on batches of random letters and the same letters backwards."""
    reversal = task("backwards")
    trained(lambda: reversal.train(updates, progress))
    return Translator(reversal.model, backwards.SOURCE, backwards.TARGET)
