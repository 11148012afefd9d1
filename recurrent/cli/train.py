"""`python -m recurrent train`: options to a model and a recipe, what is said on the way, how to go on."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .. import optim
from ..charlm import presets, recipe
from ..charlm.model import CELLS, CharLM
from ..charlm.recipe import Recipe
from ..charlm.splits import LOADERS
from ..charlm.text import Vocabulary
from ..data import CARRIES
from ..initialisers import INITIALISERS
from ..training.history import History
from .options import Source, examples, mention, naming, number
from .runner import UsageError, complain
from .source import read_text


def _choice(name: str, known) -> type[StrEnum]:
    return StrEnum(name, {one: one for one in known})


Cell, Init, Preset = (
    _choice("Cell", CELLS),
    _choice("Init", INITIALISERS),
    _choice("Preset", presets.PRESETS),
)
Loader, Carry = _choice("Loader", LOADERS), _choice("Carry", CARRIES)

MODEL, TEXT, FILES = (
    "Model (--resume keeps what it has)",
    "Reading the text (--resume keeps it too)",
    "Files",
)
MODEL_OPTIONS = ("cell", "layers", "hidden", "embedding", "biases", "dropout", "init")

EXAMPLES = examples(
    "train book.txt",
    "train notes/ --cell gru --hidden 256 --out notes.safetensors",
    "train book.txt --preset char-rnn",
    "train book.txt --epochs 20 --resume",
    "train book.txt --schedule cosine:warmup=200,final=1e-4",
    "train - --bytes --updates 500 < data.bin",
)


def _model(help: str, **more) -> typer.models.OptionInfo:
    return typer.Option(help=help, rich_help_panel=MODEL, **more)


def train(
    context: typer.Context,
    source: Source,
    preset: Annotated[
        Preset | None,
        typer.Option(
            metavar="NAME", help=f"A published model's settings for defaults: {', '.join(Preset)}."
        ),
    ] = None,
    cell: Annotated[Cell, _model("Recurrent cell.")] = Cell.lstm,
    layers: Annotated[int, number("Recurrent layers.", 1, rich_help_panel=MODEL)] = 2,
    hidden: Annotated[int, number("Units in each.", 1, rich_help_panel=MODEL)] = 512,
    embedding: Annotated[
        int, number("Numbers for each character; 0 for one-hot vectors.", rich_help_panel=MODEL)
    ] = 128,
    biases: Annotated[
        int, number("Vectors of them a gate has: 0, 1 or 2.", max=2, rich_help_panel=MODEL)
    ] = 2,
    dropout: Annotated[
        float, number("Between recurrent layers; below 1.", mark="X", rich_help_panel=MODEL)
    ] = 0.0,
    init: Annotated[
        Init, _model(f"How parameters begin: {', '.join(Init)}.", metavar="NAME")
    ] = Init.pytorch,
    bytes_: Annotated[
        bool,
        typer.Option("--bytes", help="Model bytes instead of characters.", rich_help_panel=MODEL),
    ] = False,
    seq: Annotated[int, number("Steps of a window.", 1, rich_help_panel=TEXT)] = 50,
    batch: Annotated[int, number("Streams side by side.", 1, rich_help_panel=TEXT)] = 50,
    validation: Annotated[
        float, number("Fraction held out, from the end; below 1.", mark="X", rich_help_panel=TEXT)
    ] = Recipe.validation,
    test: Annotated[
        float, number("Fraction after it that is not read at all.", mark="X", rich_help_panel=TEXT)
    ] = Recipe.test,
    loader: Annotated[
        Loader,
        typer.Option(
            metavar="NAME", help=f"Whose way to cut it: {', '.join(Loader)}.", rich_help_panel=TEXT
        ),
    ] = Loader.even,
    carry: Annotated[
        Carry,
        typer.Option(
            metavar="NAME",
            help=f"How long the state is kept: {', '.join(Carry)}.",
            rich_help_panel=TEXT,
        ),
    ] = Carry.epoch,
    look_back: Annotated[
        int | None,
        number(
            "Steps that gradients go back, at least --seq; --seq if not given.",
            1,
            rich_help_panel=TEXT,
        ),
    ] = None,
    optimizer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(optim.OPTIMIZERS).lower()}; with options as in rmsprop:alpha=0.95.",
        ),
    ] = Recipe.optimizer,
    lr: Annotated[float, number("Learning rate.", mark="X")] = Recipe.lr,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of the learning rate: cosine:warmup=100, exponential:factor=0.999, stepdecay:every=5epochs,factor=0.5.",
        ),
    ] = None,
    sum_steps: Annotated[
        bool,
        typer.Option(
            "--sum-steps/--no-sum-steps",
            help="Gradients of the sum of losses over a window's steps, or of their mean.",
        ),
    ] = False,
    clip: Annotated[
        float, number("Limit of the gradient's norm; 0 for none.", mark="X")
    ] = Recipe.clip,
    clip_value: Annotated[
        float, number("Limit of each of its entries; 0 for none.", mark="X")
    ] = 0.0,
    epochs: Annotated[int, number("Passes over the text, those before --resume counted.", 1)] = 10,
    updates: Annotated[int | None, number("Updates instead of passes.", 1)] = None,
    validate_every: Annotated[int | None, number("Updates; an epoch if not given.", 1)] = None,
    patience: Annotated[
        int | None, number("Stop after so many validations without a best.", 1)
    ] = None,
    smooth: Annotated[
        float | None,
        number("Of the loss that is shown, how much stays at each update; below 1.", mark="X"),
    ] = None,
    seed: Annotated[int, number("Of parameters and dropout.")] = 0,
    out: Annotated[
        Path, typer.Option(metavar="MODEL", help="File to write.", rich_help_panel=FILES)
    ] = Path("model.safetensors"),
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the training of --out.", rich_help_panel=FILES),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite --out.", rich_help_panel=FILES)
    ] = False,
) -> int:
    """Train a character model on text; the best one by validation is in --out whenever training ends, and can go on.

    Ctrl-C ends the update that is under way, saves, and says how to go on.
    """
    asked = {
        name.strip("_"): getattr(value, "value", value) for name, value in context.params.items()
    }
    asked |= {"clip": clip or None, "clip_value": clip_value or None}
    given = {
        name.strip("_")
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    if validation >= 1:
        raise UsageError(f"--validation must be below 1, got {validation:g}")
    if not resume and out.exists() and not force:
        raise UsageError(f"{out} exists: go on with it by --resume, or overwrite it by --force")
    lm = _resumed(out, asked, given) if resume else None
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out: there is no folder {out.absolute().parent}")
    text, skipped = read_text(source, raw=bytes_ or (resume and lm.settings["bytes"]))
    mention(skipped)
    if lm is None:
        with naming(source):
            vocabulary = Vocabulary.bytes() if bytes_ else Vocabulary.of(text)
        lm = _new(vocabulary, asked, given)
    changed = {name: asked[name] for name in recipe.OPTIONS if name in given} if resume else {}
    unit, done = lm.vocabulary.unit, lm.history.updates
    if lm.recipe.preset is not None:
        print(presets.PRESETS[lm.recipe.preset].source)
    counts = f"{len(text):,} {unit}s, {len(lm.vocabulary)} symbols; {lm.model.size:,} parameters"
    print(counts + (f"; {done:,} updates done" if resume else ""), flush=True)
    try:
        with naming(source):
            history = lm.train(text, **changed, save_to=out, resume=resume)
    except FloatingPointError as error:
        kept = (
            f"; {out} is as after update {lm.history.updates:,}"
            if lm.history.updates > done
            else ""
        )
        raise FloatingPointError(f"{error}{kept}") from error
    return _told(lm, history, done, source, out)


def _new(vocabulary: Vocabulary, asked: dict, given: set[str]) -> CharLM:
    """A model and its recipe, by what was asked for; what a preset says counts where nothing was given."""
    found = presets.PRESETS[asked["preset"]] if asked["preset"] else presets.Preset("", {}, {})
    model = {
        name: asked[name] for name in MODEL_OPTIONS if name in given or name not in found.model
    }
    training = {
        name: asked[name] for name in recipe.OPTIONS if name in given or name not in found.training
    }
    try:
        lm = CharLM(vocabulary, **(found.model | model), rng=asked["seed"])
        lm.recipe = Recipe(**(found.training | training))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return lm


def _resumed(path: Path, asked: dict, given: set[str]) -> CharLM:
    lm = CharLM.load(path)
    for name, value in lm.settings.items():
        if name in given and asked[name] != value:
            option = name.replace("_", "-")
            raise UsageError(
                f"--{option} {asked[name]} is not what {path} began with ({value}); leave it out with --resume"
            )
    if lm.optimizer is None:
        raise ValueError(f"{path}: saved without its training, nothing to resume")
    return lm


def _told(lm: CharLM, history: History, done: int, source: str, out: Path) -> int:
    """Say how training ended and what to do next; the exit code."""
    unit, now = lm.vocabulary.unit, Recipe.of(lm.options)
    if history.metrics:
        best = min(value for _, value in history.metrics)
        print(
            f"best of {len(history.metrics)} validations: {best:.4f} bits per {unit} (after update {history.best[0]:,})"
        )
    if history.stopped == "interrupted":
        again = f"python -m recurrent train {shlex.quote(source)} --resume --out {shlex.quote(str(out))}"
        again += f" --epochs {now.epochs}" if now.updates is None else f" --updates {now.updates}"
        complain(
            "recurrent",
            f"interrupted after update {history.updates:,}; the model is in {out}; go on with: {again}",
        )
        return 130
    if history.updates == done:
        if history.stopped == "patience":
            spent = f"--patience {now.patience} is used up"
            print(f"no better validation for a while, {spent}: raise it to train {out} further")
            return 0
        print(f"nothing left to do: raise --epochs or --updates to train {out} further")
        return 0
    why = " (no better validation for a while)" if history.stopped == "patience" else ""
    print(
        f"{history.updates:,} updates done{why}; the model is in {out}\nNext: python -m recurrent sample {out}"
    )
    return 0
