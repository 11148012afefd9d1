"""The meetings of processes that share a training, wherever a signal comes or an error is raised.

The processes are threads, see `simulated_ranks`, so that each line of the loop can be the place.
"""

import random
import signal
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from support import shared_trainings, simulated_ranks

from recurrent import LSTM, CharLM, Dropout, Linear, Sequential, fit, schedules
from recurrent.data import Batches, Windows
from recurrent.losses import huber, mean_squared_error
from recurrent.optim import Adam
from recurrent.training import loop
from recurrent.training.interrupt import deferred_interrupt
from recurrent.training.state import TrainingState
from recurrent.training.workers import Workers

X, Y = shared_trainings.arrays(20, 4)
HELD_OUT = shared_trainings.arrays(5, 3, seed=3)
PLACES = 12  # of each test, among some 1,200 lines


class Training:
    """What one rank has: a training with a carried state, dropout, an average and validations."""

    def __init__(self):
        self.model = Sequential(LSTM(3, 3), Dropout(0.3), Linear(3, 2))
        self.state = TrainingState(Adam(0.01))
        self.windows = Windows(X, Y, 5, carry="always")

    def run(self, comm, **options):
        return fit(
            self.model,
            self.windows,
            mean_squared_error,
            resume=self.state,
            comm=comm,
            updates=4,
            shards=4,
            validation=Batches(*HELD_OUT, 2, None),
            validate_every=2,
            ema=0.9,
            clip_norm=1.0,
            progress=False,
            **{"callback": lambda update, history: None, **options},
        )

    def left(self):
        found = shared_trainings.left(self.model, self.state, self.state.history)
        return found | {"cursor of the windows": self.windows.cursor}


@pytest.fixture(scope="module")
def whole():
    training = Training()
    training.run(None)
    return training.left()


@pytest.fixture
def interrupts(monkeypatch):
    """The handler of signals of each thread, by a number of the thread."""
    found = {}

    @contextmanager
    def noted():
        with deferred_interrupt() as interrupt:
            found[threading.get_ident()] = interrupt
            yield interrupt

    monkeypatch.setattr(loop, "deferred_interrupt", noted)
    return found


def disturbed(size, rank, k, files, act, seed, inside=None):
    """Train on all ranks and call `act()` on one of them before its k-th line."""
    trainings = [Training() for _ in range(size)]
    lines = []

    def program(comm):
        if comm.rank == rank:
            lines.append(simulated_ranks.at_line(k, files, act, inside))
        return trainings[comm.rank].run(comm).stopped

    outcomes = simulated_ranks.run(size, program, seed)
    return trainings, outcomes, lines[0]


def endings(outcomes):
    return {type(one.error).__name__ if one.error else one.value or one.ended for one in outcomes}


def check_goes_on(trainings, whole):
    """The ranks have the same state, and train on to that of an undisturbed training."""
    assert all(training.left() == trainings[0].left() for training in trainings)
    size = len(trainings)
    outcomes = simulated_ranks.run(size, lambda comm: trainings[comm.rank].run(comm).stopped)
    assert endings(outcomes) == {"finished"}
    assert all(training.left() == whole for training in trainings)


@pytest.mark.parametrize(("size", "rank"), [(2, 0), (2, 1), (4, 2)])
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_ends_all_ranks_alike(whole, interrupts, size, rank, times):
    draw, files = random.Random(size + rank + times), ("loop.py", "workers.py")
    for _ in range(PLACES):
        k = draw.randrange(1300)

        def signals():
            interrupt = interrupts.get(threading.get_ident())
            for _ in range(times if interrupt else 0):
                interrupt.handle(signal.SIGINT, None)

        trainings, outcomes, line = disturbed(size, rank, k, files, signals, k, inside="_run")
        ends = {"finished", "interrupted"} if times == 1 else {"KeyboardInterrupt", "finished"}
        ended = endings(outcomes)
        assert len(ended) == 1, (k, line, ended)
        assert ended <= ends | {"interrupted"}, (k, line, ended)
        check_goes_on(trainings, whole)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize(("size", "rank"), [(2, 0), (2, 1), (4, 2)])
def test_an_error_of_one_rank_ends_all_alike(whole, size, rank, error):
    draw, gone_on = random.Random(size + rank), 0
    for _ in range(PLACES):
        k = draw.randrange(280)

        def fails():
            raise error("of one rank")

        trainings, outcomes, line = disturbed(size, rank, k, ("loop.py",), fails, k, "_run")
        ended = endings(outcomes)
        if ended == {"finished"}:  # there are fewer lines
            continue
        assert len(ended) == 1, (k, line, ended)
        assert ended <= {error.__name__, "interrupted"}, (k, line, ended)
        lost = {training.state.optimizer is None for training in trainings}
        assert len(lost) == 1, (k, line)
        if lost == {False}:
            check_goes_on(trainings, whole)
            gone_on += 1
    assert gone_on


def test_an_error_in_a_message_ends_all_ranks(capfd):
    """The others wait for the rest of the sum, which never comes."""

    def program(comm):
        workers = Workers(comm)
        with workers.together():
            if comm.rank == 1:
                workers._add = None
            workers.add(np.ones(5))

    outcomes = simulated_ranks.run(2, program)
    assert [one.ended for one in outcomes] == ["aborted", "aborted"]
    assert "rank 1 of 2: TypeError: 'NoneType' object is not callable" in capfd.readouterr().err


