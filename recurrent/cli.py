"""The commands: demo, task, train, sample, eval, info, selftest.

Exit code 0; 1 for a failure, 2 for wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import words
from .cells import CELLS as CELL_EQUATIONS
from .charlm import CELLS, CharLM
from .optim import OPTIMIZERS
from .shell import UsageError, complain, run
from .text import Vocabulary, read

Cell = StrEnum("Cell", list(CELLS))
Optimizer = StrEnum("Optimizer", [name.lower() for name in OPTIMIZERS])

MODEL, FILES = "Model (--resume keeps what it has)", "Files"

app = typer.Typer(
    help="Character models that run on CPUs: train one, let it write, measure it, look inside.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A file written by train or demo.", show_default=False)]
Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE|DIR|-", help="A text file, a folder of text files, or - for standard input.", show_default=False
    ),
]


def number(help: str, least: int = 0, mark: str = "N", **more) -> typer.models.OptionInfo:
    """A whole number; with mark "X" any number."""
    return typer.Option(min=least, metavar=mark, help=help, **more)


def examples(*lines: str) -> str:
    """The last paragraph of a --help."""
    return "Examples:\n\n" + "\n\n".join(f"  python -m recurrent {line}" for line in lines)


class _Console(Console):
    def on_broken_pipe(self):
        raise BrokenPipeError  # rich would end the program with exit code 1


def console() -> Console:
    """Standard output: colours on a terminal, plain text of 80 columns elsewhere."""
    return _Console(highlight=False, markup=False, soft_wrap=False)


@app.command(epilog=examples("demo", "demo --updates 200 --out /tmp/demo"))
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the model, its history and the pictures.")] = Path("demo"),
    updates: Annotated[int, number("Updates of the parameters; fewer are faster.", 1)] = 1000,
    seed: Annotated[int, number("Of the initial parameters and the sample.")] = 0,
) -> int:
    """Train a 2-layer LSTM on Python's own documentation in about a minute; sample from it; draw it."""
    from .demo import run

    return run(out, updates, seed, console())


@app.command(epilog=examples("task", "task dates", "task waves --updates 200 --out /tmp/waves"))
def task(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which one; all are listed if none is named.")] = None,
    updates: Annotated[int | None, number("Of the parameters; as many as the task needs if not given.", 1)] = None,
    seed: Annotated[int, number("Of the data and the initial parameters.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the model and the pictures: demo/NAME if not given.")] = None,
) -> int:
    """Learn one of the five kinds of tasks from data made for it; answer what was held out; draw it. Seconds to minutes."""
    from .tasks import TASKS, about
    from .tasks import task as made

    if name is None:
        for known in TASKS:
            print(f"{known:10} {about(known)}")
        return 0
    if name not in TASKS:
        raise UsageError(f"task must be one of {', '.join(TASKS)}, got {name!r}")
    return made(name, seed).run(out or Path("demo") / name, updates, console())


