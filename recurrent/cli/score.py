"""Runs the command score: bits per character of each of many files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer

from ..charlm.model import CharLM
from ..charlm.recipe import Recipe
from ..charlm.scoring import opened, score_ids
from ..charlm.text import require
from .options import OTHERS, Model, Unknown, examples, name_source, number, print_notes
from .runner import UsageError
from .source import check_regular, read_text, unknown_characters

EXAMPLES = examples(
    "score model.safetensors one.txt other.txt",
    "score model.safetensors texts/*.txt --jobs 4",
)


def score(
    model: Model,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="The text files.", show_default=False),
    ],
    jobs: Annotated[int, number("Number of processes; more than one needs joblib.", 1)] = 1,
    batch: Annotated[int, number("Number of files that run side by side.", 1)] = 64,
    unknown: Unknown = "error",
) -> int:
    """Evaluate a character model on many files: bits per character of each, and of all.

    Prints a line for each file: bits per character, number of characters, name. The values are
    those of eval. The files are read one by one, a few for each process at a time.
    """
    for source in sources:
        if check_regular(source, "a text file").st_size < 2:
            raise ValueError(f"{source}: the text needs at least 2 characters")
    lm = opened(model)
    unit = lm.vocabulary.unit
    try:
        scores = score_ids(
            model,
            lm,
            _read(lm, sources, unknown),
            batch,
            jobs,
            len(sources),
            lambda n: sources[n],
        )
    except ImportError as error:
        raise UsageError(str(error).replace("n_jobs=", "--jobs ", 1)) from None
    print(f"{f'bits/{unit[:4]}':>9}  {f'{unit}s':>12}  file")
    bits, predicted, symbols, count = 0.0, 0, 0, len(sources)
    for source, one in zip(sources, scores, strict=True):
        print(f"{one.bits:9.4f}  {one.symbols:12,}  {source}", flush=True)
        bits += one.bits * (one.symbols - 1)
        predicted += one.symbols - 1
        symbols += one.symbols
    print(f"{bits / predicted:9.4f}  {symbols:12,}  total of {count:,} file{'s' * (count > 1)}")
    return 0


def _read(lm: CharLM, sources: list[str], unknown: str) -> Iterator[np.ndarray]:
    """Yield the ids of each file."""
    v: Any = lm.vocabulary
    documents = Recipe.from_dict(lm.options).documents
    for source in sources:
        text = read_text(source, v.symbols is None, v.symbols, documents)
        with name_source(source, hint=OTHERS):
            ids, lacking = v.encode_pieces(text.pieces, unknown)
            print_notes(f"{source}: {note}" for note in unknown_characters(lacking, unknown))
            print_notes(text.notes)
            require(len(ids), 1, unit=v.unit)
        yield ids
