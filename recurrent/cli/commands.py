"""The commands demo, task, train, sample, eval, info and selftest.

Exit codes: 0 for success, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM,
129 after SIGHUP.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..cells import CELLS
from ..charlm.model import CharLM
from . import describe
from .options import Model, Source, examples, name_source, number, refuse, warn_skipped
from .runner import UsageError, run
from .source import read_text
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
    """Train one of six example tasks on generated data, evaluate it on held-out data, draw it.

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
        "sample model.safetensors", 'sample model.safetensors --prime "The " --temperature 0.7'
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
    seed: Annotated[
        int | None, number("Random seed, to repeat a sample.", show_default="random")
    ] = None,
) -> int:
    """Generate text with a trained model; characters are printed as they are sampled."""
    if greedy:
        why = "it always chooses the most likely symbol"
        refuse(context, ("temperature", "top_k", "top_p"), "--greedy", why)
    lm = CharLM.load(model)
    try:
        pieces = lm.sample(
            length,
            prime,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            greedy=greedy,
            seed=seed,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    sys.stdout.write(prime)
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
) -> int:
    """Evaluate a model on a text: cross-entropy in bits per character, and perplexity."""
    lm = CharLM.load(model)
    text, skipped = read_text(source, raw=lm.settings["bytes"])
    warn_skipped(skipped)
    unit = lm.vocabulary.unit
    with name_source(source):
        bits = lm.bits_per_character(text, batch)
    print(
        f"{bits:.4f} bits per {unit}, perplexity {2**bits:.3f}, "
        f"over {len(text):,} {unit}s in {batch} stream{'s' * (batch > 1)}"
    )
    return 0


@app.command(epilog=examples("info model.safetensors"))
def info(model: Model) -> int:
    """Show layers, shapes and parameter counts, and describe one unit of each layer."""
    lm = CharLM.load(model)
    show, net = console(), lm.model
    table = Table(
        "",
        "layer",
        "output",
        "arrays",
        "parameters",
        title=f"{model}: {net.size:,} parameters, {net.dtype.name}, "
        f"vocabulary of {len(lm.vocabulary)} {lm.vocabulary.unit}s",
        title_justify="left",
    )
    for column in (table.columns[0], table.columns[-1]):
        column.justify = "right"
    width = ""
    for k, layer in enumerate(net.layers):
        width = width if layer.out_features is None else str(layer.out_features)
        arrays = "\n".join(f"{name} {shape}" for name, shape in layer.shapes.items())
        table.add_row(str(k), type(layer).__name__, f"(T, N, {width})", arrays, f"{layer.size:,}")
    show.print(table)
    for k, layer in enumerate(net.layers):
        show.print(Text.assemble((f"{k} {type(layer).__name__}. ", "bold"), describe.unit(net, k)))
    if lm.history.updates:
        best = f"; best validation loss {lm.history.best[1]:.4f} nats" if lm.history.best else ""
        show.print(f"Trained for {lm.history.updates:,} updates with {lm.optimizer!r}{best}.")
    return 0


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
    return run(app, "recurrent", arguments)
