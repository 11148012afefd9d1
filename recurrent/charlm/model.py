"""The character model: ids in, recurrent layers, Linear; trained on streams of text, sampled one symbol at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import checks, optim
from ..data import Windows
from ..layers import GRU, LSTM, RNN, Dropout, Embedding, Linear, OneHot, Recurrent
from ..losses import softmax_cross_entropy
from ..models.sequential import Sequential
from ..training import checkpoint
from ..training.fit import evaluate
from ..training.history import History
from . import presets, recipe, sampling
from .recipe import Recipe
from .text import Vocabulary, streams
from .training import learn

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class CharLM:
    """A language model over the symbols of a vocabulary.

    Embedding(V, embedding), `layers` recurrent layers of `hidden` units of a `cell` ("lstm", "gru", "rnn"), Linear(hidden, V).
    An `embedding` of 0: one-hot vectors. `biases`: how many vectors of them a gate has. `dropout` acts between the recurrent
    layers, in training. `vocabulary`: a Vocabulary, or a text to take it from. `rng`: seed or numpy Generator; `init`: a name
    of `recurrent.initialisers`. Raises ValueError or TypeError for options that make no model.

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
        biases: int = 2,
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
            raise ValueError(
                f"dropout acts between recurrent layers: it needs at least 2 of them, got {layers}"
            )
        V, options = len(self.vocabulary), {} if biases == 2 else {"biases": biases}
        stack = [OneHot(V) if embedding == 0 else Embedding(V, embedding)]
        for k in range(layers):
            if k and dropout:
                stack.append(Dropout(dropout))
            stack.append(CELLS[cell](hidden if k else embedding or V, hidden, **options))
        self.model = Sequential(*stack, Linear(hidden, V), rng=rng, dtype=dtype, init=init)
        self.recipe = Recipe()
        self.forget()

    @classmethod
    def preset(cls, name: str, vocabulary: Vocabulary | str, **options: Any) -> CharLM:
        """A model as published, "min-char-rnn", "char-rnn" or "torch-rnn": see `recurrent.presets`.

        It is built from the preset's options, and `train` has the preset's for its defaults; `options` of either kind take
        their place. Raises ValueError for an unknown name, and as the constructor and `train` do.

        >>> lm = CharLM.preset("char-rnn", "to be or not to be", hidden=64)
        >>> lm.model[0], lm.recipe.optimizer
        (OneHot(num_classes=7), 'rmsprop:alpha=0.95')
        """
        found = presets.named(name)
        training = {k: v for k, v in options.items() if k in recipe.OPTIONS}
        lm = cls(
            vocabulary, **(found.model | {k: v for k, v in options.items() if k not in training})
        )
        lm.recipe = Recipe(name, **found.training).but(**training)
        return lm

    def forget(self) -> None:
        """Training starts from the beginning, with the parameters of now."""
        self.optimizer: optim.Optimizer | None = None
        self.state: tuple | None = None  # what the next window of the training text starts from
        self.past: np.ndarray | None = None  # with a look-back, the ids from there on
        self.latest: np.ndarray | None = (
            None  # parameters to go on from, where the model holds the best ones
        )
        self.history = History()
        self.options: dict = {}  # of the last `train`, and which text it was
        self.cursor = 0

    def __repr__(self):
        return f"CharLM({self.vocabulary!r}, {self.model!r})"

    @property
    def settings(self) -> dict[str, Any]:
        """The options that built this model and its recipe as far as training has begun, by the names of the commands'."""
        layers = self.model.layers
        found = [layer for layer in layers if isinstance(layer, Recurrent)]
        optimizer = type(self.optimizer).__name__.lower() if self.optimizer else None
        return {
            "cell": type(found[0]).__name__.lower(),
            "layers": len(found),
            "hidden": found[0].hidden_size,
            "embedding": 0 if isinstance(layers[0], OneHot) else layers[0].out_features,
            "biases": found[0].cell.biases,
            "dropout": next((layer.p for layer in layers if isinstance(layer, Dropout)), 0.0),
            "bytes": self.vocabulary.symbols is None,
            "optimizer": self.options.get("optimizer", optimizer),
            **{
                name: self.options[name]
                for name in ("preset", *recipe.FIXED)
                if name in self.options
            },
        }

    def ids(self, text: str | bytes | np.ndarray) -> np.ndarray:
        """Ids (n,) of a text; ids pass through."""
        return text if isinstance(text, np.ndarray) else self.vocabulary.encode(text)

    def train(
        self,
        text: str | bytes | np.ndarray,
        *,
        save_to: str | os.PathLike | None = None,
        resume: bool = False,
        progress: Any = True,
        callback: Callable[[int, History], None] | None = None,
        **options: Any,
    ) -> History:
        """Learn to predict the next symbol of a text: truncated BPTT over streams of it, in windows.

        `options`: those of `recipe.Recipe`, which says what they mean, in place of the defaults there, or of the preset.
        Where a part of the text is held out the best parameters by it are kept. With `resume` training goes on, by the options
        of before but for those given; updates of before are counted, so that stopping, saving, loading and resuming gives the
        same bits as going on. How the text is read cannot change then, nor the optimiser, only its `lr` or `schedule`.
        `save_to`: a file written at every validation (each epoch without one) and at the end. `progress`, `callback` as for
        `fit`.

        Returns the history, in nats; `history.stopped` is "interrupted" after Ctrl-C. Raises ValueError for a text that is
        too short or, with `resume`, not the one of before; FloatingPointError for a loss that is not finite.
        """
        before = Recipe.of(self.options) if resume else self.recipe
        return learn(
            self,
            self.ids(text),
            before.but(**options),
            resume=resume,
            new_rate=not resume or bool({"lr", "schedule"} & options.keys()),
            save_to=save_to,
            progress=progress,
            callback=callback,
        )

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
        sampling.choose(
            np.zeros(1), np.random.default_rng(0), **options
        )  # checks the options before the first piece
        return self.vocabulary.pieces(
            sampling.draw(
                self.model.stream(), len(self.vocabulary), length, prime_ids, rng, options
            )
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one file, training included: see `recurrent.training.checkpoint`."""
        about = {"kind": "CharLM", "vocabulary": self.vocabulary.describe()}
        training = {
            "options": self.options,
            "cursor": self.cursor,
            "history": self.history.to_dict(),
        }
        saved = checkpoint.Checkpoint(
            self.model, about, training, self.optimizer, self.state, self.latest, self.past
        )
        checkpoint.save(path, saved)

    @classmethod
    def load(cls, path: str | os.PathLike) -> CharLM:
        """Read what `save` wrote. Raises OSError and ValueError as `checkpoint.load`, and for other kinds of models."""
        loaded = checkpoint.load(path)
        if loaded.about.get("kind") != "CharLM":
            raise ValueError(
                f"{path}: not a character model: expected kind CharLM, found {loaded.about.get('kind')}"
            )
        lm = cls.__new__(cls)
        lm.model, lm.optimizer, lm.recipe = loaded.model, loaded.optimizer, Recipe()
        lm.state, lm.latest, lm.past = loaded.state, loaded.latest, loaded.past
        try:
            lm.vocabulary = Vocabulary.build(loaded.about["vocabulary"])
            lm.options, lm.cursor = loaded.training["options"], loaded.training["cursor"]
            lm.history = History.of(loaded.training["history"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a whole character model: {error}") from error
        V = getattr(lm.model.layers[0], "rows", None)
        if not len(lm.vocabulary) == V == lm.model.out_features:
            sizes = f"{len(lm.vocabulary)} symbols, the model takes {V} and puts out {lm.model.out_features}"
            raise ValueError(f"{path}: vocabulary and model differ: {sizes}")
        return lm
