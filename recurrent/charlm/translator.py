"""An encoder-decoder that reads one text and writes another."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from .. import checks
from ..models import loading, storage
from ..models.seq2seq import Seq2Seq
from ..training import checkpoint
from .text import Vocabulary


@dataclass(frozen=True)
class Translator:
    """An encoder-decoder model and the vocabularies that it reads and writes.

    Parameters
    ----------
    model : Seq2Seq
        The model; its first layers read ids.
    reads : Vocabulary
        The symbols of the encoder.
    writes : Vocabulary
        The symbols of the decoder, those for start and end included.

    Raises
    ------
    ValueError
        If the vocabularies have other sizes than the model.
    """

    model: Seq2Seq
    reads: Vocabulary
    writes: Vocabulary

    def __post_init__(self):
        model: Any = self.model
        stacks = [model.encoder, model.decoder] if isinstance(model, Seq2Seq) else []
        sizes = [(getattr(stack[0], "rows", None), stack.out_features) for stack in stacks]
        V, W = len(self.reads), len(self.writes)
        if not sizes or sizes[0][0] != V or sizes[1] != (W, W):
            raise ValueError(
                f"vocabularies of {V} and {W} symbols need a Seq2Seq that reads and writes as many"
            )

    def translate(self, text: str, max_steps: int | None = None, beam: int = 1) -> str:
        """Return what the model writes when it has read a text.

        Parameters
        ----------
        text : str
            The text, of symbols in `reads`.
        max_steps : int, optional
            Greatest number of symbols written, the end included; by default twice those of the
            text and 4.
        beam : int, default 1
            Number of candidates of a beam search; 1 always takes the most likely symbol.

        Returns
        -------
        str

        Raises
        ------
        ValueError
            If the text is empty or has a character that is not in `reads`.
        """
        if not checks.text(text, "text"):
            raise ValueError("text must have at least 1 character, got none")
        ids = self.reads.encode(text)
        steps = 2 * len(ids) + 4 if max_steps is None else max_steps
        return self.writes.decode(self.model.generate(ids[:, None], steps, beam).best[0])

    def quantize(self, weights: str) -> Translator:
        """Return the translator with quantised weights.

        Parameters
        ----------
        weights : {"int8", "bfloat16"}
            Kind of the weights, see `Model.quantize`.

        Returns
        -------
        Translator
            A smaller model that cannot be trained.

        Raises
        ------
        TypeError
            If the weights are not float32.
        ValueError
            If the kind is unknown, or a weight is NaN or infinite.
        """
        return replace(self, model=self.model.quantize(weights))

    def dequantized(self) -> Translator:
        """Return the float32 translator with the rounded weights of a quantised one.

        Returns
        -------
        Translator

        Raises
        ------
        TypeError
            If the weights are not quantised.
        """
        return replace(self, model=self.model.dequantized())

    def save(self, path: str | os.PathLike) -> None:
        """Write model and vocabularies to a file, which `recurrent.load` reads.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        known = {"reads": self.reads.describe(), "writes": self.writes.describe()}
        storage.save(path, self.model, {"kind": "Translator", **known})


def _of(stored: storage.Stored) -> Any:
    """Return the translator of a file, or the model of a task without vocabularies."""
    loaded = checkpoint.contents(stored)
    parts = [loaded.about.get(name) for name in ("reads", "writes")]
    if None in parts and loaded.about["kind"] == "Task":
        return loaded.model
    return Translator(loaded.model, *map(Vocabulary.build, parts))  # type: ignore[arg-type]


loading.KINDS["Translator"] = loading.KINDS["Task"] = _of
