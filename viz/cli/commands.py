"""The commands, one for each view. Exit codes: 0, 1 for a failure, 2 for wrong usage."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from recurrent import CharLM, checks
from recurrent.cells import CELLS
from recurrent.cli.options import (
    Version,
    existing_file,
    existing_model,
    in_options,
    make_folder,
    number,
    refuse,
)
from recurrent.cli.runner import UsageError, run
from recurrent.cli.streams import keep_going
from recurrent.models import files, schema
from recurrent.training import checkpoint
from recurrent.training.history import HISTORY

from ..draw.adapt import using
from ..draw.drawing import Drawing
from ..draw.render import RenderError
from ..page.explore import explore as draw_page
from ..reading import probing
from ..views.attention import attention as draw_attention
from ..views.cell import cell as draw_cell
from ..views.compare import compare as draw_compare
from ..views.curve import curve as draw_curve
from ..views.gradients import gradients as draw_gradients
from ..views.layer import layer as draw_layer
from ..views.network import network as draw_network
from ..views.task import STORIES
from ..views.task import task as draw_task
from ..views.text import text as draw_text
from ..views.unit import unit as draw_unit
from ..views.unrolled import unrolled as draw_unrolled
from ..views.weights import weights as draw_weights
from . import models
from .drawing import Dark, Labels, Palette, Title, Width, chosen_look, draws, output
from .words import text_of

app = typer.Typer(
    help="Draw recurrent networks: units, gates, unrolled networks, vanishing gradients.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(version: Version = False) -> None:
    """Take the options that need no command."""


MOST_STEPS = 100_000  # a picture shows fewer, but a model runs through all of them


def _model_file(name: str | None) -> str | None:
    """Return the name of a model; raise OSError if it names a folder or a device."""
    return existing_model(name) if name is not None and os.path.lexists(name) else name


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A file of model.save or python -m recurrent; a model of PyTorch (.pt, .safetensors), "
        "Keras (.keras, .h5) or ONNX (.onnx); or layers as in LSTM:5:10,Linear:10:1.",
        show_default=False,
        callback=_model_file,
    ),
]
Text = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Text that the model reads; its values are drawn.", show_default=False
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(
        metavar="N|NAME",
        help="Number of the layer in the model, or its name. Default: a recurrent layer.",
        show_default=False,
    ),
]

Direction = Annotated[
    str, typer.Option(metavar="DIRECTION", help="forward, or reverse for a bidirectional layer.")
]
Unit = Annotated[
    int | None,
    number("Number of the unit, from 0.", show_default=False),
]
Steps = Annotated[
    int,
    number("Time steps of random input to run; 0 shows the weights alone.", max=MOST_STEPS),
]


def examples(*lines: str) -> str:
    """Return the last paragraph of a help text."""
    return "Examples:\n\n" + "\n\n".join(f"  python -m viz {line}" for line in lines)


@app.command(
    epilog=examples("network LSTM:5:10,Linear:10:1", "network model.safetensors -o network.png")
)
@draws
def network(model: Model) -> Drawing:
    """Draw the stack of layers: shapes, parameters, and recurrence as loops."""
    return draw_network(models.layers_of(models.model(model)))


@app.command(
    epilog=examples(
        "unrolled LSTM:5:10 --steps 4",
        "unrolled model.safetensors --steps 40 --window 20",
        "unrolled model.safetensors --text 'The '",
    )
)
@draws
def unrolled(
    model: Model,
    text: Text = None,
    steps: Annotated[
        int | None,
        number(
            "Number of time steps. Default: 4, or those of the text.",
            1,
            max=MOST_STEPS,
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        int | None,
        number("Steps per window of truncated BPTT.", 1, show_default=False),
    ] = None,
) -> Drawing:
    """Draw the network unrolled over time, with the same weights at every step."""
    made = models.model(model)
    run = None if text is None else models.run(made, text, 0)
    steps = steps or (4 if run is None else len(run.recording.x))
    stack = models.layers_of(made)
    if run is None:
        return draw_unrolled(stack, steps, window)
    read = None if run.inputs is None else run.inputs[:steps]
    return draw_unrolled(stack, steps, window, run.recording, inputs=read)


def layer_command(command: Callable[..., Drawing]) -> Callable[..., Drawing]:
    """Add the options that choose a layer and its values to a command that draws one layer.

    The command takes the layer, a recording of its model, the direction, and its own options.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[3:]

    def draw(context, model, layer, direction, text, steps, **options):
        _refuse_steps(context, text)
        if command.__name__ == "cell" and model in CELLS and not os.path.lexists(model):
            values = ["layer", "direction", "text", "steps", "unit"]
            refuse(context, values, f"the cell {model}", "a cell alone has no units")
            return draw_cell(model, backward=options["backward"])
        chosen, recording = _recurrent(model, layer, text, steps)
        try:
            return command(chosen, recording, direction, **options)
        except (IndexError, ValueError) as error:
            text = in_options(error, options, {"j": "--unit", "k": "--inputs"})
            raise type(error)(text) from error

    def option(name, kind, default=inspect.Parameter.empty):
        return inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind
        )

    after = [
        option("layer", Layer, None),
        option("direction", Direction, "forward"),
        option("text", Text, None),
    ]
    draw.__signature__ = inspect.Signature(
        [
            option("context", typer.Context),
            option("model", Model),
            *own,
            *after,
            option("steps", Steps, 0),
        ]
    )
    draw.__name__, draw.__doc__ = command.__name__, command.__doc__
    return draw


