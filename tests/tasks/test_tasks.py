"""The example tasks: their data, a short training of each, and full training (slow)."""

import datetime
import io

import numpy as np
import pytest
from rich.console import Console

from recurrent.cli.commands import main
from recurrent.cli.task import predictions_table
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.losses import softmax_cross_entropy
from recurrent.optim import Adam
from recurrent.tasks import TASKS, digits, names, task
from recurrent.tasks.base import Prediction, accuracy
from recurrent.tasks.datestrings import FIRST, FORMATS, LAST, ordinal, random_dates, write
from recurrent.tasks.numerals import name
from recurrent.training import checkpoint
from recurrent.training.fit import fit

NAMES = list(TASKS)


def test_every_format_tags_day_month_and_year():
    date = datetime.date(2003, 2, 1)
    for form in FORMATS:
        text, tags = write(date, form)
        assert len(text) == len(tags)
        parts = {
            tag: "".join(c for c, t in zip(text, tags, strict=True) if t == tag) for tag in "DMY"
        }
        assert parts["D"] in ("1", "01", "1st", "first"), form
        assert parts["M"] in ("2", "02", "February", "Feb"), form
        assert parts["Y"] in ("2003", "03"), form
        assert set(tags) <= set("DMY-")
    assert len(set(FORMATS)) == len(FORMATS) > 40


def test_no_string_has_two_dates():
    """Two-digit years span one century; dots put the day first, slashes the month."""
    seen: dict[str, str] = {}
    day = FIRST
    while day <= LAST:
        for form in FORMATS:
            assert (
                seen.setdefault(write(day, form)[0].lower(), day.isoformat()) == day.isoformat()
            ), form
        day += datetime.timedelta(41)
    found = random_dates(3000, np.random.default_rng(0))
    assert len({text for text, _, _ in found}) == len(found)
    assert random_dates(50, np.random.default_rng(0)) == found[:50]


def test_ordinals_and_names():
    ends = {
        1: "1st",
        2: "2nd",
        3: "3rd",
        4: "4th",
        11: "11th",
        12: "12th",
        13: "13th",
        21: "21st",
        22: "22nd",
        23: "23rd",
        31: "31st",
    }
    assert {k: ordinal(k) for k in ends} == ends
    expected = {
        0: "zero",
        13: "thirteen",
        40: "forty",
        99: "ninety-nine",
        300: "three hundred",
        505: "five hundred and five",
    }
    assert {k: name(k) for k in expected} == expected


@pytest.mark.parametrize("task_name", NAMES)
def test_a_short_training_of_each_task(task_name, tmp_path):
    """The loss falls, every held-out example has a prediction, and the saved model is the same."""
    t = task(task_name)
    assert t.kind == TASKS[task_name]
    history = t.train(6, progress=False)
    assert history.validation[-1][1] < history.validation[0][1]
    predictions = t.predict(t.model)
    assert len(predictions) == t.held_out.N
    assert all(isinstance(part, str) and part for p in predictions[:20] for part in p[:2])
    assert all(p.input for p in predictions)
    x, lengths = t.example
    recording = t.model.record(x, lengths=lengths)
    assert len(recording.layers) == len(t.model)
    checkpoint.save(tmp_path / "model", checkpoint.Checkpoint(t.model))
    assert_same_bits(
        checkpoint.load(tmp_path / "model").model.forward(x, lengths=lengths)[0],
        t.model.forward(x, lengths=lengths)[0],
    )


def test_training_validation_and_held_out_examples_differ():
    for task_name in ("dates", "numerals", "backwards"):
        t = task(task_name)
        parts = (t.training, t.validation, t.held_out)
        found = [{bytes(np.ascontiguousarray(a)) for a in part.sources} for part in parts]
        assert [len(each) for each in found] == [part.N for part in parts]
        assert len(set().union(*found)) == sum(part.N for part in parts)


def test_a_crf_tags_what_softmax_cannot():
    """A forward LSTM does not see the last word of a name; transitions carry its kind back."""
    t = names.task()
    t.train(150, progress=False)
    assert accuracy(t.predict(t.model)) > 0.97
    plain = names.network(chain=False)
    fit(plain, t.training, softmax_cross_entropy, Adam(1e-2), updates=150, progress=False)
    batch = t.held_out.batch(0)
    found = plain.forward(batch.x, lengths=batch.lengths)[0].argmax(axis=2)
    inside = np.arange(len(batch.x))[:, None] < batch.lengths
    right = ((found == batch.targets) | ~inside).all(axis=0)
    assert right.mean() < 0.4


def test_no_tag_follows_another_kind():
    rng = np.random.default_rng(0)
    for _ in range(200):
        words, tags = names.random_sentence(rng)
        assert len(words) == len(tags)
        for before, word, tag in zip(["O", *tags], words, tags, strict=False):
            assert tag[0] != "I" or before[2:] == tag[2:]
            kind = next((k for k, ends in names.ENDS.items() if word in ends), tag[2:])
            assert kind == tag[2:]
            assert (tag == "O") == (word in names.PLAIN)


def test_ctc_learns_to_read_digits_that_no_one_has_aligned():
    t = digits.task(training=2_000, held_out=200)
    t.train(300, progress=False)
    assert accuracy(t.predict(t.model)) > 0.85


def test_strips_of_digits(monkeypatch):
    """Without noise a strip shows the dots of each digit, at any height and width."""
    monkeypatch.setattr(digits, "NOISE", 0.0)
    rng = np.random.default_rng(0)

    def merged(columns):
        return [c for k, c in enumerate(columns) if c and (k == 0 or columns[k - 1] != c)]

    for label in [*range(10)] * 5:
        strip = digits.random_strip(np.array([label]), rng)
        assert (strip.shape[1], strip.dtype) == (digits.HEIGHT, np.float32)
        shown = merged([int(column @ 2 ** np.arange(digits.HEIGHT)) for column in strip])
        assert shown in [[c << top for c in merged(digits.DIGITS[label])] for top in range(4)]


def test_a_table_of_predictions():
    predictions = [
        Prediction("5.3.21", "2021-03-05", predicted)
        for predicted in ("2021-03-05", "2021-05-03", "2021-03-05")
    ]
    assert accuracy(predictions) == 2 / 3
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(predictions_table(predictions))
    assert "no, expected 2021-03-05" in console.export_text()


def test_the_command(tmp_path, capsys):
    assert main(["task"]) == 0
    listed = capsys.readouterr().out
    assert all(task_name in listed and kind in listed.lower() for task_name, kind in TASKS.items())
    assert main(["task", "ring", "--updates", "5", "--out", str(tmp_path / "ring")]) == 0
    output = capsys.readouterr().out
    assert "held-out examples are exactly right after 5 updates" in output
    assert {f.name for f in (tmp_path / "ring").iterdir()} == {
        "model.safetensors",
        "history.json",
        "network.svg",
        "curve.svg",
    }
    assert main(["task", "spiral"]) == 2
    assert (
        "task must be one of ring, numerals, waves, tags, names, digits, backwards, dates, got"
        " 'spiral'" in capsys.readouterr().err
    )


@pytest.mark.slow
@pytest.mark.parametrize("task_name", NAMES)
def test_each_task_reaches_its_goal(task_name):
    t = task(task_name)
    history = t.train(progress=False)
    fraction = accuracy(t.predict(t.model))
    losses = [f"{loss:.4f}" for _, loss in history.validation]
    assert fraction >= t.goal, f"{task_name}: {fraction:.2%} exact, validation losses {losses}"
