"""The commands: demo, task, train, sample, eval, info, selftest.

Exit code 0; 1 for a failure, 2 for wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..cells import CELLS as CELL_EQUATIONS
from ..charlm.model import CharLM
from . import describe
from .options import Source, examples, mention, naming, number
from .runner import UsageError, run
from .source import read_text
from .train import EXAMPLES, train

app = typer.Typer(
    help="Character models that run on CPUs: train one, let it write, measure it, look inside.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="A file written by train or demo.", show_default=False),
]


class _Console(Console):
    def on_broken_pipe(self):
        raise BrokenPipeError  # rich would end the program with exit code 1


def console() -> Console:
    """Standard output: colours on a terminal, plain text of 80 columns elsewhere."""
    return _Console(highlight=False, markup=False, soft_wrap=False)


@app.command(epilog=examples("demo", "demo --updates 200 --out /tmp/demo"))
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the model, its history and the pictures.")
    ] = Path("demo"),
    updates: Annotated[int, number("Updates of the parameters; fewer are faster.", 1)] = 1000,
    seed: Annotated[int, number("Of the initial parameters and the sample.")] = 0,
) -> int:
    """Train a 2-layer LSTM on Python's own documentation in about a minute; sample from it; draw it."""
    from .demo import run

    return run(out, updates, seed, console())


@app.command(epilog=examples("task", "task dates", "task waves --updates 200 --out /tmp/waves"))
def task(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Which one; all are listed if none is named."),
    ] = None,
    updates: Annotated[
        int | None, number("Of the parameters; as many as the task needs if not given.", 1)
    ] = None,
    seed: Annotated[int, number("Of the data and the initial parameters.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the model and the pictures: demo/NAME if not given."),
    ] = None,
) -> int:
    """Learn one of six tasks, of all five kinds, from data made for it; answer what was held out; draw it. Up to minutes."""
    from ..tasks import TASKS, about
    from ..tasks import task as made

    if name is None:
        for known in TASKS:
            print(f"{known:10} {about(known)}")
        return 0
    if name not in TASKS:
        raise UsageError(f"task must be one of {', '.join(TASKS)}, got {name!r}")
    return made(name, seed).run(out or Path("demo") / name, updates, console())


app.command(epilog=EXAMPLES)(train)


@app.command(
    epilog=examples(
        "sample model.safetensors", 'sample model.safetensors --prime "The " --temperature 0.7'
    )
)
def sample(
    model: Model,
    length: Annotated[int, number("Characters (bytes of a model of bytes).")] = 2000,
    prime: Annotated[str, typer.Option(help="Text to go on from; printed too.")] = "",
    temperature: Annotated[
        float, typer.Option(metavar="X", help="Below 1 safer, above 1 wilder.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="Draw from the k likeliest only.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="X", help="Draw from the likeliest that reach p together."),
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the likeliest.")] = False,
    seed: Annotated[
        int | None, number("The same seed, the same text.", show_default="a new one")
    ] = None,
) -> int:
    """Let a model write; text appears as it comes."""
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
        int, number("Pieces read side by side: faster, each begins without context.", 1)
    ] = 1,
) -> int:
    """Bits per character of a text: how well the model predicts each one from all before it."""
    lm = CharLM.load(model)
    text, skipped = read_text(source, raw=lm.settings["bytes"])
    mention(skipped)
    unit = lm.vocabulary.unit
    with naming(source):
        bits = lm.bits_per_character(text, batch)
    print(
        f"{bits:.4f} bits per {unit}, perplexity {2**bits:.3f}, over {len(text):,} {unit}s in {batch} stream{'s' * (batch > 1)}"
    )
    return 0


@app.command(epilog=examples("info model.safetensors"))
def info(model: Model) -> int:
    """Layers, shapes and parameter counts, and in words what one unit of each layer is."""
    lm = CharLM.load(model)
    show, net, V = console(), lm.model, len(lm.vocabulary)
    table = Table(
        title=f"{model}: {net.size:,} parameters, {net.dtype.name}, {V} {lm.vocabulary.unit}s",
        title_justify="left",
    )
    for name, justify in (
        ("", "right"),
        ("layer", "left"),
        ("output", "left"),
        ("arrays", "left"),
        ("parameters", "right"),
    ):
        table.add_column(name, justify=justify)
    width = ""
    for k, layer in enumerate(net.layers):
        width = width if layer.out_features is None else str(layer.out_features)
        arrays = "\n".join(f"{name} {shape}" for name, shape in layer.shapes.items())
        table.add_row(str(k), type(layer).__name__, f"(T, N, {width})", arrays, f"{layer.size:,}")
    show.print(table)
    for k, layer in enumerate(net.layers):
        show.print(Text.assemble((f"{k} {type(layer).__name__}. ", "bold"), describe.unit(net, k)))
    if lm.history.updates:
        best = f", best validation {lm.history.best[1]:.4f} nats" if lm.history.best else ""
        show.print(f"Trained for {lm.history.updates:,} updates with {lm.optimizer!r}{best}.")
    return 0


@app.command(epilog=examples("selftest", "selftest lstm"))
def selftest(
    cells: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CELL]...", help="Cells to check: rnn, lstm and gru if none is named."
        ),
    ] = None,
) -> int:
    """Check on this machine what the engine promises: right numbers, exact gradients, the same bits however it is called.

    Compiled kernels against the interpreted equations; under a minute. Exit code 1 if a promise is broken.
    """
    from ..conformance.selftest import run as check

    for name in cells or ():
        if name not in CELL_EQUATIONS:
            raise UsageError(f"unknown cell {name!r}; known are {', '.join(CELL_EQUATIONS)}")
    return (
        1
        if check([CELL_EQUATIONS[name] for name in cells or ("rnn", "lstm", "gru")], console())
        else 0
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code. A user's mistake is one line on standard error."""
    return run(app, "recurrent", arguments)