def test_a_loss_that_is_not_finite_on_one_rank_is_told_to_all():
    bad = X.copy()
    bad[7, 2] = np.nan  # window 1, stream 2, which is shard 2 of 4, of rank 1

    def program(comm):
        model = Sequential(LSTM(3, 3), Linear(3, 2))
        windows = Windows(bad, Y, 5)
        fit(model, windows, mean_squared_error, Adam(), shards=4, comm=comm, progress=False)

    for one in simulated_ranks.run(2, program):
        assert isinstance(one.error, FloatingPointError)
        assert str(one.error).startswith("update 2: the loss of shard 2 of 4 is nan; ")
        assert "x has nan at (2, 0, 0)" in str(one.error)
        assert one.error.__notes__ == ["on rank 1 of 2"]
        assert one.error.history.updates == 1


def test_the_first_rank_alone_may_have_callbacks(whole):
    trainings, calls = [Training() for _ in range(4)], []

    def program(comm):
        own = [lambda update, history: calls.append(update)] if comm.rank == 0 else []
        return trainings[comm.rank].run(comm, callback=own).stopped

    assert endings(simulated_ranks.run(4, program)) == {"finished"}
    assert calls == [1, 2, 3, 4]
    assert trainings[3].left() == whole


# Arguments that differ between ranks


def of_rank(rank, first, second):
    return second if rank else first


DIFFERENT = {
    "shards": lambda rank: {"shards": of_rank(rank, 2, 4)},
    "updates": lambda rank: {"updates": of_rank(rank, 3, 4)},
    "accumulate": lambda rank: {"accumulate": of_rank(rank, 1, 2)},
    "keep_best": lambda rank: {"keep_best": of_rank(rank, True, False)},
    "monitor": lambda rank: {"monitor": of_rank(rank, "loss", "accuracy")},
    "lr or freeze": lambda rank: {"lr": {"0.": of_rank(rank, 0.1, schedules.Cosine(0.1, 9))}},
    "clipping": lambda rank: of_rank(rank, {"clip_norm": 1}, {}),
    "look_back": lambda rank: {"look_back": of_rank(rank, 5, 10)},
    "loss": lambda rank: {"loss": of_rank(rank, mean_squared_error, huber)},
}


def fit_on(rank, comm, loss=mean_squared_error, **options):
    model = Sequential(LSTM(3, 3), Linear(3, 2))
    held_out = Batches(*HELD_OUT, 2, None)
    options = {"updates": 3, "shards": 4, "metrics": "accuracy"} | options
    return fit(
        model,
        Windows(X, Y, 5),
        loss,
        Adam(schedules.ReduceOnPlateau(0.1)),
        validation=held_out,
        comm=comm,
        progress=False,
        **options,
    ).updates


@pytest.mark.parametrize("name", DIFFERENT)
def test_ranks_pass_equal_arguments(name):
    def program(comm):
        fit_on(comm.rank, comm, **DIFFERENT[name](comm.rank))

    outcomes = simulated_ranks.run(2, program)
    message = f"{name} must be the same on all ranks, but rank 1 differs from rank 0"
    assert all(message in str(one.error) for one in outcomes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 1}, "shards must be at least the 2 processes"),
        ({"resume": 3}, "resume must be a TrainingState, got int"),
        ({"metrics": "acuracy"}, "did you mean"),
    ],
)
def test_what_is_wrong_on_one_rank_is_said_on_all(options, message):
    outcomes = simulated_ranks.run(
        2, lambda comm: fit_on(comm.rank, comm, **options if comm.rank == 0 else {})
    )
    assert all(message in str(one.error) for one in outcomes)


def test_functions_without_a_text_are_compared_by_name():
    def program(comm):
        return fit_on(comm.rank, comm, partial(mean_squared_error), lr={"0.": lambda step: 0.01})

    assert [one.value for one in simulated_ranks.run(2, program)] == [3, 3]


def test_the_first_rank_alone_may_save(tmp_path):
    def program(comm):
        lm = CharLM(shared_trainings.TEXT, hidden=8, embedding=4)
        options = {"seq": 8, "batch": 11, "updates": 9, "shards": 4, "progress": False}
        path = tmp_path / "model" if comm.rank == 0 else None
        return lm.train(shared_trainings.TEXT, save_to=path, comm=comm, **options).updates

    assert [one.value for one in simulated_ranks.run(2, program)] == [9, 9]
    assert CharLM.load(tmp_path / "model").history.updates == 9


def test_parameters_that_differ_at_the_end_are_an_error():
    """Without validations nothing else would find a machine that computes other bits."""

    class Drifts(Adam):
        def update(self, flat, gradient, parts=None):
            super().update(flat, gradient, parts)
            flat[0] += rank.number * 1e-3

    rank = threading.local()

    def program(comm):
        rank.number = comm.rank
        model = Sequential(LSTM(3, 3), Linear(3, 2))
        options = {"updates": 2, "shards": 2, "progress": False}
        fit(model, Windows(X, Y, 5), mean_squared_error, Drifts(), comm=comm, **options)

    outcomes = simulated_ranks.run(2, program)
    message = "the parameters of rank 1 are no longer those of rank 0"
    assert all(message in str(one.error) for one in outcomes)
