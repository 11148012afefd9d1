"""The gallery: small trained models, every view of them, and a page of common questions."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recurrent import GRU, LSTM, RNN, CharLM, Linear, Sequential
from recurrent.cli.runner import trained
from recurrent.cli.source import demo_text
from recurrent.losses import softmax_cross_entropy
from recurrent.models.files import replace

from ..draw.drawing import Drawing
from ..page.explore import explore
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


class Exhibit(NamedTuple):
    """A common question, its answer, the command that draws the picture, and the picture."""

    name: str
    question: str
    answer: str
    command: str
    draw: Callable[[], Drawing]


def train(updates: int = 300) -> CharLM:
    """Train the gallery's model: one LSTM layer of 64 units on Python's documentation."""
    words = demo_text()[:100_000]
    lm = CharLM(words + READS, layers=1, hidden=64, embedding=16, rng=0)
    every = max(1, updates // 5)
    trained(lambda: lm.train(words, updates=updates, seq=32, batch=16, validate_every=every))
    return lm


def exhibits(lm: CharLM, translator: models.Translator) -> list[Exhibit]:
    """Return the exhibits of the page, from the smallest question to the largest."""
    five = Sequential(LSTM(5, 10), Linear(10, 1), rng=0)
    x = np.random.default_rng(0).standard_normal((6, 1, 5)).astype(np.float32)
    values = five.record(x)
    vanishing = models.model("RNN:5:10,Linear:10:1")
    gated = models.model("LSTM:5:10,Linear:10:1")
    best = units_like(lm, READS, "inside quotes", top=1)[0]
    wide = Sequential(LSTM(128, 512), rng=0)
    attended = models.run(translator, backwards.SHOWN, 0)
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
            "share",
            "Do units share information?",
            (
                "Only through h, one step later: h of every unit is an input of every gate. The "
                "memory c is private; its loop stays inside its unit."
            ),
            "layer LSTM:5:10 --steps 6",
            lambda: layer(five[0], values),
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
            "single",
            "What is the smallest recurrent network?",
            "One neuron with two weights: one for its input, one for its own past.",
            "unit RNN:1:1",
            lambda: unit(Sequential(RNN(1, 1), rng=0)[0], 0),
        ),
        Exhibit(
            "windows",
            "What does truncated back-propagation cut?",
            "The gradient, at the border of each window. The state is carried over.",
            "unrolled LSTM:5:10,Linear:10:1 --steps 40 --window 20",
            lambda: unrolled(five, 40, window=20),
        ),
        Exhibit(
            "vanishing",
            "Where does the gradient vanish?",
            (
                "On the way back. The loss is that of the last step, and little of its gradient "
                "reaches the first. A plain RNN:"
            ),
            "gradients RNN:5:10,Linear:10:1 --steps 20",
            lambda: gradients(vanishing, models.recording(vanishing, None, 20, last=True)),
        ),
        Exhibit(
            "gated",
            "Is that better in an LSTM?",
            (
                "The same for an untrained LSTM. How far its gradient reaches depends on its "
                "forget gates."
            ),
            "gradients LSTM:5:10,Linear:10:1 --steps 20",
            lambda: gradients(gated, models.recording(gated, None, 20, last=True)),
        ),
        Exhibit(
            "weights",
            "How large are the weights, and are gates stuck open or shut?",
            (
                "The weight matrices by gate, all on one scale. A spectral radius far above 1 "
                "amplifies, one far below 1 forgets. A gate that is always above 0.9 or below 0.1 "
                "hardly learns."
            ),
            "weights LSTM:5:10,Linear:10:1 --steps 6",
            lambda: weights(five[0], values),
        ),
        *(_task_exhibit(kind) for kind in STORIES),
        Exhibit(
            "attention",
            "What does attention look at?",
            (
                "All saved states at once, each in proportion to its weight. This model was "
                "trained for seconds to reverse words: each output letter attends to the input "
                "letter that it copies, without being told where that is."
            ),
            f"attention gallery/backwards.safetensors --text {backwards.SHOWN}",
            lambda: attention(translator.model, **attended._asdict()),
        ),
        Exhibit(
            "text",
            "Does a unit know whether it is inside quotes?",
            f"Of the units of a model trained for seconds, unit {best.unit} follows quotes best "
            f"on this short text, with a correlation of {best.correlation:+.2f}.",
            "text gallery/model.safetensors 'A \"text\" to read' --like 'inside quotes'",
            lambda: text(lm, READS, best.unit, layer=best.layer),
        ),
        Exhibit(
            "curve",
            "How did the training go?",
            (
                "The loss of every update, its running mean, and the validation loss on held-out "
                "text."
            ),
            "curve gallery/model.safetensors",
            lambda: curve(lm.history),
        ),
    ]


def _task_exhibit(kind):
    summary = STORIES[kind].summary
    answer = f"{summary[0].upper()}{summary[1:]}."
    return Exhibit(kind, f"What is {kind}?", answer, f"task {kind}", lambda: task(kind))


def write(folder: Path, lm: CharLM, translator: models.Translator) -> list[Path]:
    """Write every picture as .svg, the models, and index.html; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    lm.save(folder / "model.safetensors")
    translator.save(folder / "backwards.safetensors")
    files, parts = [folder / "model.safetensors", folder / "backwards.safetensors"], []
    for e in exhibits(lm, translator):
        svg = e.draw().svg()
        files.append(folder / f"{e.name}.svg")
        replace(files[-1], svg.encode())
        command = e.command.replace("gallery/", f"{folder}/")
        parts.append(
            f'<section id="{e.name}"><h2>{escape(e.question)}</h2><p>{escape(e.answer)}</p>{svg}'
            f"<pre>python -m viz {escape(command)}</pre></section>"
        )
    reads = lm.ids(READS)[:, None]
    page = explore(
        lm.model, lm.model.record(reads[:-1], reads[1:], softmax_cross_entropy), READS[:-1]
    )
    files.append(page.save(folder / "explore.html"))
    run = models.run(translator, backwards.SHOWN, 0)
    files.append(explore(translator.model, **run._asdict(), t=0).save(folder / "backwards.html"))
    files.append(folder / "index.html")
    index = _PAGE.format(sections="\n".join(parts), model=escape(str(folder / "model.safetensors")))
    replace(files[-1], index.encode())
    return files


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What a unit, a layer and an unrolled network are</title><style>
:root{{color-scheme:light dark;font:17px/1.55 system-ui,sans-serif}}
body{{max-width:1180px;margin:0 auto;padding:1rem;
  background:light-dark(#fff,#0f172a);color:light-dark(#1f2937,#e2e8f0)}}
section{{margin:2.5rem 0;border-top:1px solid light-dark(#e5e7eb,#334155)}}
h2{{font-size:1.25rem;margin:1.2rem 0 .2rem}} p{{max-width:46rem;margin:.3rem 0 1rem}}
svg{{display:block;margin:0 auto}}
pre{{overflow-x:auto;padding:.6rem .9rem;border-radius:6px;
  background:light-dark(#f1f5f9,#1e293b);font-size:.85rem}}
</style></head><body><h1>What a unit, a layer and an unrolled network are</h1>
<p>Common questions about recurrent networks, each answered by a picture of a running
network. Point at a part of a picture to see its values; the command below it draws one like it.</p>
{sections}
<section><h2>What happens inside, step by step?</h2>
<p><a href="explore.html">A page of all levels</a>: the trained model reads
a text, a slider moves through its time steps, and every unit shows its values.</p>
<pre class="page">python -m viz explore {model} --text 'A text to read.'</pre>
<p><a href="backwards.html">Another page</a> shows the decoder that reverses words.</p></section>
</body></html>
"""
