"""`python -m recurrent train`: turns the options into a model and a recipe, trains, reports."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .. import optim
from ..charlm import presets, recipe
from ..charlm.documents import END
from ..charlm.model import CELLS, CharLM
from ..charlm.recipe import Recipe
from ..charlm.splits import SPLITS
from ..charlm.text import Vocabulary
from ..charlm.training import training_windows
from ..initialisers import INITIALISERS
from ..models.files import check_writable
from ..models.quantized import WEIGHTS
from ..training.history import History
from ..training.workers import Workers
from . import memory, ranks
from .options import (
    OTHERS,
    Source,
    Unknown,
    examples,
    existing_file,
    flag,
    given,
    in_options,
    name_source,
    number,
    print_notes,
    refuse,
    unescaped,
)
from .runner import UsageError, trained
from .source import read_text, unknown_characters
from .streams import keep_going

# Without those that belong to a preset.
PUBLIC = [n for n, cls in optim.OPTIMIZERS.items() if cls.__module__ == optim.__name__]


def _choices(name: str, values) -> type[StrEnum]:
    return StrEnum(name, {value: value for value in values})


Cell = _choices("Cell", CELLS)
Init = _choices("Init", INITIALISERS)
Preset = _choices("Preset", presets.PRESETS)
Loader = _choices("Loader", SPLITS)
Carry = _choices("Carry", presets.CARRIES)

MODEL = "Model (fixed by the first run; --resume keeps it)"
TEXT = "Text and batches (fixed by the first run; --resume keeps them)"
FILES = "Files"
MODEL_OPTIONS = ("cell", "layers", "hidden", "embedding", "biases", "dropout", "init")

EXAMPLES = examples(
    "train book.txt",
    "train notes/ --cell gru --hidden 256 --out notes.safetensors",
    "train book.txt --preset char-rnn",
    "train book.txt --epochs 20 --resume",
    "train book.txt --schedule cosine:warmup=200,final=1e-4",
    "train - --bytes --updates 500 < data.bin",
    "train names.txt --documents lines",
    "train letters.txt --init-from book.safetensors --unknown skip --out letters.safetensors",
)


def _option(help: str, panel: str | None = None, **settings) -> typer.models.OptionInfo:
    return typer.Option(help=help, rich_help_panel=panel, **settings)


def _number(help: str, panel: str | None = None, minimum: int = 0, **settings):
    return number(help, minimum, rich_help_panel=panel, **settings)


def train(
    context: typer.Context,
    source: Source,
    preset: Annotated[
        Preset | None,
        _option(f"Defaults from a published program: {', '.join(Preset)}.", metavar="NAME"),
    ] = None,
    cell: Annotated[Cell, _option("Recurrent cell.", MODEL)] = Cell.lstm,
    layers: Annotated[int, _number("Number of recurrent layers.", MODEL, 1)] = 2,
    hidden: Annotated[int, _number("Hidden size: units per recurrent layer.", MODEL, 1)] = 512,
    embedding: Annotated[int, _number("Embedding size; 0 for one-hot vectors.", MODEL)] = 128,
    biases: Annotated[
        int, _number("Number of bias vectors per gate: 0, 1 or 2.", MODEL, max=2)
    ] = 2,
    dropout: Annotated[
        float, _number("Dropout probability between recurrent layers, below 1.", MODEL, metavar="X")
    ] = 0.0,
    init: Annotated[
        Init, _option(f"Parameter initialisation: {', '.join(Init)}.", MODEL, metavar="NAME")
    ] = Init.pytorch,
    bytes_: Annotated[
        bool,
        typer.Option("--bytes", help="Model bytes, not characters.", rich_help_panel=MODEL),
    ] = False,
    seq: Annotated[int, _number("Window length of truncated BPTT, in time steps.", TEXT, 1)] = 50,
    batch: Annotated[int, _number("Batch size: number of parallel text streams.", TEXT, 1)] = 50,
    validation: Annotated[
        float,
        _number("Fraction held out for validation, at the end of the text.", TEXT, metavar="X"),
    ] = Recipe.validation,
    test: Annotated[
        float, _number("Fraction reserved after it for a test of your own.", TEXT, metavar="X")
    ] = Recipe.test,
    documents: Annotated[
        str | None,
        _option(
            'Where documents end: lines, files, or the text between them, such as "\\n\\n". The '
            "state is reset there, and sample ends.",
            TEXT,
            metavar="TEXT",
        ),
    ] = None,
    unknown: Unknown = "error",
    loader: Annotated[
        Loader,
        _option(f"How the text is split into streams: {', '.join(Loader)}.", TEXT, metavar="NAME"),
    ] = Loader.even,
    carry: Annotated[
        Carry,
        _option(
            f"How long the state is carried from window to window: {', '.join(Carry)}.",
            TEXT,
            metavar="NAME",
        ),
    ] = Carry.epoch,
    look_back: Annotated[
        int | None,
        _number("Time steps that gradients flow back.", TEXT, 1, show_default="--seq"),
    ] = None,
    optimizer: Annotated[
        str,
        _option(
            f"{', '.join(PUBLIC).lower()}; with options as in rmsprop:alpha=0.95.",
            metavar="NAME",
        ),
    ] = Recipe.optimizer,
    lr: Annotated[float, number("Learning rate.", metavar="X")] = Recipe.lr,
    schedule: Annotated[
        str | None,
        _option(
            "Learning-rate schedule, such as cosine:warmup=100, exponential:factor=0.999 or "
            "stepdecay:every=5epochs.",
            metavar="NAME",
        ),
    ] = None,
    sum_steps: Annotated[
        bool,
        typer.Option(
            "--sum-steps/--no-sum-steps",
            help="Sum the loss over the time steps of a window instead of averaging it.",
        ),
    ] = False,
    clip: Annotated[
        float, number("Gradient clipping by norm: the largest norm; 0 for none.", metavar="X")
    ] = Recipe.clip,
    clip_value: Annotated[
        float, number("Gradient clipping by value: the largest entry; 0 for none.", metavar="X")
    ] = 0.0,
    epochs: Annotated[
        int, number("Passes over the training text, including those before --resume.", 1)
    ] = 10,
    updates: Annotated[int | None, number("Number of updates, instead of --epochs.", 1)] = None,
    validate_every: Annotated[
        int | None, number("Updates between validations.", 1, show_default="one epoch")
    ] = None,
    patience: Annotated[
        int | None, number("Stop after this many validations without improvement.", 1)
    ] = None,
    smooth: Annotated[
        float | None,
        number(
            "Smoothing factor of the displayed loss (exponential moving average), below 1.",
            metavar="X",
        ),
    ] = None,
    shards: Annotated[
        int,
        number(
            "Number of parts of each batch, a power of two, that processes of mpiexec share.", 1
        ),
    ] = 1,
    init_from: Annotated[
        Path | None,
        _option(
            "Start from the parameters and the vocabulary of this model.",
            FILES,
            metavar="MODEL",
            callback=existing_file,
        ),
    ] = None,
    seed: Annotated[int, number("Seed of the initial parameters and of dropout.")] = 0,
    out: Annotated[Path, _option("Checkpoint to write.", FILES, metavar="MODEL")] = Path(
        "model.safetensors"
    ),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue the training saved in --out.", rich_help_panel=FILES
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite --out.", rich_help_panel=FILES)
    ] = False,
) -> int:
    """Train a character model on text.

    When training ends, --out holds the best model by validation loss, and --resume can continue.
    Ctrl-C, SIGTERM and SIGHUP finish the current update, save the model and print the command that
    resumes.

    mpiexec -n 4 python -m recurrent train FILE --shards 8 shares the training among 4 processes,
    with the same bits as one.
    """
    options = {
        name.strip("_"): getattr(value, "value", value) for name, value in context.params.items()
    }
    # Before version 0.28 of typer `context.params` holds a Path as a text.
    options |= {"out": out, "clip": clip or None, "clip_value": clip_value or None}
    explicit = {name.strip("_") for name in given(context)}
    workers = ranks.begin()
    with workers.together():
        lm, ids, more = _prepare(context, options, explicit, workers)
    done = lm.history.updates
    with name_source(source, context.params):
        history = trained(
            lambda: lm.train(ids, **more, save_to=out, resume=resume, comm=workers),
            lambda history: _how_to_resume(lm, history, source, out, workers),
        )
    return _report(lm, history, done, out)


def _prepare(
    context: typer.Context, options: dict, explicit: set[str], workers: Workers
) -> tuple[CharLM, np.ndarray, dict]:
    """Return the model, the ids of the text and the options of training, and print what they are.

    Raises an error for all that is wrong before work begins.
    """
    options["documents"] = unescaped(options["documents"], "--documents")
    _check_usage(context, options, explicit)
    source, out, resume = options["source"], options["out"], options["resume"]
    if workers.size > 1 and source == "-":
        raise UsageError("FILE must be a file or folder, which each process reads, got -")
    check_writable(out)
    lm = _load(out, options, explicit) if resume else None
    lm = _start(options["init_from"], options) if options["init_from"] else lm
    overrides = {name: options[name] for name in recipe.OPTIONS if name in explicit}
    made = _recipe(options, explicit)
    if resume and lm is not None:
        made = _usage(lambda: Recipe.from_dict(lm.options).override(**overrides))
    _usage(lambda: workers.check_shards(made.shards))
    raw = options["bytes"] if lm is None else lm.vocabulary.symbols is None
    keep = "" if lm is None else lm.vocabulary.symbols
    text = read_text(source, raw, keep, made.documents)
    if lm is None:
        lm, ids = _new(text.pieces, source, options, explicit, made)
    else:
        with name_source(source, hint=OTHERS):
            ids, lacking = lm.vocabulary.encode_pieces(text.pieces, made.unknown)
        text.notes.extend(unknown_characters(lacking, made.unknown))
        if not resume:
            model = {name: lm.settings[name] for name in MODEL_OPTIONS if name != "init"}
            _check_size(lm.vocabulary, ids, model, made, source)
            lm.recipe = made
    print_notes(text.notes)
    keep_going()
    if lm.recipe.preset is not None:
        print(presets.PRESETS[lm.recipe.preset].source)
    unit, done = lm.vocabulary.unit, lm.history.updates
    counts = f"{len(ids):,} {unit}s, {len(lm.vocabulary)} symbols; {lm.model.size:,} parameters"
    print(counts + (f"; {done:,} updates done" if resume else ""), flush=True)
    return lm, ids, overrides if resume else {}


def _check_usage(context: typer.Context, options: dict, explicit: set[str]) -> None:
    """Raise UsageError for options that exclude each other, and for an --out that is in the way."""
    out = options["out"]
    if options["validation"] >= 1:
        raise UsageError(f"--validation must be below 1, got {options['validation']:g}")
    if options["resume"]:
        why = f"the training in {out} goes on with its own parameters"
        refuse(context, ("init", "seed", "force"), "--resume", why)
        refuse(context, ("init_from",), "--resume", "give one of them")
    if options["init_from"]:
        why = "the model keeps its layers and its vocabulary"
        refuse(context, (*MODEL_OPTIONS, "preset", "bytes_", "seed"), "--init-from", why)
    elif not options["resume"]:
        why = "a new model knows all characters; it needs --init-from MODEL"
        if "unknown" in explicit:
            raise UsageError(f"--unknown: {why}")
    if options["documents"] and options["bytes"]:
        raise UsageError("--documents cannot be combined with --bytes: no byte is free to end them")
    refuse(context, ("epochs",) if "updates" in explicit else (), "--updates", "give one of them")
    if options["patience"] and not options["validation"]:
        raise UsageError("--patience counts validations: it needs --validation above 0, got 0")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out: no such folder: {out.absolute().parent}")
    if out.exists() and out.is_file() and not (options["resume"] or options["force"]):
        raise UsageError(f"{out} exists: continue it with --resume or overwrite it with --force")


def _recipe(options: dict, explicit: set[str]) -> Recipe:
    """Return the recipe of a new training; explicit options override the preset."""
    preset = presets.PRESETS[options["preset"]].training if options["preset"] else {}
    training = {
        name: options[name] for name in recipe.OPTIONS if name in explicit or name not in preset
    }
    return _usage(lambda: Recipe(**(preset | training)))


def _usage(make: Callable[[], Any]) -> Any:
    """Return what `make` makes of options; an error of theirs is one of usage."""
    try:
        return make()
    except ValueError as error:
        names = *recipe.OPTIONS, *MODEL_OPTIONS
        raise UsageError(in_options(error, names)) from None


def _new(
    pieces: Iterable, source: str, options: dict, explicit: set[str], made: Recipe
) -> tuple[CharLM, np.ndarray]:
    """Build a model, and convert the text to ids; explicit options override the preset.

    Whether the text is long enough and the memory large enough is checked before the model is made.
    """
    with name_source(source):
        if options["bytes"]:
            vocabulary = Vocabulary.bytes()
            ids, _ = vocabulary.encode_pieces(pieces)
        else:
            vocabulary, ids = Vocabulary.of_pieces(pieces, made.documents and END)
    preset = presets.PRESETS[options["preset"]].model if options["preset"] else {}
    model = preset | {
        name: options[name] for name in MODEL_OPTIONS if name in explicit or name not in preset
    }
    _check_size(vocabulary, ids, model, made, source)
    lm = CharLM(vocabulary, **model, rng=options["seed"])
    lm.recipe = made
    return lm, ids


def _check_size(
    vocabulary: Vocabulary, ids: np.ndarray, model: dict, made: Recipe, source: str
) -> None:
    """Raise an error if the text is too short or the memory too small for a training."""
    need = _usage(lambda: memory.training(vocabulary, model, made))
    with name_source(source):
        training_windows(vocabulary, ids, made)
    memory.check(need, "training this model", "use smaller --hidden, --layers, --batch or --seq")


def _trainable(path: Path) -> CharLM:
    """Load a character model; raise ValueError if its weights are quantised."""
    lm = CharLM.load(path)
    weights = lm.model.weights
    if weights in WEIGHTS:
        raise ValueError(
            f"{path} has {weights} weights, which cannot be trained: train the model that it was "
            "made from, and quantise that afterwards"
        )
    return lm


def _start(path: Path, options: dict) -> CharLM:
    """Load the model to start from; raise UsageError if it cannot have documents."""
    lm = _trainable(path)
    if options["documents"] is not None and lm.vocabulary.end is None:
        raise UsageError(
            f"--documents needs an end symbol, which the vocabulary of {path} lacks: it was "
            "trained without --documents"
        )
    return lm


def _load(path: Path, options: dict, explicit: set[str]) -> CharLM:
    """Load the model to resume; raise UsageError if an explicit option contradicts it."""
    lm = _trainable(path)
    for name, value in lm.settings.items():
        if name in explicit and options[name] != value:
            option = flag(name)
            raise UsageError(
                f"{option} {options[name]} contradicts {path}, which was trained with {value}; "
                f"omit {option} with --resume"
            )
    if lm.optimizer is None:
        raise ValueError(f"{path} cannot be resumed: it was saved without its training state")
    return lm


def _how_to_resume(lm: CharLM, history: History, source: str, out: Path, workers: Workers) -> str:
    """Say after an interrupt what is saved, and the command that continues."""
    now = Recipe.from_dict(lm.options)
    command = f"mpiexec -n {workers.size} " * (workers.size > 1)
    command += f"python -m recurrent train {shlex.quote(source)} --resume"
    command += f" --out {shlex.quote(str(out))}"
    command += f" --epochs {now.epochs}" if now.updates is None else f" --updates {now.updates}"
    return f" after update {history.updates:,}; the model is saved in {out}; resume with: {command}"


def _report(lm: CharLM, history: History, done: int, out: Path) -> int:
    """Print how the training ended and what to do next; return the exit code."""
    unit, now = lm.vocabulary.unit, Recipe.from_dict(lm.options)
    values = [value for _, value in history.metrics.get("bits_per_character", ())]
    if values:
        best = min(values)
        print(
            f"best of {len(values)} validations: {best:.4f} bits per {unit} "
            f"(after update {history.best[0]:,})"
        )
    if history.updates == done:
        reason = "nothing left to do: raise --epochs or --updates"
        if history.stopped == "patience":
            reason = f"no improvement in {now.patience} validations: raise --patience"
        print(f"{reason} to train {out} further")
        return 0
    early = ", stopped early (no improvement)" if history.stopped == "patience" else ""
    print(f"{history.updates:,} updates done{early}; the model is saved in {out}")
    print(f"Next: python -m recurrent sample {out}")
    return 0