@app.command(
    epilog=examples(
        "cell LSTM:5:10",
        "cell janet",
        "cell GRU:5:10 --backward",
        "cell LSTM:5:10 --steps 6 --unit 3",
    )
)
@draws
@layer_command
def cell(
    chosen: Any,
    recording: Any,
    direction: str,
    unit: Unit = None,
    backward: Annotated[
        bool,
        typer.Option("--backward", help="Draw the backward pass and the factors of the gradient."),
    ] = False,
) -> Drawing:
    """Draw the equations of a layer as a circuit of vectors, with a shape on every wire.

    Values are means over all units, or with --unit those of one unit.
    """
    return draw_cell(chosen, recording, unit=unit, backward=backward, direction=direction)


@app.command(
    epilog=examples(
        "layer LSTM:5:10", "layer GRU:128:512 --unit 100", "layer model.safetensors --text 'The '"
    )
)
@draws
@layer_command
def layer(chosen: Any, recording: Any, direction: str, unit: Unit = None) -> Drawing:
    """Draw the units of a layer side by side, with their inputs and memory; --unit is marked."""
    return draw_layer(chosen, recording, unit=unit, direction=direction)


@app.command(
    epilog=examples(
        "unit LSTM:5:10 --unit 3",
        "unit LSTM:5:10 --unit 3 --gate f --steps 6",
        "unit model.safetensors --layer 1 --unit 7 --text 'The '",
        "unit model.onnx 3",
        "unit model.pt 3 --layer encoder.lstm",
    )
)
@draws
@layer_command
def unit(
    chosen: Any,
    recording: Any,
    direction: str,
    place: Annotated[
        int | None,
        typer.Argument(metavar="UNIT", help="Number of the unit.", min=0, show_default=False),
    ] = None,
    unit: Annotated[
        int | None,
        number("The same, as an option. Default: 0.", show_default=False),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Draw this gate as its dot product: i, f, ...", show_default=False
        ),
    ] = None,
    k: Annotated[
        int | None,
        number(
            "Draw the N inputs with the largest weights.", 1, "N", "--inputs", show_default=False
        ),
    ] = None,
) -> Drawing:
    """Draw one unit: the inputs and weights of its gates, its memory and its output."""
    if place is not None and unit is not None:
        raise UsageError("give the unit once: UNIT or --unit")
    unit = next((j for j in (place, unit) if j is not None), 0)
    return draw_unit(chosen, unit, recording=recording, gate=gate, k=k, direction=direction)


@app.command(
    epilog=examples(
        "weights LSTM:5:10", "weights model.safetensors --layer 1 --text 'A text to read.'"
    )
)
@draws
@layer_command
def weights(chosen: Any, recording: Any, direction: str) -> Drawing:
    """Draw the weight matrices by gate, spectral radii and, with values, saturation."""
    return draw_weights(chosen, recording, direction)


