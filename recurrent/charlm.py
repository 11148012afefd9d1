"""The character model: Embedding, recurrent layers, Linear; trained on streams of text, sampled one symbol at a time."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np

from . import checkpoint, checks, optim, sampling, schedules
from .data import Windows
from .layers import GRU, LSTM, RNN, Dropout, Embedding, Linear, Recurrent
from .losses import softmax_cross_entropy
from .model import Sequential
from .text import Vocabulary, require, streams
from .train import History, evaluate, fit

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


def bits_per_character(y: np.ndarray, targets: np.ndarray, lengths: Any = None) -> float:
    """Softmax cross-entropy in bits: nats / ln 2."""
    return softmax_cross_entropy(y, targets, lengths=lengths)[0] / math.log(2)


class CharLM:
    """A language model over the symbols of a vocabulary.

    Embedding(V, embedding), `layers` recurrent layers of `hidden` units of a `cell` ("lstm", "gru", "rnn"), Linear(hidden, V).
    `dropout` acts between the recurrent layers, in training. `vocabulary`: a Vocabulary, or a text to take it from.
    `rng`: seed or numpy Generator; `init`: a name of `recurrent.initialisers`. Raises ValueError or TypeError for options that
    make no model.

    >>> lm = CharLM("to be or not to be", layers=1, hidden=8, embedding=4)
    >>> lm.model[1], len(lm.vocabulary)
    (LSTM(input_size=4, hidden_size=8), 7)
    """

    def __init__(
        self,
        vocabulary: Vocabulary | str,
        *,
        cell: str = "lstm",
        layers: int = 2,
        hidden: int = 512,
        embedding: int = 128,
        dropout: float = 0.0,
        rng: Any = 0,
        dtype: Any = "float32",
        init: Any = "pytorch",
    ):
        self.vocabulary = Vocabulary.of(vocabulary) if isinstance(vocabulary, str) else vocabulary
        if cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {cell!r}")
        checks.size(layers, "layers")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        if dropout and layers < 2:
            raise ValueError(f"dropout acts between recurrent layers: it needs at least 2 of them, got {layers}")
        V, stack = len(self.vocabulary), [Embedding(len(self.vocabulary), embedding)]
        for k in range(layers):
            if k and dropout:
                stack.append(Dropout(dropout))
            stack.append(CELLS[cell](hidden if k else embedding, hidden))
        self.model = Sequential(*stack, Linear(hidden, V), rng=rng, dtype=dtype, init=init)
        self._forget()

    def _forget(self):
        self.optimizer: optim.Optimizer | None = None
        self.state: tuple | None = None  # what the next window of the training text starts from
        self.latest: np.ndarray | None = None  # parameters to go on from, where the model holds the best ones
        self.history = History()
        self.options: dict = {}  # of the last `train`, and which text it was
        self.cursor = 0

    def __repr__(self):
        return f"CharLM({self.vocabulary!r}, {self.model!r})"

    @property
    def settings(self) -> dict[str, Any]:
        """The options that built this model and the optimiser it is trained with, by the names of the commands' options."""
        layers = self.model.layers
        found = [layer for layer in layers if isinstance(layer, Recurrent)]
        return {
            "cell": type(found[0]).__name__.lower(),
            "layers": len(found),
            "hidden": found[0].hidden_size,
            "embedding": layers[0].outputs,
            "dropout": next((layer.p for layer in layers if isinstance(layer, Dropout)), 0.0),
            "bytes": self.vocabulary.symbols is None,
            "optimizer": type(self.optimizer).__name__.lower() if self.optimizer else None,
            **{name: self.options[name] for name in ("seq", "batch", "validation") if name in self.options},
        }

    def ids(self, text: str | bytes | np.ndarray) -> np.ndarray:
        """Ids (n,) of a text; ids pass through."""
        return text if isinstance(text, np.ndarray) else self.vocabulary.encode(text)

    def train(
        self,
        text: str | bytes | np.ndarray,
        *,
        validation: float = 0.05,
        seq: int = 50,
        batch: int = 50,
        optimizer: str | optim.Optimizer = "adam",
        lr: Any = 2e-3,
        schedule: str | None = None,
        clip: float | None = 5.0,
        epochs: int = 1,
        updates: int | None = None,
        validate_every: int | None = None,
        patience: int | None = None,
        save_to: str | os.PathLike | None = None,
        resume: bool = False,
        progress: Any = True,
        callback: Callable[[int, History], None] | None = None,
    ) -> History:
        """Learn to predict the next symbol of a text: truncated BPTT over `batch` streams in windows of `seq` steps.

        The last `validation` of the text is held out; it is evaluated after each epoch, or every `validate_every` updates, and
        the best parameters are kept. The state is carried from window to window and starts at zero in each epoch. The
        gradient's norm is clipped to `clip`. `schedule`: "cosine:warmup=100" and the like, from `lr` over all updates of the
        training, as `schedules.parse` reads it. Training ends after `epochs` passes or, if given, `updates`; with `resume`
        those of before are counted, so that stopping, saving, loading and resuming gives the same bits as going on.
        `save_to`: a file written at every validation (each epoch without one) and at the end.

        Returns the history, in nats; `history.stopped` is "interrupted" after Ctrl-C. Raises ValueError for a text that is
        too short or, with `resume`, not the one of before; FloatingPointError for a loss that is not finite.
        """
        for name, value in dict(seq=seq, batch=batch, epochs=epochs, updates=updates, validate_every=validate_every).items():
            if value is not None:
                checks.size(value, name)
        ids = self.ids(text)
        options = {"seq": seq, "batch": batch, "validation": validation, "symbols": len(ids), "text": _digest(ids)}
        limits = {"clip": clip, "validate_every": validate_every, "patience": patience}
        if not 0 <= validation < 1:
            raise ValueError(f"validation must be at least 0 and below 1, got {validation}")
        require(len(ids), batch, seq, self.vocabulary.unit, validation)
        training, held_out = split(ids, validation, self.vocabulary.unit)
        x, y = streams(training, batch, seq, self.vocabulary.unit)
        windows = Windows(x, y, seq)
        held_out = self._windows(held_out, min(batch, max(1, len(held_out) // 1000))) if validation else None
        if resume:
            self._check_resumable(options)
        else:
            self._forget()
            self.optimizer = make_optimizer(optimizer, lr)
        self.options, windows.cursor = options | limits, self.cursor
        before, last = self.history, epochs * len(windows) if updates is None else updates
        every = len(windows) if validate_every is None else validate_every
        if schedule is not None:
            self.optimizer.lr = schedules.parse(schedule, lr, last)
        best = self.model.flat.copy() if held_out and before.best else None
        if self.latest is not None:
            self.model.flat[:] = self.latest

        def keep(now: History) -> None:
            self.history, self.cursor, self.state = _joined(before, now), windows.cursor, now.state
            if self.history.best and self.history.best[0] == self.history.updates:
                nonlocal best
                best = self.model.flat.copy()

        def after_update(update: int, now: History) -> None:
            due = update % every == 0 or update == last
            if due or (now.validation and now.validation[-1][0] == update):
                keep(now)
                if save_to is not None:
                    with self._holding(best):
                        self.save(save_to)
            if callback is not None:
                callback(update, now)

        try:
            now = fit(
                self.model,
                windows,
                softmax_cross_entropy,
                self.optimizer,
                updates=last,
                validation=held_out,
                validate_every=validate_every,
                patience=patience,
                keep_best=False,
                clip_norm=clip,
                metric=bits_per_character if held_out else None,
                progress=progress,
                callback=after_update,
                start=before.updates,
                state=self.state,
                validated=before.validation,
            )
        except BaseException:
            if best is not None:
                self.model.flat[:] = best
            self.latest = self.optimizer = None  # in the middle of an update: what was saved can be resumed, this cannot
            raise
        keep(now)
        self.latest = None
        if best is not None and not np.array_equal(best, self.model.flat):
            self.latest = self.model.flat.copy()
            self.model.flat[:] = best
        if save_to is not None:
            self.save(save_to)
        return self.history

    @contextmanager
    def _holding(self, best: np.ndarray | None):
        """In the middle of training: the model holds the best parameters, `latest` those of now."""
        self.latest = None if best is None else self.model.flat.copy()
        try:
            if best is not None:
                self.model.flat[:] = best
            yield
        finally:
            if best is not None:
                self.model.flat[:] = self.latest

    def _check_resumable(self, options: dict) -> None:
        if self.optimizer is None:
            raise ValueError("nothing to resume: this model was saved without its training")
        for name, now in options.items():
            before = self.options[name]
            if now != before:
                if name in ("text", "symbols"):
                    counts = f"{self.options['symbols']:,} {self.vocabulary.unit}s, now {options['symbols']:,}"
                    raise ValueError(f"resume needs the text that the training began with: it had {counts}, or others")
                raise ValueError(f"resume needs the {name} that the training began with: {before}, got {now}")

    def _windows(self, ids: np.ndarray, N: int) -> Windows:
        x, y = streams(ids, N, unit=self.vocabulary.unit)
        longest = max(1, 2**20 // (N * len(self.vocabulary)))  # 4 MB of logits in float32
        return Windows(x, y, min(len(x), longest), keep_last=True)

    def bits_per_character(self, text: str | bytes | np.ndarray, streams: int = 1) -> float:
        """How well the model predicts each symbol of a text from those before: mean of -log2 p, without dropout.

        One stream reads the text from a zero state to its end: every symbol but the first counts. With more `streams` the text
        is cut in as many equal pieces that run side by side, each from a zero state, which is faster and a little
        pessimistic; up to streams - 1 symbols at the end are left out. Raises ValueError for a text of fewer than streams + 1.
        """
        windows = self._windows(self.ids(text), checks.size(streams, "streams"))
        return evaluate(self.model, windows, softmax_cross_entropy) / math.log(2)

    def sample(
        self,
        length: int = 2000,
        prime: str = "",
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Text that goes on after `prime`, in pieces as they come: `length` symbols.

        Without a prime the first symbol is drawn uniformly from the vocabulary, as char-rnn does. Equal seeds give equal
        texts. Raises ValueError for a prime with unknown characters and for options out of range, at the call.
        """
        prime_ids = self.ids(prime)
        if length < 0:
            raise ValueError(f"length must be at least 0, got {length}")
        rng = np.random.default_rng(seed)
        options = dict(value=temperature, k=top_k, p=top_p, greedy=greedy)
        sampling.choose(np.zeros(1), np.random.default_rng(0), **options)  # checks the options before the first piece
        return self.vocabulary.pieces(self._draw(length, prime_ids, rng, options))

    def _draw(self, length, prime_ids, rng, options) -> Iterator[int]:
        stream = self.model.stream()
        logits = None
        for k in prime_ids:
            logits = stream.step(k)
        for _ in range(length):
            uniform = logits is None
            k = int(rng.integers(len(self.vocabulary))) if uniform else sampling.choose(logits, rng, **options)
            yield k
            logits = stream.step(np.int32(k))

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one file, training included: see `recurrent.checkpoint`."""
        about = {"kind": "CharLM", "vocabulary": self.vocabulary.describe()}
        training = {"options": self.options, "cursor": self.cursor, "history": self.history.to_dict()}
        saved = checkpoint.Checkpoint(self.model, about, training, self.optimizer, self.state, self.latest)
        checkpoint.save(path, saved)

    @classmethod
    def load(cls, path: str | os.PathLike) -> CharLM:
        """Read what `save` wrote. Raises OSError and ValueError as `checkpoint.load`, and for other kinds of models."""
        loaded = checkpoint.load(path)
        if loaded.about.get("kind") != "CharLM":
            raise ValueError(f"{path}: not a character model: expected kind CharLM, found {loaded.about.get('kind')}")
        lm = cls.__new__(cls)
        lm.model, lm.optimizer = loaded.model, loaded.optimizer
        lm.state, lm.latest = loaded.state, loaded.latest
        try:
            lm.vocabulary = Vocabulary.build(loaded.about["vocabulary"])
            lm.options, lm.cursor = loaded.training["options"], loaded.training["cursor"]
            lm.history = _history(loaded.training["history"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a whole character model: {error}") from error
        V = lm.model.layers[0].shapes.get("weight", (None,))[0]
        if not len(lm.vocabulary) == V == lm.model.outputs:
            sizes = f"{len(lm.vocabulary)} symbols, the model takes {V} and puts out {lm.model.outputs}"
            raise ValueError(f"{path}: vocabulary and model differ: {sizes}")
        return lm


def split(ids: np.ndarray, validation: float, unit: str = "character") -> tuple[np.ndarray, np.ndarray]:
    """The text to learn from and its last part, the fraction `validation`, held out. Raises ValueError for none left."""
    cut = len(ids) - int(len(ids) * validation)
    if validation and len(ids) - cut < 2:
        raise ValueError(f"{validation:g} of {len(ids):,} {unit}s is less than the 2 that validation needs; use validation 0")
    return ids[:cut], ids[cut:]


def make_optimizer(optimizer: str | optim.Optimizer, lr: Any) -> optim.Optimizer:
    """An optimiser by its name in any case, "adam"; an Optimizer passes through. Raises ValueError for other names."""
    if isinstance(optimizer, optim.Optimizer):
        return optimizer
    known = {name.lower(): made for name, made in optim.OPTIMIZERS.items()}
    if optimizer.lower() not in known:
        raise ValueError(f"optimizer must be one of {', '.join(known)}, got {optimizer!r}")
    return known[optimizer.lower()](lr)


def _digest(ids: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids)).hexdigest()


def _history(plain: dict) -> History:
    known = {f.name for f in fields(History)}
    made = History(**{k: v for k, v in plain.items() if k in known})
    made.validation, made.metrics = [tuple(v) for v in made.validation], [tuple(v) for v in made.metrics]
    made.best = None if made.best is None else tuple(made.best)
    return made


def _joined(before: History, now: History) -> History:
    """One history of two trainings, the second a continuation of the first."""
    validation = before.validation + now.validation
    return History(
        start=before.start,
        losses=before.losses + now.losses,
        validation=validation,
        metrics=before.metrics + now.metrics,
        best=min(validation, key=lambda v: v[1], default=None),
        seconds=before.seconds + now.seconds,
        stopped=now.stopped,
    )
