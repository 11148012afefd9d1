"""Trainings that processes share: the same bits for any number of them, and without MPI."""

import json
import os

import numpy as np
import pytest
from support import launch, shared_trainings, simulated_ranks

from recurrent import LSTM, CharLM, Dropout, Linear, Sequential, fit
from recurrent.conformance.tolerance import assert_close
from recurrent.data import Batch
from recurrent.losses import mean_squared_error
from recurrent.models import storage
from recurrent.optim import SGD, Adam
from recurrent.training import checkpoint
from recurrent.training.checkpoint import Checkpoint
from recurrent.training.state import TrainingState
from recurrent.training.workers import Workers

SIZES = (1, 2, 4, 8)


@pytest.fixture(scope="module")
def alone():
    return json.loads(json.dumps(shared_trainings.everything()))


@pytest.fixture(scope="module", params=SIZES)
def shared(request, tmp_path_factory):
    """What each rank of so many processes found."""
    pytest.importorskip("mpi4py")
    folder = tmp_path_factory.mktemp("shared")
    module = "support.shared_trainings"
    done = launch.run(request.param, "-m", "mpi4py", "-m", module, folder)
    assert done.returncode == 0, done.stderr
    found = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    assert len(found) == request.param
    return found


@pytest.mark.parametrize("case", shared_trainings.CASES)
def test_same_bits_for_any_number_of_processes(alone, shared, case):
    for found in shared:
        assert found[case] == alone[case]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", shared_trainings.MORE)
def test_same_bits_of_threads_in_the_place_of_processes(case, size):
    train = shared_trainings.MORE[case]
    expected = train(None)
    for one in simulated_ranks.run(size, train):
        assert one.error is None
        assert one.value == expected


def test_training_resumes_with_another_number_of_processes(tmp_path):
    pytest.importorskip("mpi4py")
    text, whole, parts = tmp_path / "text.txt", tmp_path / "whole", tmp_path / "parts"
    text.write_text(shared_trainings.TEXT)
    train = [
        "-m",
        "recurrent",
        "train",
        "--hidden",
        "8",
        "--embedding",
        "4",
        "--dropout",
        "0.2",
        "--seq",
        "8",
        "--batch",
        "11",
    ]
    options = ["--validate-every", "5", "--shards", "4"]
    done = launch.run(None, *train, text, *options, "--updates", 30, "--out", whole)
    assert done.returncode == 0, done.stderr
    for size, updates in ((4, 10), (2, 20), (1, 25), (None, 30)):
        more = ["--resume"] if updates > 10 else [*train[3:], *options]
        line = ["-m", "recurrent", "train", text, *more, "--updates", updates, "--out", parts]
        done = launch.run(size, *line)
        assert done.returncode == 0, done.stderr
    one, other = CharLM.load(whole), CharLM.load(parts)
    expected, found = (
        shared_trainings.left(lm.model, lm.training, lm.history) for lm in (one, other)
    )
    assert found == expected
    done = launch.run(None, "-m", "recurrent", "info", parts)
    assert "Trained for 30 updates in 4 shards with Adam" in done.stdout


# The sum of shards


def data(N=7, T=5, dtype=np.float64):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((T, N, k)).astype(dtype) for k in (3, 2))


@pytest.mark.parametrize("shards", [2, 4, 16])
def test_shards_train_like_whole_batches(shards):
    """The gradient is that of the mean over all valid entries, whatever each shard has of them."""
    x, y = data()
    lengths = np.array([5, 0, 1, 5, 2, 3, 0])
    flats = []
    for count in (1, shards):
        model = Sequential(LSTM(3, 4), Linear(4, 2), dtype="float64")
        batches = [Batch(x, y, lengths)]
        history = fit(
            model, batches, mean_squared_error, SGD(0.1), updates=3, shards=count, progress=False
        )
        flats.append(model.flat)
    assert_close(flats[1], flats[0], terms=3 * x.size)
    assert history.losses[-1] < history.losses[0]


def test_one_shard_trains_as_without():
    x, y = data(dtype=np.float32)
    flats = []
    for options in ({}, {"shards": 1}):
        model = Sequential(LSTM(3, 4), Dropout(0.5), Linear(4, 2))
        fit(model, [(x, y)], mean_squared_error, Adam(), updates=3, progress=False, **options)
        flats.append(model.flat)
    assert np.array_equal(*flats)


def test_the_order_of_the_sum_is_a_balanced_tree():
    """The gradient of each shard, trained alone, added in pairs, is that of all."""
    x, y = data(N=8, dtype=np.float32)

    def gradient(rows, shards):
        model = Sequential(LSTM(3, 4), Linear(4, 2))
        before = model.flat.copy()
        batches = [Batch(x[:, rows], y[:, rows])]
        fit(model, batches, summed, SGD(1.0), updates=1, shards=shards, progress=False)
        return before - model.flat

    def summed(outputs, targets, lengths=None):
        value, dy = mean_squared_error(outputs, targets)
        return value, dy * np.float32(outputs.size)

    summed.entries = lambda y, targets, lengths: 1
    parts = [gradient(slice(k, k + 1), 1) for k in range(8)]
    model = Sequential(LSTM(3, 4), Linear(4, 2))
    before = model.flat.copy()
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    assert_close(gradient(slice(None), 8) * 8, parts[0], terms=3 * x.size, scale=abs(before).max())


@pytest.mark.parametrize("shards", [3, 0, -1, 2.0, True])
def test_shards_are_a_power_of_two(shards):
    x, y = data()
    model = Sequential(LSTM(3, 4), Linear(4, 2), dtype="float64")
    with pytest.raises((ValueError, TypeError), match="shards must be"):
        fit(model, [(x, y)], mean_squared_error, Adam(), shards=shards, progress=False)