@app.command(
    epilog=examples(
        "compare before.safetensors after.safetensors",
        "compare a.safetensors b.onnx --view unit --unit 3",
    )
)
@draws
def compare(
    first: Model,
    second: Model,
    view: Annotated[
        str, typer.Option(metavar="VIEW", help="weights, unit, layer, cell or network.")
    ] = "weights",
    layer: Layer = None,
    unit: Unit = None,
) -> Drawing:
    """Draw two models, or two moments of training, side by side on one scale."""
    checks.choice(view, "--view", ("weights", "unit", "layer", "cell", "network"))
    if unit is not None and view not in ("unit", "layer"):
        raise UsageError(f"--unit is for --view unit or layer, not for {view}")
    pair = []
    for name in (first, second):
        made = models.layers_of(models.model(name))
        if view == "network":
            pair.append(made)
            continue
        chosen = models.recurrent_layer(made, layer)[1]
        pair.append((chosen, unit or 0) if view == "unit" else chosen)
    options = {"unit": unit} if view == "layer" else {}
    try:
        return draw_compare(*pair, view=view, names=_apart(first, second), **options)
    except IndexError as error:
        raise IndexError(in_options(error, ["unit"], {"j": "--unit"})) from error


def _apart(first: str, second: str) -> tuple[str, str]:
    """Return the names of two models without their folders, unless these alone tell them apart."""
    short = Path(first).name, Path(second).name
    return short if short[0] != short[1] else (first, second)


@app.command(epilog=examples("task many-to-one", "task many-to-one LSTM:5:10,Last,Linear:10:2"))
@draws
def task(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help=f"One of {', '.join(STORIES)}.", show_default=False),
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A model whose layers are drawn.",
            show_default=False,
            callback=_model_file,
        ),
    ] = None,
) -> Drawing:
    """Draw the inputs and outputs of a kind of sequence task, with an example."""
    return draw_task(kind, None if model is None else models.layers_of(models.model(model)))


@app.command(
    epilog=examples(
        "attention LSTM:5:8,Attention:8,Linear:16:2 --steps 6",
        "attention dates.safetensors --text '5 March 2021'",
    )
)
@draws
def attention(
    context: typer.Context,
    model: Model,
    text: Text = None,
    steps: Annotated[
        int,
        number("Time steps of random input if there is no text.", 1, max=MOST_STEPS),
    ] = 6,
) -> Drawing:
    """Draw the attention of each output: weights as line widths and numbers."""
    _refuse_steps(context, text)
    made = models.model(model)
    run = models.run(made, text, steps)
    return draw_attention(models.layers_of(made), **run._asdict())


@app.command(
    epilog=examples(
        "gradients RNN:5:10 --steps 30", "gradients model.safetensors --text 'A text to read.'"
    )
)
@draws
def gradients(
    context: typer.Context,
    model: Model,
    text: Text = None,
    steps: Annotated[
        int,
        number("Time steps of random input if there is no text.", 1, max=MOST_STEPS),
    ] = 20,
    every: Annotated[
        bool,
        typer.Option(
            "--every",
            help="Use the loss of every step; by default only that of the last step.",
        ),
    ] = False,
) -> Drawing:
    """Draw where the gradient vanishes: |dL/dh| and |dL/dc| of every layer and step."""
    _refuse_steps(context, text)
    made = models.model(model)
    run = models.recording(made, text, steps, not every)
    return draw_gradients(models.layers_of(made), run)


