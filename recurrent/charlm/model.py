"""The character model: ids in, recurrent layers, logits out."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import Guided
from ..layers import GRU, LSTM, RNN, Attention, Dropout, Embedding, Linear, OneHot, Recurrent
from ..layers.quantized import refuse_quantized
from ..losses import softmax_cross_entropy
from ..models import files, loading, storage
from ..models.sequential import Sequential
from ..optim import Optimizer
from ..training import checkpoint
from ..training.fit import evaluate
from ..training.history import History
from ..training.interrupt import deferred_interrupt
from ..training.state import TrainingState
from ..training.workers import Workers
from . import documents as documents_of
from . import presets, recipe, sampling
from .recipe import Recipe
from .text import UNKNOWN, Vocabulary
from .training import (
    check_resumable,
    check_text,
    evaluation_windows,
    fingerprint,
    learn,
    training_windows,
)

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class CharLM(Guided):
    """A character-level language model: Embedding or OneHot, recurrent layers, Linear.

    Parameters
    ----------
    vocabulary : Vocabulary, str or list of str
        The symbols, or a text or documents to take them from.
    cell : {"lstm", "gru", "rnn"}
        Recurrent cell.
    layers : int
        Number of recurrent layers.
    hidden : int
        Hidden size of each.
    embedding : int
        Size of the embedding; 0 for one-hot vectors.
    biases : {0, 1, 2}
        Number of bias vectors per gate.
    dropout : float
        Dropout probability between recurrent layers, below 1.
    rng : int or numpy.random.Generator
        Seed of the initial parameters and of dropout.
    dtype : {"float32", "float64"}
        Type of the parameters.
    init : str or callable
        Initialisation: a name of `recurrent.initialisers`, or one of its functions.

    Attributes
    ----------
    model : Sequential
        The stack of layers.
    recipe : Recipe
        Defaults of `train`.
    training : TrainingState
        State of the last training, from which `train` resumes.
    options : dict
        Options of the last `train`, and the length and digest of its text.

    Raises
    ------
    ValueError, TypeError
        If the options make no model.

    Examples
    --------
    >>> lm = CharLM("to be or not to be", layers=1, hidden=8, embedding=4)
    >>> lm.model[1], len(lm.vocabulary)
    (LSTM(input_size=4, hidden_size=8), 7)
    """

    def __init__(
        self,
        vocabulary: Vocabulary | str | list[str],
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
        if isinstance(vocabulary, list):
            for n, document in enumerate(vocabulary):
                checks.text(document, f"vocabulary[{n}]")
            if not any(vocabulary):
                raise ValueError("vocabulary must have a document that is not empty, got none")
        if isinstance(vocabulary, (str, list)):
            vocabulary = Vocabulary.of(vocabulary)
        words = "a str to take the symbols from, or a Vocabulary (of bytes: Vocabulary.bytes())"
        checks.instance(vocabulary, Vocabulary, "vocabulary", words)
        self.vocabulary = vocabulary
        checks.choice(cell, "cell", CELLS)
        layers, hidden = checks.size(layers, "layers"), checks.size(hidden, "hidden")
        embedding = checks.integer(embedding, "embedding", 0, checks.LARGEST)
        biases = checks.integer(biases, "biases", 0, 2)
        dropout = checks.number(dropout, "dropout", least=0, below=1)
        if dropout and layers < 2:
            raise ValueError(
                f"dropout acts between recurrent layers: it needs at least 2 of them, got {layers}"
            )
        V, options = len(self.vocabulary), {} if biases == 2 else {"biases": biases}
        stack: list[Any] = [OneHot(V) if embedding == 0 else Embedding(V, embedding)]
        for k in range(layers):
            if k and dropout:
                stack.append(Dropout(dropout))
            stack.append(CELLS[cell](hidden if k else embedding or V, hidden, **options))
        self.model = Sequential(*stack, Linear(hidden, V), rng=rng, dtype=dtype, init=init)
        self.recipe = Recipe()
        self.forget()

    @classmethod
    def preset(
        cls, name: str, vocabulary: Vocabulary | str | list[str], **overrides: Any
    ) -> CharLM:
        """Build a published model, whose `train` has the published options as defaults.

        Parameters
        ----------
        name : {"min-char-rnn", "char-rnn", "torch-rnn"}
            The preset: see `recurrent.presets`.
        vocabulary : Vocabulary, str or list of str
            The symbols, or a text or documents to take them from.
        **overrides : object
            Options of `CharLM` and of `train` that override the preset.

        Returns
        -------
        CharLM

        Raises
        ------
        ValueError
            If the preset is unknown, or an option is out of range.
        TypeError
            If there is no such option.

        Examples
        --------
        >>> lm = CharLM.preset("char-rnn", "to be or not to be", hidden=64)
        >>> lm.model[0], lm.recipe.optimizer
        (OneHot(num_classes=7), 'rmsprop:alpha=0.95')
        """
        preset = presets.find(name)
        training = {k: v for k, v in overrides.items() if k in recipe.OPTIONS}
        model = {k: v for k, v in overrides.items() if k not in recipe.OPTIONS}
        lm = cls(vocabulary, **(preset.model | model))
        lm.recipe = Recipe(name, **preset.training).override(**training)
        return lm

    def quantize(self, weights: str) -> CharLM:
        """Return the model with quantised weights, for sampling and evaluation.

        Parameters
        ----------
        weights : {"int8", "bfloat16"}
            Kind of the weights, see `Model.quantize`.

        Returns
        -------
        CharLM
            A smaller model that cannot be trained; it has no training state.

        Raises
        ------
        TypeError
            If the weights are not float32.
        ValueError
            If the kind is unknown, or a weight is NaN or infinite.

        Examples
        --------
        >>> lm = CharLM("to be or not to be", layers=1, hidden=8, embedding=4)
        >>> small = lm.quantize("int8")
        >>> small.model.weights, len(small.sample("to ", 20, seed=0))
        ('int8', 20)
        """
        return self._with(self.model.quantize(weights))

    def dequantized(self) -> CharLM:
        """Return the float32 model with the rounded weights of a quantised one.

        Returns
        -------
        CharLM
            An ordinary model, which can be trained.

        Raises
        ------
        TypeError
            If the weights are not quantised.
        """
        return self._with(self.model.dequantized())

    def _with(self, model: Sequential) -> CharLM:
        """Return a character model of another stack, without a training state."""
        lm = type(self).__new__(type(self))
        vars(lm).update(vars(self), model=model, training=TrainingState(), options={**self.options})
        return lm

    def forget(self) -> None:
        """Discard the training state and its options; keep the parameters."""
        self.training = TrainingState()
        self.options: dict = {}

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimiser of the training, with its state."""
        return self.training.optimizer

    @property
    def history(self) -> History:
        """Losses and validations of the training so far."""
        return self.training.history

    def __repr__(self):
        return f"CharLM({self.vocabulary!r}, {self.model!r})"

    @property
    def settings(self) -> dict[str, Any]:
        """The options that cannot change when training is resumed, as the command line names them.

        They include the recipe's options once training has begun.
        """
        layers = self.model.layers
        recurrent = [layer for layer in layers if isinstance(layer, Recurrent)]
        optimizer = type(self.optimizer).__name__.lower() if self.optimizer else None
        fixed = ("preset", *recipe.FIXED)
        return {
            "cell": type(recurrent[0]).__name__.lower(),
            "layers": len(recurrent),
            "hidden": recurrent[0].hidden_size,
            "embedding": 0 if isinstance(layers[0], OneHot) else layers[0].out_features,
            "biases": recurrent[0].cell.biases,
            "dropout": next((layer.p for layer in layers if isinstance(layer, Dropout)), 0.0),
            "bytes": self.vocabulary.symbols is None,
            "optimizer": self.options.get("optimizer", optimizer),
            **{name: self.options[name] for name in fixed if name in self.options},
        }

    def ids(self, text: str | bytes | list[str] | np.ndarray) -> np.ndarray:
        """Convert a text to ids.

        Parameters
        ----------
        text : str, bytes, list of str, or ndarray of shape (n,), int
            The text, or documents; ids are returned as they are.

        Returns
        -------
        ndarray, shape (n,), int32
            With documents, the id of the end symbol stands before and behind each.

        Raises
        ------
        ValueError
            If a character is not in the vocabulary.
        """
        return self._ids(text, "error", np.int32)

    def _ids(
        self, text: Any, unknown: str, dtype: Any = None, documents: str | None = None
    ) -> np.ndarray:
        """Convert a text to ids of a dtype, by default the smallest."""
        v = self.vocabulary
        listed = isinstance(text, (list, tuple)) and len(text) > 0
        listed = listed and all(isinstance(document, str) for document in text)
        if v.end is None and (listed or documents is not None):
            raise ValueError(
                "text has documents, but the vocabulary has no end symbol: make the model from "
                "documents, CharLM(list of str)"
            )
        if listed:
            text = documents_of.joined(text, str(v.end))
        elif documents is not None and isinstance(text, str):
            separator = documents_of.separator(documents)
            text = "".join(documents_of.cut([text], separator, str(v.end)))
        if isinstance(text, (str, bytes)):
            return v.encode(text, unknown=unknown, dtype=v.dtype if dtype is None else dtype)
        checks.instance(text, np.ndarray, "text", "str, bytes, a list of str or an array of ids")
        ids, V = checks.integers(text, "text, as ids,"), len(v)
        if ids.ndim != 1:
            raise ValueError(f"text, as ids, must be (n,), got {ids.shape}")
        if ids.size and not 0 <= ids.min() <= ids.max() < V:
            k = int(np.flatnonzero((ids < 0) | (ids >= V))[0])
            raise IndexError(f"text, as ids, must be in 0..{V - 1}, got {ids[k]} at {k}")
        return ids

    def train(
        self,
        text: str | bytes | list[str] | np.ndarray,
        *,
        save_to: str | os.PathLike | None = None,
        resume: bool = False,
        progress: Any = True,
        callback: Callable[[int, History], None] | None = None,
        comm: Any = None,
        **overrides: Any,
    ) -> History:
        """Train the model to predict the next symbol, by truncated BPTT over streams of a text.

        If part of the text is held out, the model ends with the parameters that were best on it.
        Stopping, saving, loading and resuming gives the same bits as training without a break.

        Parameters
        ----------
        text : str, bytes, list of str, or ndarray of shape (n,), int
            The text, or documents, or its ids. It takes a byte a symbol of memory more, or two
            with more than 256 symbols.
        save_to : str or os.PathLike, optional
            Checkpoint to write after each validation (without one, each epoch) and at the end.
        resume : bool
            Continue the training with its options, except for those in `overrides`. The optimiser
            and how the text is read cannot change; `lr`, `schedule` and the length can, and a
            schedule that ends with the training follows its length.
        progress : bool or rich.console.Console
            Whether, or where, to show progress.
        callback : callable, optional
            `callback(update, history)` runs after each update and its validation.
        comm : mpi4py.MPI.Comm, optional
            Share the `shards` of each batch among the processes of this communicator, see `fit`;
            the first one writes `save_to`. Each goes through the text once, to compare it with that
            of the others, and then reads its own streams.
        **overrides : object
            Options of `Recipe`, which override those of `recipe`, such as `shards=8`.

        Returns
        -------
        History
            Losses in nats. `stopped` is "interrupted" after Ctrl-C, SIGTERM or SIGHUP.

        Raises
        ------
        ValueError
            If an option is out of range, the text is too short, or is not the one of the training
            to resume.
        TypeError
            If there is no such option, it has the wrong type, a learning rate that is to be saved
            is a function, or the weights are quantised.
        OSError
            If `save_to` cannot be written, or another training writes it. If a save fails later,
            nothing is lost: call `save` with another path, or `train` with `resume`.
        FloatingPointError
            If a loss or gradient is not finite. The model has the best parameters; `resume`
            continues from the update before, with a lower `lr` for example.
        """
        workers = Workers.of(comm)
        with workers.together():
            refuse_quantized(self.model.parameters, "train trains")
            resume = checks.flag(resume, "resume")
            before = Recipe.from_dict(self.options) if resume else self.recipe
            now = before.override(**overrides)
            workers.check_shards(now.shards)
            if callback is not None:
                checks.function(callback, "callback", "print")
            if resume:
                if self.optimizer is None:
                    raise ValueError(
                        "cannot resume: this model was never trained, or saved without its training"
                    )
                check_resumable(self.options, now)
            ids = self._ids(text, now.unknown, documents=now.documents)
            source = fingerprint(ids)
            if resume:
                check_text(self.options, source, self.vocabulary.unit)
            windows, held_out = training_windows(self.vocabulary, ids, now)
            if workers.size > 1:
                workers.check_equal(text=source, vocabulary=self.vocabulary.describe())
            optimizer: Any = self.optimizer if resume else now.new_optimizer()
            lr = self._learning_rate(optimizer, now, len(windows), overrides, resume)
        earlier = self.training, self.options, optimizer.lr
        training = self.training if resume else TrainingState(optimizer)
        done, saved = training.history.updates, 0

        def save() -> None:
            nonlocal saved
            self.save(save_to)  # type: ignore[arg-type]
            saved = training.history.updates

        with contextlib.ExitStack() as kept:
            kept.enter_context(deferred_interrupt())
            with workers.together():
                if save_to is not None and workers.first:
                    kept.enter_context(files.writer_lock(save_to))
            self.training, self.options, optimizer.lr = training, now.to_dict() | source, lr
            try:
                with workers.together():
                    if save_to is not None:
                        checkpoint.check_saveable(self._checkpoint())
                return learn(
                    self.model,
                    windows,
                    held_out,
                    now,
                    training,
                    save=None if save_to is None else save,
                    progress=progress,
                    callback=callback,
                    workers=workers,
                )
            except BaseException as error:
                if training.history.updates == done:
                    self.training, self.options, optimizer.lr = earlier
                if saved and isinstance(error, FloatingPointError):
                    error.args = (f"{error}; {save_to} holds the model after update {saved:,}",)
                raise

    def _learning_rate(self, optimizer, now, epoch, overrides, resume) -> Any:
        """Return the learning rate of a training of windows: `epoch` of them are one epoch.

        A schedule of the recipe ends with the training, so that it follows a new length.
        """
        if resume:
            changed = {"lr", "schedule"} & overrides.keys()
            changed |= {"epochs", "updates"} & overrides.keys() if now.schedule else set()
            return now.learning_rate(epoch) if changed else optimizer.lr
        if not isinstance(now.optimizer, Optimizer):
            return now.learning_rate(epoch)
        if now.schedule is None:
            return optimizer.lr
        return now.learning_rate(epoch, None if "lr" in overrides else optimizer.lr)

    def bits_per_character(
        self,
        text: str | bytes | list[str] | np.ndarray,
        streams: int = 1,
        *,
        unknown: str = "error",
    ) -> float:
        """Compute the mean of -log2 p(symbol | symbols before it), without dropout.

        Parameters
        ----------
        text : str, bytes, list of str, or ndarray of shape (n,), int
            The text, or documents, or its ids. Every symbol but the first counts.
        streams : int
            Number of equal pieces of the text that run side by side, each from a zero state.
            This is faster and a little pessimistic; up to streams - 1 symbols at the end are left
            out.
        unknown : {"error", "skip", "replace"}
            What becomes of characters that are not in the vocabulary; see `Vocabulary.encode`.

        Returns
        -------
        float
            Bits per character, or per byte; the perplexity is 2 to this power.

        Raises
        ------
        ValueError
            If the text has fewer than streams + 1 symbols.
        """
        streams = checks.size(streams, "streams")
        checks.choice(unknown, "unknown", UNKNOWN)
        windows = evaluation_windows(self.vocabulary, self._ids(text, unknown), streams)
        return evaluate(self.model, windows, softmax_cross_entropy) / math.log(2)

    def sample(
        self,
        prime: str = "",
        length: int = 2000,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        stop: str | list[str] | None = None,
        seed: int | None = None,
    ) -> str:
        """Sample the text that follows a prime.

        Parameters
        ----------
        prime : str
            Text that the model reads first (the prompt). Without it the first symbol is sampled
            uniformly from the vocabulary, as char-rnn does; a model of documents begins one.
        length : int
            Number of symbols to sample at most. A model of documents ends where one does.
        temperature : float
            Divides the logits: below 1 favours likely symbols.
        top_k : int, optional
            Sample from the k most likely symbols only.
        top_p : float, optional
            Nucleus sampling: from the fewest most likely symbols whose total probability is at
            least this.
        greedy : bool
            Always take the most likely symbol.
        stop : str or list of str, optional
            End before the first of these texts.
        seed : int, optional
            Equal seeds give equal texts.

        Returns
        -------
        str
            The text without the prime.

        Raises
        ------
        ValueError
            If an option is out of range or the prime has unknown characters.

        Examples
        --------
        >>> lm = CharLM("to be or not to be", layers=1, hidden=8, embedding=4)
        >>> text = lm.sample("to ", length=20, seed=0)
        >>> len(text), lm.sample("to ", 20, seed=0, stop=text[5]) == text.split(text[5])[0]
        (20, True)
        """
        options: Any = dict(temperature=temperature, top_k=top_k, top_p=top_p, greedy=greedy)
        return "".join(self.generate(prime, length, stop=stop, seed=seed, **options))

    def generate(
        self,
        prime: str = "",
        length: int = 2000,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        stop: str | list[str] | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Sample the text that follows a prime, piece by piece, as `sample` does.

        Parameters
        ----------
        prime : str
            Text that the model reads first.
        length : int
            Number of symbols to sample at most.
        temperature : float
            Divides the logits.
        top_k : int, optional
            Sample from the k most likely symbols only.
        top_p : float, optional
            Nucleus sampling.
        greedy : bool
            Always take the most likely symbol.
        stop : str or list of str, optional
            End before the first of these texts.
        seed : int, optional
            Equal seeds give equal texts.

        Yields
        ------
        str
            A piece of text, as soon as its characters are complete.

        Raises
        ------
        ValueError
            At the call, if an option is out of range or the prime has unknown characters.
        """
        if isinstance(prime, (int, np.integer)) and not isinstance(prime, bool):
            raise TypeError(f"prime must be a str, got int: write length={checks.shown(prime)}")
        v, V = self.vocabulary, len(self.vocabulary)
        prime_ids = [*v.encode(checks.text(prime, "prime"))]
        prime_ids = prime_ids if v.end_id is None else [np.int32(v.end_id), *prime_ids]
        length = checks.integer(length, "length", 0)
        stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
        if not isinstance(stops, (list, tuple)) or not all(type(s) is str and s for s in stops):
            raise TypeError(
                f"stop must be a str that is not empty, or a list of them, got {checks.shown(stop)}"
            )
        seed = None if seed is None else checks.integer(seed, "seed", 0)
        rng, greedy = np.random.default_rng(seed), checks.flag(greedy, "greedy")
        options: dict[str, Any] = dict(value=temperature, k=top_k, p=top_p, greedy=greedy)
        # Check the options now, not at the first piece.
        sampling.sample_id(np.zeros(1), np.random.default_rng(0), **options)
        stream = self.model.stream()
        ids = sampling.generate(stream, V, length, prime_ids, rng, options, v.end_id)
        pieces = v.pieces(ids)
        return sampling.until(pieces, stops) if stops else pieces

    def save(self, path: str | os.PathLike) -> None:
        """Write model, vocabulary and training to a checkpoint.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write; see `recurrent.training.checkpoint`.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        checkpoint.save(path, self._checkpoint())

    def _checkpoint(self) -> checkpoint.Checkpoint:
        """Return what `save` writes."""
        about = {"kind": "CharLM", "vocabulary": self.vocabulary.describe()}
        return checkpoint.Checkpoint(self.model, about, self.options, self.training)

    @classmethod
    def load(cls, path: str | os.PathLike) -> CharLM:
        """Read a checkpoint that `save` has written.

        Parameters
        ----------
        path : str or os.PathLike
            The file to read.

        Returns
        -------
        CharLM

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is not a complete checkpoint of a character model.
        """
        with storage.reading(path):
            return cls._of(checkpoint.contents(storage.read(path)))

    @classmethod
    def _of(cls, loaded: checkpoint.Checkpoint) -> CharLM:
        """Return the model of a checkpoint; raise ValueError unless it is a character model."""
        kind = loaded.about.get("kind")
        if kind != "CharLM":
            found = type(loaded.model).__name__ if kind is None else checks.shown(kind)
            raise ValueError(f"not a character model: expected a file of CharLM.save, got {found}")
        lm = cls.__new__(cls)
        lm.model, lm.recipe = loaded.model, Recipe()
        lm.options, lm.training = loaded.options, loaded.training or TrainingState()
        lm.vocabulary = Vocabulary.build(loaded.about.get("vocabulary"))
        _check_stack(lm.model, len(lm.vocabulary))
        if lm.options or lm.training.optimizer is not None:
            _check_options(lm.options, lm.training)
        return lm


loading.KINDS["CharLM"] = lambda stored: CharLM._of(checkpoint.contents(stored))


def _check_stack(model: Any, V: int) -> None:
    """Raise ValueError unless a model reads ids, predicts V symbols and runs step by step."""
    if not isinstance(model, Sequential) or not isinstance(model.layers[0], Embedding):
        raise ValueError("a character model must be a Sequential that begins with ids")
    reads, returns = model.layers[0].rows, model.out_features
    if not V == reads == returns:
        raise ValueError(
            f"vocabulary and model differ: {V} symbols, the model takes {reads} and returns "
            f"{returns}"
        )
    if not any(isinstance(layer, Recurrent) for layer in model.layers):
        raise ValueError("a character model needs a recurrent layer, got none")
    if not model.returns_sequence:
        raise ValueError("a character model must have an output at each step, but a layer pools")
    for k, layer in enumerate(model.layers):
        streams = layer.keeps_steps and not layer.reads_ahead
        if not streams or isinstance(layer, Attention):
            raise ValueError(f"a character model runs step by step, and {model.where(k)} cannot")


def _check_options(options: dict[str, Any], training: TrainingState) -> None:
    """Raise TypeError or ValueError unless training can resume with these options."""
    batch = Recipe.from_dict(options).batch
    states = [np.shape(s[0])[:-1] for s in training.carried or () if s is not None]
    states += [] if training.past is None else [training.past.shape[1:]]
    for rows in states:
        if rows != (batch,):
            raise ValueError(
                f"the options have a batch of {batch}, but the carried state has the shape "
                f"({', '.join([*map(str, rows), '...'])})"
            )
    checks.integer(options.get("symbols"), "symbols", 0)
    checks.text(options.get("text"), "text")
