"""Signals at any moment of a training: nothing is lost, and what resumes has the same bits."""

import os
import signal
import sys
import threading

import numpy as np
import pytest

from recurrent import LSTM, CharLM, Dropout, Embedding, Linear, Sequential, optim
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Batches
from recurrent.losses import softmax_cross_entropy
from recurrent.training import signals
from recurrent.training.fit import fit
from recurrent.training.interrupt import SIGNALS, deferred_interrupt
from recurrent.training.state import TrainingState

V = 5
TEXT = "the cat sat on the mat and the dog lay on the log. " * 12


class AtLine:
    """A trace function that sends signals when given lines of the package are about to run.

    Lines count from the first one of the package that is traced, so that a number is a moment: any
    between two lines of Python, which is where Python runs handlers.
    """

    def __init__(self, *lines, signum=signal.SIGINT):
        self.lines, self.signum, self.count = set(lines), signum, 0

    def __call__(self, frame, event, arg):
        if f"{os.sep}recurrent{os.sep}" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.count += 1
            if self.count in self.lines:
                signal.raise_signal(self.signum)
        return self

    def run(self, function):
        """Return what a function returns; None if the signal raised out of it."""
        sys.settrace(self)
        try:
            return function()
        except KeyboardInterrupt:
            return None
        finally:
            sys.settrace(None)


class Training:
    """A training with dropout, lists of sequences in a random order, a metric and validation."""

    updates = 9

    def __init__(self, **options):
        self.options = options
        rng = np.random.default_rng(1)
        lengths = rng.integers(1, 7, 10)
        x = [rng.integers(0, V, n) for n in lengths]
        self.model = Sequential(Embedding(V, 4), LSTM(4, 5), Dropout(0.3), Linear(5, V), rng=0)
        self.batches = Batches(x, [(a + 1) % V for a in x], 3, rng=2)
        self.validation = Batches(x, [(a + 2) % V for a in x], 6, None)
        self.state = TrainingState(optim.Adam(5e-2))
        self.calls = []

    def run(self):
        return fit(
            self.model,
            self.batches,
            softmax_cross_entropy,
            updates=self.updates,
            validation=self.validation,
            validate_every=2,
            metrics=lambda y, targets, lengths: softmax_cross_entropy(y, targets, lengths)[0] / 2,
            callback=lambda update, history: self.calls.append(update),
            clip_norm=1.0,
            resume=self.state,
            progress=False,
            **self.options,
        )

    def result(self):
        history = self.state.history
        return (
            history.losses,
            history.validation,
            history.metrics,
            history.best,
            history.smoothed,
            self.state.cursor,
            self.state.optimizer.steps,
            self.model.generator.bit_generator.state,
        )

    def assert_same(self, other):
        assert self.result() == other.result()
        assert_same_bits(self.model.flat, other.model.flat)
        assert (self.state.latest is None) == (other.state.latest is None)
        if self.state.latest is not None:
            assert_same_bits(self.state.latest, other.state.latest)
        if self.state.average is not None:
            assert_same_bits(self.state.average, other.state.average)
        for name, a in self.state.optimizer.arrays.items():
            assert_same_bits(a, other.state.optimizer.arrays[name])


@pytest.fixture(scope="module", params=[{}, dict(ema=0.6, accumulate=2, freeze=["0."])], ids=str)
def undisturbed(request):
    """A training that nothing interrupts, and how many lines it runs."""
    Training(**request.param).run()  # compiles
    training, counter = Training(**request.param), AtLine()
    counter.run(training.run)
    assert training.state.history.best[0] < training.updates, "the best is not the latest"
    return training, counter.count


def stop_and_resume(moments, signum, signals_each=1, options=None):
    """Run a training that is interrupted at each of these lines, and resume it until it is done."""
    training = Training(**(options or {}))
    with signals.raised():
        for k in [*moments, 10**9]:
            lines = range(k, k + 40 * signals_each, 40)
            history = AtLine(*lines, signum=signum).run(training.run)
            if history is not None and history.stopped == "finished":
                assert history.updates == training.updates
                return training
            assert training.state.optimizer is not None
    raise AssertionError("the training never ended")


def check_moments(undisturbed, seed, count, signum, signals_each=1):
    whole, lines = undisturbed
    rng = np.random.default_rng(seed)
    for _ in range(count):
        moments = rng.integers(1, lines, rng.integers(1, 4)).tolist()
        stop_and_resume(moments, signum, signals_each, whole.options).assert_same(whole)


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("signals_each", [1, 2])
def test_a_signal_at_any_moment_changes_no_bit(undisturbed, signum, signals_each):
    """The second signal 40 lines later is a second Ctrl-C, or the repetition of a SIGTERM."""
    check_moments(undisturbed, 1, 5, signum, signals_each)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "count"), [(signal.SIGINT, 100), (signal.SIGTERM, 50), (signal.SIGHUP, 50)]
)
@pytest.mark.parametrize("signals_each", [1, 2])
def test_many_signals_at_any_moment_change_no_bit(undisturbed, signum, count, signals_each):
    check_moments(undisturbed, 2, count, signum, signals_each)


