"""The commands: demo, task, train, sample, eval, score, quantize, convert, info, selftest.

Exit codes: 0 for success, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM,
129 after SIGHUP.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..cells import CELLS
from ..charlm.model import CharLM
from ..charlm.recipe import Recipe
from ..charlm.translator import Translator
from ..models import files, summary
from ..models.loading import load
from ..models.quantized import WEIGHTS
from . import describe, ranks
from . import score as score_command
from .options import (
    OTHERS,
    Model,
    Source,
    Unknown,
    Version,
    examples,
    existing_model,
    given,
    in_options,
    name_source,
    number,
    print_notes,
    refuse,
    unescaped,
)
from .runner import UsageError, run
from .source import read_text, unknown_characters
from .streams import keep_going
from .train import EXAMPLES, train

app = typer.Typer(
    help="Character-level language models on CPUs: train, sample, evaluate, inspect.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Console(Console):
    def on_broken_pipe(self):
        raise  # the error; rich would exit with code 1


def console() -> Console:
    """Return a console on standard output: colours on a terminal, else plain 80-column text."""
    return _Console(highlight=False, markup=False, soft_wrap=False)


@app.callback()
def options(version: Version = False) -> None:
    """Take the options that need no command."""


@app.command(epilog=examples("demo", "demo --updates 200 --out /tmp/demo"))
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the model, its training history and the pictures.")
    ] = Path("demo"),
    updates: Annotated[int, number("Number of updates; fewer take less time.", 1)] = 1000,
    seed: Annotated[int, number("Seed of the initial parameters and of the sample.")] = 0,
) -> int:
    """Train a 2-layer LSTM on Python's own documentation, sample from it and draw it.

    Takes about a minute.
    """
    from .demo import run

    keep_going()
    return run(out, updates, seed, console())


@app.command(epilog=examples("task", "task dates", "task waves --updates 200 --out /tmp/waves"))
def task(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Task to run; if omitted, list all.")
    ] = None,
    updates: Annotated[
        int | None, number("Number of updates.", 1, show_default="depends on the task")
    ] = None,
    seed: Annotated[int, number("Seed of the data and the initial parameters.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the model and the pictures.", show_default="demo/NAME"),
    ] = None,
) -> int:
    """Train one of eight example tasks on generated data, evaluate it on held-out data, draw it.

    Takes seconds to minutes.
    """
    from ..tasks import TASKS, summary
    from ..tasks import task as make_task
    from .task import run

    if name is None:
        refuse(context, ("updates", "seed", "out"), "a list of all tasks", "give the NAME of one")
        for known in TASKS:
            print(f"{known:10} {summary(known)}")
        return 0
    if name not in TASKS:
        raise UsageError(f"task must be one of {', '.join(TASKS)}, got {name!r}")
    keep_going()
    return run(make_task(name, seed), out or Path("demo") / name, updates, console())


app.command(epilog=EXAMPLES)(train)


@app.command(
    epilog=examples(
        "sample model.safetensors",
        'sample model.safetensors --prime "The " --temperature 0.7 --stop "\\n\\n"',
        "sample model.safetensors --length 100000 --out sample.txt",
    )
)
def sample(
    context: typer.Context,
    model: Model,
    length: Annotated[int, number("Characters to generate (bytes for a byte model).")] = 2000,
    prime: Annotated[str, typer.Option(help="Prompt to continue; printed first.")] = "",
    temperature: Annotated[
        float, number("Softmax temperature; higher values are more random.", metavar="X")
    ] = 1.0,
    top_k: Annotated[int | None, number("Sample from the N most likely symbols only.", 1)] = None,
    top_p: Annotated[
        float | None,
        number("Sample from the most likely symbols whose probabilities sum to X.", metavar="X"),
    ] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Always choose the most likely symbol.")
    ] = False,
    stop: Annotated[
        str | None,
        typer.Option(help='Stop before this text, such as "\\n\\n".', metavar="TEXT"),
    ] = None,
    seed: Annotated[
        int | None, number("Random seed, to repeat a sample.", show_default="random")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the text to this file.", metavar="FILE")
    ] = None,
) -> int:
    """Generate text with a trained model; characters are printed as they are sampled.

    An encoder-decoder with vocabularies, such as that of the task dates, reads
    --prime and writes its answer.
    """
    stop = unescaped(stop, "--stop")
    if out is not None:
        files.check_writable(out)
    chances = ("temperature", "top_k", "top_p")
    if greedy:
        refuse(context, chances, "--greedy", "it always chooses the most likely symbol")
    made = load(model)
    if isinstance(made, Translator):
        why = "it writes the most likely symbols"
        refuse(context, (*chances, "stop", "seed"), "an encoder-decoder", why)
        if not prime:
            raise UsageError(f"{model} is an encoder-decoder: give the text to read by --prime")
        try:
            answer = made.translate(prime, length if "length" in given(context) else None)
        except ValueError as error:
            raise UsageError(in_options(error, context.params)) from None
        return _write([answer], out)
    lm = _character_model(made, model)
    try:
        pieces = lm.generate(
            prime,
            length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            greedy=greedy,
            stop=stop,
            seed=seed,
        )
    except ValueError as error:
        raise UsageError(in_options(error, context.params)) from None
    return _write(itertools.chain([prime], pieces), out)


def _write(pieces: Iterable[str], out: Path | None) -> int:
    """Write a text to a file, or print it as it comes; return the exit code."""
    if out is not None:
        files.replace(out, "".join([*pieces, "\n"]).encode("utf-8", "replace"))
        print(f"wrote {out}")
        return 0
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


@app.command(
    "eval",
    epilog=examples(
        "eval model.safetensors other.txt", "eval model.safetensors other.txt --batch 50"
    ),
)
def evaluate(
    model: Model,
    source: Source,
    batch: Annotated[
        int, number("Parallel streams: faster, but each starts without context.", 1)
    ] = 1,
    unknown: Unknown = "error",
) -> int:
    """Evaluate a character model on a text: bits per character, and perplexity."""
    lm = _character_model(load(model), model)
    v, unit = lm.vocabulary, lm.vocabulary.unit
    documents = Recipe.from_dict(lm.options).documents
    text = read_text(source, v.symbols is None, v.symbols, documents)
    with name_source(source, hint=OTHERS):
        ids, lacking = v.encode_pieces(text.pieces, unknown)
        print_notes([*text.notes, *unknown_characters(lacking, unknown)])
        bits = lm.bits_per_character(ids, batch)
    print(
        f"{bits:.4f} bits per {unit}, perplexity {2**bits:.3f}, "
        f"over {len(ids):,} {unit}s in {batch} stream{'s' * (batch > 1)}"
    )
    return 0


app.command(epilog=score_command.EXAMPLES)(score_command.score)


@app.command(
    epilog=examples(
        "quantize model.safetensors small.safetensors",
        "quantize model.safetensors small.safetensors --weights bfloat16",
    )
)
def quantize(
    model: Model,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file to write.", show_default=False)
    ],
    weights: Annotated[
        StrEnum("Weights", {name: name for name in WEIGHTS}),
        typer.Option(metavar="NAME", help="Kind of the weights: int8 or bfloat16."),
    ] = "int8",
) -> int:
    """Write a smaller file of a trained model, for inference: 8 or 16 bits a weight.

    The new model samples, evaluates and runs as the old one, with rounded weights; it cannot be
    trained further.
    """
    files.check_writable(out)
    if out.exists() and out.samefile(model):
        raise UsageError(f"OUT must be another file than {model}, which can still be trained")
    made = load(model)
    try:
        small = made.quantize(str(weights))
    except TypeError as error:
        raise ValueError(f"{model}: {error}") from None
    small.save(out)
    before, after = (getattr(a, "model", a) for a in (made, small))
    print(
        f"wrote {out}: {after.size:,} parameters, {after.weights}, {summary.size(after)}; "
        f"they were {before.weights}, {summary.size(before)}"
    )
    return 0


@app.command(
    epilog=examples(
        "convert theirs.pt model.safetensors",
        "convert theirs.onnx model.safetensors",
        "convert model.safetensors model.onnx --lengths",
    )
)
def convert(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="File of PyTorch (.pt, .pth, .safetensors), Keras (.keras, .h5), ONNX (.onnx) or "
            "this package (.safetensors).",
            show_default=False,
            callback=existing_model,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="File to write: .safetensors for this package, or .onnx.",
            show_default=False,
        ),
    ],
    lengths: Annotated[
        bool,
        typer.Option("--lengths", help="Add the lengths of sequences as an input (.onnx)."),
    ] = False,
    states: Annotated[
        bool,
        typer.Option("--states", help="Add the states as inputs and outputs (.onnx)."),
    ] = False,
) -> int:
    """Read a model of PyTorch, Keras, ONNX or this package; write it for this package or ONNX.

    recurrent.from_torch, from_keras, from_onnx and to_onnx do the same in Python, with
    options for what a file does not tell.
    """
    from .convert import run

    if out.suffix.lower() != ".onnx":
        refuse(context, ("lengths", "states"), f"OUT {out}", "only an .onnx file has such inputs")
    return run(source, out, lengths, states)


@app.command(epilog=examples("info model.safetensors"))
def info(model: Model) -> int:
    """Show layers, shapes and parameter counts, and describe one unit of each layer."""
    made = load(model)
    net = getattr(made, "model", made)
    symbols = {"vocabulary of": "vocabulary", "reads": "reads", "writes": "writes"}
    about = [
        f"{words} {len(vocabulary)} {vocabulary.unit}s"
        for words, name in symbols.items()
        if (vocabulary := getattr(made, name, None)) is not None
    ]
    title = ", ".join([f"{net.size:,} parameters", net.weights, summary.size(net), *about])
    table = Table(
        "",
        "layer",
        "output",
        "arrays",
        "parameters",
        title=f"{model}: {type(made).__name__}, {title}",
        title_justify="left",
    )
    for column in (table.columns[0], table.columns[-1]):
        column.justify = "right"
    rows, kinds = summary.rows(net), [type(layer).__name__ for layer in net.layers]
    for row, kind, layer in zip(rows, kinds, net.layers, strict=True):
        arrays = "\n".join(f"{name} {shape}" for name, shape in layer.shapes.items())
        table.add_row(row.name, kind, row.output, arrays, row.parameters)
    show = console()
    show.print(table)
    words = [
        describe.unit(stack, k, "the decoder" if part == "encoder" else "the model's output")
        for part, stack in net.parts.items()
        for k in range(len(stack))
    ]
    for row, kind, text in zip(rows, kinds, words, strict=True):
        show.print(Text.assemble((f"{row.name} {kind}. ", "bold"), text))
    if isinstance(made, CharLM) and made.history.updates:
        history = made.history
        best = f"; best validation loss {history.best[1]:.4f} nats" if history.best else ""
        count = made.training.shards or 1
        shards = f" in {count} shards" if count > 1 else ""
        show.print(
            f"Trained for {history.updates:,} updates{shards} with {made.optimizer!r}{best}."
        )
    return 0


def _character_model(made: Any, path: Path) -> CharLM:
    """Return a character model; raise ValueError for another one."""
    if not isinstance(made, CharLM):
        raise ValueError(
            f"{path} holds a {type(made).__name__}, and this command needs a character model, "
            "which python -m recurrent train writes"
        )
    return made


@app.command(epilog=examples("selftest", "selftest lstm"))
def selftest(
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="CELL", help="Cells to check; if omitted, rnn, lstm and gru."),
    ] = None,
) -> int:
    """Check the engine on this machine: correct results, exact gradients, reproducible bits.

    Compares the compiled kernels with the interpreted equations. Takes under a minute; the exit
    code is 1 if a check fails.
    """
    from ..conformance.selftest import run as check

    names = cells or ("rnn", "lstm", "gru")
    for name in names:
        if name not in CELLS:
            raise UsageError(f"unknown cell {name!r}; known are {', '.join(CELLS)}")
    return 1 if check([CELLS[name] for name in names], console()) else 0


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; a user's mistake is reported in one line."""
    return run(app, "recurrent", arguments, around=ranks.joined)