@app.command(
    epilog=examples(
        "train book.txt",
        "train notes/ --cell gru --hidden 256 --out notes.safetensors",
        "train book.txt --epochs 20 --resume",
        "train book.txt --schedule cosine:warmup=200,final=1e-4",
        "train - --bytes --updates 500 < data.bin",
    )
)
def train(
    context: typer.Context,
    source: Source,
    cell: Annotated[Cell, typer.Option(help="Recurrent cell.", rich_help_panel=MODEL)] = Cell.lstm,
    layers: Annotated[int, number("Recurrent layers.", 1, rich_help_panel=MODEL)] = 2,
    hidden: Annotated[int, number("Units in each.", 1, rich_help_panel=MODEL)] = 512,
    embedding: Annotated[int, number("Numbers for each character.", 1, rich_help_panel=MODEL)] = 128,
    dropout: Annotated[float, number("Between recurrent layers; below 1.", mark="X", rich_help_panel=MODEL)] = 0.0,
    bytes_: Annotated[bool, typer.Option("--bytes", help="Model bytes instead of characters.", rich_help_panel=MODEL)] = False,
    seq: Annotated[int, number("Steps of a window.", 1)] = 50,
    batch: Annotated[int, number("Streams side by side.", 1)] = 50,
    optimizer: Annotated[Optimizer, typer.Option(metavar="NAME", help=f"{', '.join(Optimizer)}.")] = Optimizer.adam,
    lr: Annotated[float, number("Learning rate.", mark="X")] = 2e-3,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="NAME[:K=X,...]", help="Of the learning rate: cosine:warmup=100, exponential:factor=0.999."),
    ] = None,
    clip: Annotated[float, number("Limit of the gradient's norm; 0 for none.", mark="X")] = 5.0,
    epochs: Annotated[int, number("Passes over the text, those before --resume counted.", 1)] = 10,
    updates: Annotated[int | None, number("Updates instead of passes.", 1)] = None,
    validation: Annotated[float, number("Fraction held out, from the end; below 1.", mark="X")] = 0.05,
    validate_every: Annotated[int | None, number("Updates; an epoch if not given.", 1)] = None,
    patience: Annotated[int | None, number("Stop after so many validations without a best.", 1)] = None,
    seed: Annotated[int, number("Of parameters and dropout.")] = 0,
    out: Annotated[Path, typer.Option(metavar="MODEL", help="File to write.", rich_help_panel=FILES)] = Path(
        "model.safetensors"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training of --out.", rich_help_panel=FILES)] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.", rich_help_panel=FILES)] = False,
) -> int:
    """Train a character model on text; the best one by validation is in --out whenever training ends, and can go on.

    Ctrl-C ends the update that is under way, saves, and says how to go on.
    """
    given = {
        name.strip("_") for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    settings = dict(cell=cell.value, layers=layers, hidden=hidden, embedding=embedding, dropout=dropout, bytes=bytes_)
    windows = dict(seq=seq, batch=batch, validation=validation, optimizer=optimizer.value)
    limits = dict(clip=clip or None, validate_every=validate_every, patience=patience)
    if validation >= 1:
        raise UsageError(f"--validation must be below 1, got {validation:g}")
    if resume:
        lm = _resumed(out, settings | windows, given)
        windows = {name: lm.settings[name] for name in windows}
        limits |= {name: lm.options[name] for name in limits if name not in given}
        if "lr" in given:
            lm.optimizer.lr = lr
    elif out.exists() and not force:
        raise UsageError(f"{out} exists: go on with it by --resume, or overwrite it by --force")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out: there is no folder {out.absolute().parent}")
    text, skipped = read(source, raw=bytes_ or (resume and lm.settings["bytes"]))
    _mention(skipped)
    if not resume:
        del settings["bytes"]
        with _naming(source):
            vocabulary = Vocabulary.bytes() if bytes_ else Vocabulary.of(text)
        try:
            lm = CharLM(vocabulary, **settings, rng=seed)
        except ValueError as error:
            raise UsageError(str(error)) from None
    unit, done = lm.vocabulary.unit, lm.history.updates
    counts = f"{len(text):,} {unit}s, {len(lm.vocabulary)} symbols; {lm.model.size:,} parameters"
    print(counts + (f"; {done:,} updates done" if resume else ""), flush=True)
    try:
        with _naming(source):
            history = lm.train(
                text,
                **windows,
                **limits,
                lr=lr,
                schedule=schedule,
                epochs=epochs,
                updates=updates,
                save_to=out,
                resume=resume,
            )
    except FloatingPointError as error:
        kept = f"; {out} is as after update {lm.history.updates:,}" if lm.history.updates > done else ""
        raise FloatingPointError(f"{error}{kept}") from error
    if history.metrics:
        best = min(value for _, value in history.metrics)
        print(f"best of {len(history.metrics)} validations: {best:.4f} bits per {unit} (after update {history.best[0]:,})")
    if history.stopped == "interrupted":
        again = f"python -m recurrent train {shlex.quote(source)} --resume --out {shlex.quote(str(out))}"
        again += f" --epochs {epochs}" if updates is None else f" --updates {updates}"
        complain("recurrent", f"interrupted after update {history.updates:,}; the model is in {out}; go on with: {again}")
        return 130
    if history.updates == done:
        if history.stopped == "patience":
            spent = f"--patience {lm.options['patience']} is used up"
            print(f"no better validation for a while, {spent}: raise it to train {out} further")
            return 0
        print(f"nothing left to do: raise --epochs or --updates to train {out} further")
        return 0
    why = " (no better validation for a while)" if history.stopped == "patience" else ""
    print(f"{history.updates:,} updates done{why}; the model is in {out}\nNext: python -m recurrent sample {out}")
    return 0


def _resumed(path: Path, asked: dict, given: set[str]) -> CharLM:
    lm = CharLM.load(path)
    for name, value in lm.settings.items():
        if name in given and asked[name] != value:
            raise UsageError(f"--{name} {asked[name]} is not what {path} began with ({value}); leave it out with --resume")
    if lm.optimizer is None:
        raise ValueError(f"{path}: saved without its training, nothing to resume")
    return lm


@app.command(epilog=examples("sample model.safetensors", 'sample model.safetensors --prime "The " --temperature 0.7'))
def sample(
    model: Model,
    length: Annotated[int, number("Characters (bytes of a model of bytes).")] = 2000,
    prime: Annotated[str, typer.Option(help="Text to go on from; printed too.")] = "",
    temperature: Annotated[float, typer.Option(metavar="X", help="Below 1 safer, above 1 wilder.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(metavar="N", help="Draw from the k likeliest only.")] = None,
    top_p: Annotated[float | None, typer.Option(metavar="X", help="Draw from the likeliest that reach p together.")] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the likeliest.")] = False,
    seed: Annotated[int | None, number("The same seed, the same text.", show_default="a new one")] = None,
) -> int:
    """Let a model write; text appears as it comes."""
    lm = CharLM.load(model)
    try:
        pieces = lm.sample(length, prime, temperature=temperature, top_k=top_k, top_p=top_p, greedy=greedy, seed=seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    sys.stdout.write(prime)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


@app.command("eval", epilog=examples("eval model.safetensors other.txt", "eval model.safetensors other.txt --batch 50"))
def evaluate(
    model: Model,
    source: Source,
    batch: Annotated[int, number("Pieces read side by side: faster, each begins without context.", 1)] = 1,
) -> int:
    """Bits per character of a text: how well the model predicts each one from all before it."""
    lm = CharLM.load(model)
    text, skipped = read(source, raw=lm.settings["bytes"])
    _mention(skipped)
    unit = lm.vocabulary.unit
    with _naming(source):
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
    table = Table(title=f"{model}: {net.size:,} parameters, {net.dtype.name}, {V} {lm.vocabulary.unit}s", title_justify="left")
    for name, justify in (("", "right"), ("layer", "left"), ("output", "left"), ("arrays", "left"), ("parameters", "right")):
        table.add_column(name, justify=justify)
    width = ""
    for k, layer in enumerate(net.layers):
        width = width if layer.outputs is None else str(layer.outputs)
        arrays = "\n".join(f"{name} {shape}" for name, shape in layer.shapes.items())
        table.add_row(str(k), type(layer).__name__, f"(T, N, {width})", arrays, f"{layer.size:,}")
    show.print(table)
    for k, layer in enumerate(net.layers):
        show.print(Text.assemble((f"{k} {type(layer).__name__}. ", "bold"), words.unit(net, k)))
    if lm.history.updates:
        best = f", best validation {lm.history.best[1]:.4f} nats" if lm.history.best else ""
        show.print(f"Trained for {lm.history.updates:,} updates with {lm.optimizer!r}{best}.")
    return 0


@app.command(epilog=examples("selftest", "selftest lstm"))
def selftest(
    cells: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL]...", help="Cells to check: rnn, lstm and gru if none is named.")
    ] = None,
) -> int:
    """Check on this machine what the engine promises: right numbers, exact gradients, the same bits however it is called.

    Compiled kernels against the interpreted equations; under a minute. Exit code 1 if a promise is broken.
    """
    from .conformance.selftest import run as check

    for name in cells or ():
        if name not in CELL_EQUATIONS:
            raise UsageError(f"unknown cell {name!r}; known are {', '.join(CELL_EQUATIONS)}")
    return 1 if check([CELL_EQUATIONS[name] for name in cells or ("rnn", "lstm", "gru")], console()) else 0


def _mention(skipped: list[str]) -> None:
    if skipped:
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        print(f"left out, as it is not text: {skipped[0]}{more}", file=sys.stderr)


@contextmanager
def _naming(source: str):
    """Put the text's file before what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{'standard input' if source == '-' else source}: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code. A user's mistake is one line on standard error."""
    return run(app, "recurrent", arguments)