def train_text(path, resume):
    lm = CharLM.load(path) if resume else CharLM(TEXT, layers=2, hidden=6, embedding=3, dropout=0.2)
    options = {} if resume else dict(seq=6, batch=4, updates=12, validate_every=3, validation=0.2)
    return lm, lambda: lm.train(TEXT, save_to=path, resume=resume, progress=False, **options)


def check_text(tmp_path, seed, count, signum):
    """Whatever the signal hits, the file resumes as if nothing had been."""
    whole, train = train_text(tmp_path / "whole", False)
    counter = AtLine()
    counter.run(train)
    rng = np.random.default_rng(seed)
    for k in rng.integers(1, counter.count, count).tolist():
        path = tmp_path / f"model{k}"
        lm, train = train_text(path, False)
        with signals.raised():
            history = AtLine(k, signum=signum).run(train)
            if not path.exists():  # the signal came before the first update
                assert history is None
                assert not lm.history.updates
                train()
            assert CharLM.load(path).history == lm.history
            again, train = train_text(path, True)
            assert train().stopped == "finished"
        assert_same_bits(again.model.flat, whole.model.flat)
        assert again.history.losses == whole.history.losses
        assert again.history.validation == whole.history.validation
        assert again.history.best == whole.history.best
        assert [p.name for p in tmp_path.iterdir() if p.name not in ("whole", path.name)] == []
        path.unlink()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_character_model_is_saved_whatever_the_signal_hits(tmp_path, signum):
    check_text(tmp_path, 3, 4, signum)


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "count"), [(signal.SIGINT, 100), (signal.SIGTERM, 50)])
def test_a_character_model_is_saved_at_many_moments(tmp_path, signum, count):
    check_text(tmp_path, 4, count, signum)


def test_an_interrupted_validation_is_made_first_when_training_resumes(undisturbed):
    """The one that is lost may be the best: it was in update 20 in place of 24."""
    whole, _ = undisturbed
    for lost in (2, 4, 6, 8, 9):
        training, calls = Training(**whole.options), 0
        forward = training.validation.batch

        def batch(k, training=training, forward=forward, lost=lost):
            nonlocal calls
            if training.state.history.updates == lost and not calls:
                calls += 1
                os.kill(os.getpid(), signal.SIGINT)
            return forward(k)

        training.validation.batch = batch
        first = training.run()
        assert (first.stopped, first.updates) == ("interrupted", lost)
        assert lost not in [update for update, _ in first.validation]
        assert training.run().stopped == "finished"
        training.assert_same(whole)
        assert training.calls == whole.calls, "the callback follows the validation"


def test_a_signal_in_the_update_of_a_validation_does_not_lose_it(undisturbed):
    whole, _ = undisturbed
    training = Training(**whole.options)
    update = training.state.optimizer.update

    def interrupted(flat, gradient, parts=None):
        update(flat, gradient, parts)
        if training.state.history.updates == 3:
            signal.raise_signal(signal.SIGTERM)

    training.state.optimizer.update = interrupted
    first = training.run()
    assert (first.stopped, first.updates, len(first.validation)) == ("interrupted", 4, 1)
    training.run()
    training.assert_same(whole)


def handlers():
    return [signal.getsignal(signum) for signum in SIGNALS]


def test_handlers_are_put_back_and_those_of_a_program_left_alone():
    before = handlers()
    received = []
    with deferred_interrupt() as interrupt:
        assert all(handler == interrupt.handle for handler in handlers())
        with deferred_interrupt() as inner:
            assert inner is interrupt
        assert all(handler == interrupt.handle for handler in handlers())
    assert handlers() == before
    own = signal.signal(signal.SIGTERM, lambda *_: received.append("own"))
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred_interrupt() as interrupt:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
        assert (received, interrupt.signum) == (["own"], None)
    finally:
        signal.signal(signal.SIGTERM, own)
        signal.signal(signal.SIGHUP, ignored)


def test_a_signal_that_no_training_honours_is_sent_again():

    def receive():
        with deferred_interrupt() as interrupt:
            signal.raise_signal(signal.SIGTERM)
            assert interrupt.signum == signal.SIGTERM

    with signals.raised(), pytest.raises(signals.Ended) as error:
        receive()
    assert error.value.signum == signal.SIGTERM
    training = Training()
    with deferred_interrupt() as interrupt:
        signal.raise_signal(signal.SIGHUP)
        history = training.run()
        assert (history.stopped, history.updates) == ("interrupted", 0)
    assert interrupt.signum == signal.SIGHUP


def test_other_threads_train_without_handlers():
    training, before = Training(), handlers()
    seen = []
    training.calls = seen
    thread = threading.Thread(target=training.run)
    thread.start()
    thread.join()
    assert len(seen) == training.updates
    assert handlers() == before