@app.command(
    epilog=examples(
        "text model.safetensors book.txt --like 'inside quotes' -o text.html",
        "text model.safetensors 'She said \"no\".' --unit 3 --value c",
    )
)
@draws
def text(
    model: Model,
    words: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|DIR|-|TEXT]",
            help="A text file, a folder of text files, - for standard input, or the text itself.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="The text, even if a file has that name.", show_default=False
        ),
    ] = None,
    unit: Annotated[
        int | None,
        number("Number of the unit. Default: the one that varies most.", show_default=False),
    ] = None,
    layer: Layer = None,
    value: Annotated[str, typer.Option(metavar="NAME", help="h, c or the name of a gate.")] = "h",
    like: Annotated[
        str | None,
        typer.Option(
            metavar="FEATURE",
            help=f"Choose the unit that follows this feature best: {', '.join(probing.FEATURES)}.",
            show_default=False,
        ),
    ] = None,
) -> Drawing:
    """Draw a text coloured by the value of one unit after each character."""
    if (words is None) == (text is None):
        raise UsageError("give the text once: FILE, TEXT or --text TEXT")
    made = models.model(model)
    if words is None:
        words = text
    elif isinstance(made, CharLM):
        words = text_of(words, made)
    place = None if layer is None else models.recurrent_layer(models.layers_of(made), layer)[0]
    if like is not None:
        if unit is not None or layer is not None:
            raise UsageError("--like chooses the unit: leave out --unit and --layer")
        place, unit, correlation = probing.units_like(made, words, like, value, top=1)[0]
        print(f"unit {unit} of layer {place} follows {like!r} best: correlation {correlation:+.2f}")
    return draw_text(made, words, unit, value, place)


@app.command(
    epilog=examples(
        "explore LSTM:5:10,Linear:10:1 --steps 12",
        "explore model.safetensors --text 'A text to read.'",
    )
)
def explore(
    context: typer.Context,
    model: Model,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="Output file, .html.", callback=output),
    ] = Path("explore.html"),
    text: Text = None,
    steps: Annotated[
        int,
        number("Time steps of random input if there is no text.", 1, max=MOST_STEPS),
    ] = 12,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="encoder or decoder of an encoder-decoder model. Default: decoder.",
            show_default=False,
        ),
    ] = None,
    title: Title = None,
    labels: Labels = None,
    width: Width = None,
    palette: Palette = "default",
    dark: Dark = None,
) -> int:
    """Write a self-contained page of all levels and values, with a slider over time."""
    _refuse_steps(context, text)
    made = models.model(model)
    look = chosen_look(title=title, labels=labels, width=width, palette=palette, dark=dark)
    run = models.run(made, text, steps)._asdict()
    look.labels = (models.class_names(made, part) or {}) | look.labels
    with using(look):
        page = draw_page(models.layers_of(made), **run, part=part)
    print(f"wrote {page.save(out)}")
    return 0


@app.command(epilog=examples("curve model.safetensors", "curve demo/history.json -o curve.png"))
@draws
def curve(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A trained model, or a history.json with one history or up to six by name.",
            show_default=False,
            callback=existing_file,
        ),
    ],
) -> Drawing:
    """Draw the training curve of a model."""
    if source.suffix == ".json":
        files.check_readable(source)
        try:
            history = schema.parse_json(source.read_text(encoding="utf-8"), "it")
            single = isinstance(history, dict) and "losses" in history
            (HISTORY if single else schema.mapping(HISTORY))(history, "history")
            return draw_curve(history)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ValueError(f"{source} is not a history: {error}") from None
    training = checkpoint.load(source).training
    if training is None or not training.history.updates:
        raise ValueError(
            f"{source} holds a model without its training: name the history.json beside it, or a "
            "file of CharLM.save or recurrent.training.checkpoint"
        )
    return draw_curve(training.history)


@app.command(epilog=examples("gallery -o gallery"))
def gallery(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Output folder.")] = Path(
        "gallery"
    ),
    updates: Annotated[
        int,
        number("Updates for training each of the two small models.", 1),
    ] = 300,
) -> int:
    """Write a page of common questions, each answered by a picture; trains two small models."""
    from . import backwards
    from . import gallery as page

    keep_going()
    make_folder(out / "index.html")
    for file in page.write(out, page.train(updates), backwards.train(updates)):
        print(f"wrote {file}")
    return 0


def _refuse_steps(context: typer.Context, text: str | None) -> None:
    """Raise UsageError for a number of steps beside a text, which has its own."""
    if text is not None:
        refuse(context, ["steps"], "--text", "the text sets the number of steps")


def _recurrent(name: str, which: str | None, text: str | None, steps: int) -> tuple[Any, Any]:
    """Return a recurrent layer, by default the first, and a run of its model if asked for."""
    made = models.model(name)
    _, layer = models.recurrent_layer(models.layers_of(made), which)
    return layer, None if text is None and not steps else models.recording(made, text, steps)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; errors are one line on standard error."""
    return run(app, "viz", arguments, (IndexError, TypeError, RenderError))
