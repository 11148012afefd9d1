"""The gallery: small trained models, every view of them, and a page of common questions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np

from recurrent import GRU, LSTM, RNN, CharLM, Linear, Sequential
from recurrent.cli.runner import trained
from recurrent.cli.source import demo_text
from recurrent.models.files import replace

from ..draw.drawing import Drawing
from ..draw.frame import CSS, framed
from ..page.explore import Page, explore
from ..reading.probing import units_like
from ..views.attention import attention
from ..views.cell import cell
from ..views.curve import curve
from ..views.gradients import gradients
from ..views.layer import layer
from ..views.network import network
from ..views.task import STORIES, task
from ..views.text import text
from ..views.unit import unit
from ..views.unrolled import unrolled
from ..views.weights import weights
from . import backwards, models

READS = (
    'The name "spam" is not "eggs": see section 12 of the Reference.\n'
    'A "string" is quoted, a Name is not.'
)


MODEL, BACKWARDS, TEXT = "model.safetensors", "backwards.safetensors", "text.txt"


class Exhibit(NamedTuple):
    """A common question, its answer, the command that draws the picture, and the picture."""

    name: str
    question: str
    answer: str
    command: str
    draw: Callable[[], Drawing | Page]


def train(updates: int = 300) -> CharLM:
    """Train the gallery's model: one LSTM layer of 64 units on Python's documentation."""
    words = demo_text()[:100_000]
    lm = CharLM(words + READS, layers=1, hidden=64, embedding=16, rng=0)
    every = max(1, updates // 5)
    trained(lambda: lm.train(words, updates=updates, seq=32, batch=16, validate_every=every))
    return lm


def chapters(folder: Path, lm: CharLM, translator: models.Translator) -> dict[str, list[Exhibit]]:
    """Return the exhibits of each chapter, from the smallest question to the largest."""
    five = Sequential(LSTM(5, 10), Linear(10, 1), rng=0)
    x = np.random.default_rng(0).standard_normal((6, 1, 5)).astype(np.float32)
    values, wide = five.record(x), Sequential(LSTM(128, 512), rng=0)
    return {
        "One unit": _units(five, values, wide),
        "One layer": _layers(five, values, wide),
        "The network over time": _networks(five),
        "Kinds of tasks": [_task(kind) for kind in STORIES],
        "Trained models": _trained(folder, lm, translator),
    }


def _units(five, values, wide):
    return [
        Exhibit(
            "unit",
            "5 features and 10 units: how many inputs has a unit, "
            "and what is the size of its output?",
            (
                "Each of its four gate neurons has 5 + 10 = 15 inputs: all features, and h of all "
                "units at the previous step. The unit outputs one number."
            ),
            "unit LSTM:5:10,Linear:10:1 --unit 3 --steps 6",
            lambda: unit(five[0], 3, recording=values),
        ),
        Exhibit(
            "gate",
            "What does one gate compute?",
            (
                "A dot product: each input times its weight, summed up with the biases. A sigmoid "
                "then maps the sum to a value from 0 to 1."
            ),
            "unit LSTM:5:10,Linear:10:1 --unit 3 --gate f --steps 6",
            lambda: unit(five[0], 3, recording=values, gate="f"),
        ),
        Exhibit(
            "strongest",
            "What does one of 512 units see?",
            (
                "128 + 512 = 640 inputs. The 48 with the largest weights are drawn, the others "
                "are summed up."
            ),
            "unit LSTM:128:512 --unit 0",
            lambda: unit(wide[0], 0),
        ),
        Exhibit(
            "single",
            "What is the smallest recurrent network?",
            "One neuron with two weights: one for its input, one for its own past.",
            "unit RNN:1:1",
            lambda: unit(Sequential(RNN(1, 1), rng=0)[0], 0),
        ),
    ]


def _layers(five, values, wide):
    few = models.model("LSTM:3:5")
    return [
        Exhibit(
            "box",
            "Is A a layer or a neuron?",
            (
                "The box A is a whole layer at one time step. Opened, it shows its units side by "
                "side: here ten of them, each one neuron."
            ),
            "layer RNN:5:10",
            lambda: layer(Sequential(RNN(5, 10), rng=0)[0]),
        ),
        Exhibit(
            "hidden",
            "What are the 512 hidden nodes?",
            (
                "512 units side by side in one layer, each with its own gate neurons and memory. "
                "The layer outputs 512 numbers, one from each unit."
            ),
            "layer LSTM:128:512",
            lambda: layer(wide[0]),
        ),
        Exhibit(
            "share",
            "Do units share information?",
            (
                "Only through h, one step later: h of every unit is an input of every gate. The "
                "memory c is private; its loop stays inside its unit."
            ),
            "layer LSTM:3:5 --steps 6",
            lambda: layer(few[0], models.recording(few, None, 6)),
        ),
        Exhibit(
            "lengths",
            "Do h, c and x have the same length?",
            (
                "h and c have one number per unit. x has one per feature and may have another "
                "length. The shape is on every wire."
            ),
            "cell LSTM:5:10",
            lambda: cell(five[0]),
        ),
        Exhibit(
            "gru",
            "And in a GRU?",
            "It has no c: the update gate keeps a part of h itself.",
            "cell GRU:5:10",
            lambda: cell(Sequential(GRU(5, 10), rng=0)[0]),
        ),
        Exhibit(
            "back",
            "Which way does the gradient take back through an LSTM?",
            (
                "Along c it is only multiplied by the forget gate, not by weights. That is why it "
                "can survive many steps."
            ),
            "cell LSTM:5:10 --backward",
            lambda: cell(five[0], backward=True),
        ),
        Exhibit(
            "weights",
            "How large are the weights, and are gates stuck open or shut?",
            (
                "The weight matrices by gate on one scale, the biases on another. A spectral "
                "radius far above 1 amplifies, one far below 1 forgets. A gate that is always "
                "above 0.9 or below 0.1 hardly learns."
            ),
            "weights LSTM:5:10,Linear:10:1 --steps 6",
            lambda: weights(five[0], values),
        ),
    ]


def _networks(five):
    vanishing = models.model("RNN:5:10,Linear:10:1")
    gated = models.model("LSTM:5:10,Linear:10:1")
    return [
        Exhibit(
            "network",
            "What does the whole model look like?",
            (
                "One box per layer with its parameters, shapes on every edge, and recurrence as "
                "loops with their delay."
            ),
            "network LSTM:5:10,Linear:10:1",
            lambda: network(five),
        ),
        Exhibit(
            "unrolled",
            "What is unrolled, how many hidden layers does that make, "
            "and is it the same weights at every step?",
            (
                "One layer, drawn once per time step. It stays one hidden layer for any number of "
                "steps, with the same weights at each."
            ),
            "unrolled LSTM:5:10,Linear:10:1 --steps 4",
            lambda: unrolled(five, 4),
        ),
        Exhibit(
            "windows",
            "What does truncated back-propagation cut?",
            "The gradient, at the border of each window. The state is carried over.",
            "unrolled LSTM:5:10,Linear:10:1 --steps 6 --window 3",
            lambda: unrolled(five, 6, window=3),
        ),
        Exhibit(
            "vanishing",
            "Where does the gradient vanish?",
            (
                "On the way back. The loss is that of the last step, and little of its gradient "
                "reaches the first. A plain RNN:"
            ),
            "gradients RNN:5:10,Linear:10:1 --steps 12",
            lambda: gradients(vanishing, models.recording(vanishing, None, 12, last=True)),
        ),
        Exhibit(
            "gated",
            "Is that better in an LSTM?",
            (
                "The same for an untrained LSTM. How far its gradient reaches depends on its "
                "forget gates."
            ),
            "gradients LSTM:5:10,Linear:10:1 --steps 12",
            lambda: gradients(gated, models.recording(gated, None, 12, last=True)),
        ),
    ]


def _trained(folder, lm, translator):
    best = units_like(lm, READS, "inside quotes", top=1)[0]
    line, word = READS.splitlines()[0], backwards.SHOWN
    read, reversed = models.run(lm, line, 0), models.run(translator, word, 0)
    model, decoder, reads = (shlex.quote(str(folder / f)) for f in (MODEL, BACKWARDS, TEXT))
    return [
        Exhibit(
            "attention",
            "What does attention look at?",
            (
                "All saved states at once, each in proportion to its weight. This model was "
                "trained for seconds to reverse words: each output letter attends to the input "
                "letter that it copies, without being told where that is."
            ),
            f"attention {decoder} --text {word}",
            lambda: attention(translator.model, **reversed._asdict()),
        ),
        Exhibit(
            "text",
            "Does a unit know whether it is inside quotes?",
            f"Of the units of a model trained for seconds, unit {best.unit} follows quotes best "
            f"on this short text, with a correlation of {best.correlation:+.2f}.",
            f"text {model} {reads} --like 'inside quotes'",
            lambda: text(lm, READS, best.unit, layer=best.layer),
        ),
        Exhibit(
            "curve",
            "How did the training go?",
            (
                "The loss of every update, its running mean, and the validation loss on held-out "
                "text; below, the validation in bits per character."
            ),
            f"curve {model}",
            lambda: curve(lm.history),
        ),
        Exhibit(
            "explore",
            "What happens inside, step by step?",
            (
                "A page of all levels, from the network to one gate. The model reads a line of "
                "text, a slider moves through its time steps, and every unit shows its values."
            ),
            f"explore {model} --text {shlex.quote(line)}",
            lambda: explore(lm.model, **read._asdict(), labels=models.class_names(lm)),
        ),
        Exhibit(
            "decoder",
            "And inside the decoder that reverses words?",
            "The same levels, and the attention of each output letter.",
            f"explore {decoder} --text {word}",
            lambda: explore(
                translator.model, **reversed._asdict(), labels=models.class_names(translator)
            ),
        ),
    ]


def _task(kind):
    summary = STORIES[kind].summary
    answer = f"{summary[0].upper()}{summary[1:]}."
    return Exhibit(kind, f"What is {kind}?", answer, f"task {kind}", lambda: task(kind))


def write(folder: Path, lm: CharLM, translator: models.Translator) -> list[Path]:
    """Write the models, the text that they read, every picture and index.html; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in (MODEL, BACKWARDS, TEXT, "index.html")]
    lm.save(files[0])
    translator.save(files[1])
    replace(files[2], READS.encode())
    contents, parts = [], []
    for number, (chapter, exhibits) in enumerate(chapters(folder, lm, translator).items()):
        links = "".join(f'<li><a href="#{e.name}">{escape(e.question)}</a></li>' for e in exhibits)
        heading = f"chapter{number}"
        contents.append(f'<li><a href="#{heading}">{chapter}</a><ul>{links}</ul></li>')
        parts.append(f'<h2 id="{heading}">{chapter}</h2>')
        for e in exhibits:
            drawn = e.draw()
            kinds = ["svg", "html"] if isinstance(drawn, Drawing) else ["html"]
            files += [drawn.save(folder / f"{e.name}.{kind}") for kind in kinds]
            parts.append(_section(e, drawn))
    page = Template(resources.files(__package__).joinpath("gallery.html").read_text("utf-8"))
    index = page.substitute(frame=CSS, contents="\n".join(contents), chapters="\n".join(parts))
    replace(files[3], index.encode())
    return files


def _whole(command):
    """Return a command whose options do not break after their hyphens."""
    return re.sub(r"(?<= )--[a-z]+", r"<span>\g<0></span>", command)


def _section(exhibit, drawn):
    """Return an exhibit as HTML: a picture itself, a page as a link."""
    question, file = escape(exhibit.question), f"{exhibit.name}.html"
    picture, opens = "", "Open the page"
    if isinstance(drawn, Drawing):
        picture, opens = framed(drawn.svg(), exhibit.question), "Open the picture alone"
    return (
        f'<section id="{exhibit.name}"><h3>{question}</h3><p>{escape(exhibit.answer)}</p>{picture}'
        f'<div class="command"><pre>python -m viz {_whole(escape(exhibit.command))}</pre>'
        '<button type="button" hidden>Copy</button></div>'
        f'<p class="links"><a href="{file}" aria-label="{opens}: {question}">{opens}</a>, or go to '
        '<a href="#contents">the contents</a></p></section>'
    )