def test_shards_are_part_of_the_training(tmp_path):
    x, y = data(dtype=np.float32)
    model = Sequential(LSTM(3, 4), Linear(4, 2))
    state = TrainingState(Adam())
    options = dict(resume=state, progress=False)
    fit(model, [(x, y)], mean_squared_error, updates=2, shards=4, **options)
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, Checkpoint(model, training=state))
    loaded = checkpoint.load(path)
    assert (loaded.training.shards, loaded.training.seed) == (4, state.seed)
    message = "resume needs the number of shards that the training began with: 4, got 2"
    with pytest.raises(ValueError, match=message):
        fit(model, [(x, y)], mean_squared_error, updates=3, shards=2, **options)
    fit(model, [(x, y)], mean_squared_error, updates=3, **options)  # takes those of resume
    assert state.history.updates == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("shards", 3, "training.shards must be a power of two"),
        ("shards", "4", "training.shards must be an int"),
        ("shards", 2**40, "training.shards must be at most"),
        ("seed", -1, "training.seed must be at least 0"),
        ("seed", 0.5, "training.seed must be an int"),
        ("seed", None, "training must have the seed of its 4 shards"),
    ],
)
def test_files_with_other_shards_are_refused(tmp_path, name, value, message):
    model, state, path = Sequential(LSTM(3, 4), Linear(4, 2)), TrainingState(Adam()), tmp_path / "m"
    batches = [tuple(data(dtype=np.float32))]
    fit(model, batches, mean_squared_error, resume=state, shards=4, progress=False)
    checkpoint.save(path, Checkpoint(model, training=state))
    _, values, arrays = storage.read(path)
    values["training"][name] = value
    storage.write(path, arrays, storage.encoded(values))
    with pytest.raises(ValueError, match=message):
        checkpoint.load(path)


def test_a_weight_of_a_batch_cannot_be_cut():
    x, y = data(dtype=np.float32)
    model = Sequential(LSTM(3, 4), Linear(4, 2))
    with pytest.raises(ValueError, match="weight"):
        fit(model, [Batch(x, y, weight=3)], mean_squared_error, Adam(), shards=2, progress=False)


def test_a_loss_that_is_not_finite_leaves_model_and_state_as_before():
    x, y = data(N=8, dtype=np.float32)
    bad = x.copy()
    bad[2, 5] = np.nan
    model = Sequential(LSTM(3, 4), Dropout(0.5), Linear(4, 2))
    state = TrainingState(Adam())
    batches = [(x, y), (bad, y)]
    with pytest.raises(FloatingPointError, match=r"update 2: .* x has nan at \(2, 1, 0\)"):
        fit(model, batches, mean_squared_error, shards=4, resume=state, progress=False)
    assert (state.history.updates, state.cursor) == (1, 1)
    fit(model, [(x, y), (x, y)], mean_squared_error, resume=state, updates=2, progress=False)
    whole = Sequential(LSTM(3, 4), Dropout(0.5), Linear(4, 2))
    batches = [(x, y), (x, y)]
    fit(whole, batches, mean_squared_error, Adam(), shards=4, updates=2, progress=False)
    assert np.array_equal(model.flat, whole.flat)


# The exchange


class Alone:
    """A communicator of one process, or of more than there are."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    Isend = Irecv = Abort = allgather = None


def test_what_no_communicator_is():
    with pytest.raises(TypeError, match="comm must be a communicator of mpi4py"):
        Workers(4)
    with pytest.raises(TypeError, match="comm must be a communicator of mpi4py"):
        Workers(0)  # false, as MPI.COMM_NULL is
    with pytest.raises(ValueError, match="must be a power of two, got 6: start 4 or 8"):
        Workers(Alone(0, 6))
    with pytest.raises(ValueError, match="shards must be at least the 4 processes"):
        Workers(Alone(0, 4)).check_shards(2)
    assert Workers(Alone(2, 4)).check_shards(8) == range(4, 6)


# Threads

THREADS = """
import os
import numpy as np
from mpi4py import MPI
from recurrent import LSTM, Sequential, fit, get_num_threads
from recurrent.losses import mean_squared_error
from recurrent.optim import Adam

found = [get_num_threads()]
x = np.ones((3, 4, 2), np.float32)
note = lambda update, history: found.append(get_num_threads())
options = dict(shards=4, comm=MPI.COMM_WORLD, callback=note, progress=False)
fit(Sequential(LSTM(2, 2)), [(x, x)], mean_squared_error, Adam(), **options)
found.append(get_num_threads())
if MPI.COMM_WORLD.rank == 0:
    print(*found)
"""


@pytest.mark.parametrize(("size", "given"), [(2, None), (4, None), (2, "1"), (2, "3")])
def test_processes_of_a_machine_share_its_cores(size, given):
    """Unless a number of threads is set; afterwards the number is that of before."""
    pytest.importorskip("mpi4py")
    env = launch.environment()
    env.pop("NUMBA_NUM_THREADS", None)
    env |= {} if given is None else {"NUMBA_NUM_THREADS": given}
    done = launch.run(size, "-m", "mpi4py", "-c", THREADS, env=env)
    assert done.returncode == 0, done.stderr
    cores = len(os.sched_getaffinity(0))
    most = cores if given is None else int(given)
    during = max(1, cores // size) if given is None else most
    assert done.stdout.split() == [str(most), str(during), str(most)]
