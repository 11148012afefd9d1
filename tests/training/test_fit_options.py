"""Options of fit: frozen parameters, rates by prefix, joined batches, averages, monitors, ends."""

import copy

import numpy as np
import pytest

from recurrent import GRU, LSTM, Dropout, Embedding, Linear, Sequential, metrics, optim, schedules
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.data import Batch, Batches, Windows
from recurrent.losses import mean_squared_error, softmax_cross_entropy
from recurrent.training import checkpoint
from recurrent.training.checkpoint import Checkpoint
from recurrent.training.fit import evaluate, fit
from recurrent.training.history import History
from recurrent.training.state import TrainingState

V = 5


def text(steps=60, N=3):
    ids = np.arange(steps)[:, None] + np.arange(N)
    return ids % V, (ids + 1) % V


def tagger(dropout=0.0, dtype="float32"):
    return Sequential(
        Embedding(V, 4), LSTM(4, 6), Dropout(dropout), Linear(6, V), rng=0, dtype=dtype
    )


def train(model, rule, batches=None, **options):
    batches = Windows(*text(), 10) if batches is None else batches
    options = dict(epochs=2, progress=False) | options
    return fit(model, batches, softmax_cross_entropy, rule, **options)


# Frozen parameters and rates by prefix


@pytest.mark.parametrize("rule", [optim.AdamW, optim.SGD, optim.RMSprop])
@pytest.mark.parametrize("how", ["freeze", "trainable", "str"])
def test_frozen_parameters_stay_and_others_move_as_without_them(rule, how):
    model = tagger()
    before = {name: a.copy() for name, a in model.parameters.items()}
    freeze = {"freeze": ["0.", "3.bias"], "str": "0.", "trainable": None}[how]
    if how == "trainable":
        model[0].trainable = False
    train(model, rule(1e-2), freeze=freeze, clip_norm=1.0)
    for name, a in model.parameters.items():
        stays = name.startswith("0.") or (name.startswith("3.bias") and how == "freeze")
        assert np.array_equal(a, before[name]) == stays, name


def test_the_norm_that_is_clipped_is_that_of_what_is_trained():
    x, y = np.full((1, 1, 2), 3.0), np.zeros((1, 1, 1))
    model = Sequential(Linear(2, 1), Linear(1, 1), dtype="float64", rng=0)
    alone = copy.deepcopy(model)
    options = dict(clip_norm=0.01, progress=False, freeze=["0."])
    fit(model, [(x, y)], mean_squared_error, optim.SGD(1.0), **options)
    moved = model.flat - alone.flat
    assert np.linalg.norm(moved) == pytest.approx(0.01, rel=1e-4)


def test_rates_by_prefix_equal_torchs_parameter_groups():
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3, 4)), rng.standard_normal((6, 3, 2))
    model = Sequential(GRU(4, 3), Linear(3, 2), dtype="float64", rng=0)
    theirs = torch.nn.ModuleList([torch.nn.GRU(4, 3), torch.nn.Linear(3, 2)]).double()
    theirs.load_state_dict({n: torch.tensor(a) for n, a in model.parameters.items()})
    named = dict(theirs.named_parameters())
    groups = [
        {"params": [a for n, a in named.items() if n.startswith("0.") and "bias" not in n]},
        {"params": [a for n, a in named.items() if n.startswith("0.bias")], "lr": 3e-2},
        {"params": [a for n, a in named.items() if n.startswith("1.")], "lr": 1e-3},
    ]
    groups[0]["lr"] = 1e-4
    rule = torch.optim.Adam(groups, weight_decay=0.1)
    for _ in range(5):
        rule.zero_grad()
        torch.nn.functional.mse_loss(
            theirs[1](theirs[0](torch.tensor(x))[0]), torch.tensor(y)
        ).backward()
        rule.step()
    adam = optim.Adam(1e-3, weight_decay=0.1)
    lr = {"0.": 1e-4, "0.bias": lambda step: 3e-2}
    fit(model, [(x, y)], mean_squared_error, adam, epochs=5, lr=lr, progress=False)
    for name, a in model.parameters.items():
        assert_close(a, named[name].detach().numpy(), 100, 1.0)


def test_one_rate_for_all_has_the_bits_of_the_plain_optimiser():
    expected, model = tagger(), tagger()
    train(expected, optim.Adam(1e-2))
    train(model, optim.Adam(1.0), lr={"": 1e-2})
    assert_same_bits(model.flat, expected.flat)
    model = tagger()
    rates = {f"{k}.": 1e-2 for k in (0, 1, 3)}
    train(model, optim.Adam(1.0), lr=rates)
    assert_same_bits(model.flat, expected.flat)


def test_an_optimiser_with_an_update_of_its_own_is_refused():
    class Own(optim.SGD):
        def update(self, flat, gradient):
            super().update(flat, gradient)

    with pytest.raises(TypeError, match="the update of Own must have the argument `parts`"):
        train(tagger(), Own(0.1), freeze=["0."])
    del optim.OPTIMIZERS["Own"]


# Several batches in one update


class Recorder(optim.SGD):
    """An optimiser that records the gradients."""

    def __init__(self, lr=0.1):
        super().__init__(lr)
        self.gradients = []

    def update(self, flat, gradient, parts=None):
        self.gradients.append(gradient.copy())
        super().update(flat, gradient, parts)


@pytest.mark.parametrize("weights", [False, True])
def test_accumulated_gradients_are_those_of_the_joined_batch(weights):
    rng = np.random.default_rng(1)
    x, ids = rng.standard_normal((7, 12, 3)), rng.integers(0, V, (7, 12))
    lengths, weigh = rng.integers(0, 8, 12), rng.random(12) if weights else None
    lengths[4:6] = 0  # a batch without any entry

    def batches(size):
        cuts = [slice(k, k + size) for k in range(0, 12, size)]
        return [
            Batch(x[:, c], ids[:, c], lengths[c], sample_weight=None if weigh is None else weigh[c])
            for c in cuts
        ]

    whole, parts, short = Recorder(), Recorder(), Recorder()
    losses = []
    for rule, size, k in ((whole, 12, 1), (parts, 2, 6), (short, 2, 4)):
        model = Sequential(LSTM(3, 4), Linear(4, V), rng=0, dtype="float64")
        history = fit(
            model, batches(size), softmax_cross_entropy, rule, accumulate=k, progress=False
        )
        losses.append(history.losses)
    assert_close(parts.gradients[0], whole.gradients[0], 100)
    assert_close(losses[1][0], losses[0][0], 100)
    assert (len(whole.gradients), len(parts.gradients), len(short.gradients)) == (1, 1, 2)
    model = Sequential(LSTM(3, 4), Linear(4, V), rng=0, dtype="float64")
    first = Recorder()
    fit(
        model,
        [
            Batch(
                x[:, :8],
                ids[:, :8],
                lengths[:8],
                sample_weight=None if weigh is None else weigh[:8],
            )
        ],
        softmax_cross_entropy,
        first,
        progress=False,
    )
    assert_close(short.gradients[0], first.gradients[0], 100)


@pytest.mark.parametrize("kind", ["sequences", "steps", "batch first", "list", "list of steps"])
def test_weights_of_samples_go_with_their_sequences(kind):
    """A weight of 0 leaves a sequence out; twice the weight counts as much as two of them."""
    rng = np.random.default_rng(2)
    lengths, counts = np.array([5, 2, 4, 1, 3]), np.array([1, 0, 2, 1, 1])
    x, ids = (
        [rng.standard_normal((n, 3)) for n in lengths],
        [rng.integers(0, V, n) for n in lengths],
    )
    model = Sequential(LSTM(3, 4), Linear(4, V), rng=0, dtype="float64")
    repeated = [n for n in range(5) for _ in range(counts[n])]
    plain = Batches([x[n] for n in repeated], [ids[n] for n in repeated], 2)
    expected = evaluate(model, plain, softmax_cross_entropy)
    padded = np.zeros((5, 5, 3)), np.zeros((5, 5), int)
    for n, (a, b) in enumerate(zip(x, ids, strict=True)):
        padded[0][: len(a), n], padded[1][: len(b), n] = a, b
    steps = np.repeat(counts[None], 5, 0)
    first = [np.swapaxes(a, 0, 1) for a in padded]
    batches = {
        "sequences": lambda: Batches(*padded, 2, lengths=lengths, sample_weight=counts),
        "steps": lambda: Batches(*padded, 2, lengths=lengths, sample_weight=steps),
        "batch first": lambda: Batches(
            *first, 2, lengths=lengths, sample_weight=steps.T, batch_first=True
        ),
        "list": lambda: Batches(x, ids, 2, sample_weight=counts),
        "list of steps": lambda: Batches(
            x, ids, 2, sample_weight=[np.full(n, c) for n, c in zip(lengths, counts, strict=True)]
        ),
    }[kind]()
    assert_close(evaluate(model, batches, softmax_cross_entropy), expected, 100)
    whole, parts = Recorder(), Recorder()
    copies = copy.deepcopy(model)
    fit(copies, plain, softmax_cross_entropy, whole, accumulate=9, progress=False)
    fit(model, batches, softmax_cross_entropy, parts, accumulate=9, progress=False)
    assert_close(parts.gradients[0], whole.gradients[0], 100)


def test_updates_of_several_batches_are_counted_by_epoch():
    batches = Batches(*text(6, 14), 2)  # 7 batches: 3, 3 and 1
    history = train(tagger(), optim.SGD(0.1), batches, epochs=3, accumulate=3, validation=batches)
    assert history.updates == 9
    assert [update for update, _ in history.validation] == [3, 6, 9]
    state = TrainingState(optim.SGD(0.1))
    batches.cursor = 0
    train(tagger(), None, batches, updates=2, accumulate=3, resume=state)
    assert (state.cursor, state.history.updates) == (6, 2)
    assert train(tagger(), None, batches, epochs=1, accumulate=3, resume=state).updates == 3


# Averaged parameters


def test_the_average_equals_torchs():
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    utils = torch.optim.swa_utils
    model, walked = tagger(dtype="float64"), []
    state = TrainingState(optim.Adam(1e-1))
    held = torch.nn.Linear(1, 1, bias=False).double()
    held.weight = torch.nn.Parameter(torch.tensor(model.flat))
    average = utils.AveragedModel(held, multi_avg_fn=utils.get_ema_multi_avg_fn(0.8))

    def follow(update, history):
        walked.append(model.flat.copy())
        with torch.no_grad():
            held.weight[:] = torch.tensor(model.flat)
        average.update_parameters(held)

    train(model, None, resume=state, ema=0.8, callback=follow)
    expected = average.module.weight.detach().numpy()
    assert_close(model.flat, expected, 20)
    assert_same_bits(state.average, model.flat)
    assert_same_bits(state.latest, walked[-1])
    assert np.abs(model.flat - walked[-1]).max() > 1e-3


def test_validations_use_the_average_and_the_best_average_is_kept():
    model, windows = tagger(), Windows(*text(), 10)
    seen = []

    def look(update, history):
        seen.append((state.average.copy(), history.validation[-1][1]))

    state = TrainingState(optim.SGD(30.0))
    history = train(
        model, None, resume=state, ema=0.5, validation=windows, validate_every=1, callback=look
    )
    best = min(range(len(seen)), key=lambda k: seen[k][1])
    assert history.best == (best + 1, seen[best][1])
    assert_same_bits(model.flat, seen[best][0])
    assert evaluate(model, windows, softmax_cross_entropy) == history.best[1]
    other = tagger()
    train(other, optim.SGD(30.0), ema=0.5, validation=windows, validate_every=1, keep_best=False)
    assert_same_bits(other.flat, seen[-1][0])


def test_averages_that_are_no_best_ones_are_not_taken_for_them():
    model, windows = tagger(), Windows(*text(), 10)
    state = TrainingState(optim.SGD(30.0))
    options = dict(resume=state, ema=0.5, validation=windows, validate_every=1)
    history = train(model, None, keep_best=False, updates=4, **options)
    assert history.best[0] < history.updates
    with pytest.raises(ValueError, match=r"the best parameters .* are not kept"):
        train(model, None, **options)


# Metrics, what they steer, and callbacks


def test_evaluate_returns_metrics_of_all_entries():
    model, (x, y) = tagger(), text(20, 7)
    lengths = np.array([20, 3, 0, 7, 1, 12, 20])
    out = model.forward(x, lengths=lengths)[0]
    for size in (1, 3, 7):
        found = evaluate(
            model,
            Batches(x, y, size, lengths=lengths),
            softmax_cross_entropy,
            metrics=["accuracy", metrics.macro_f1, metrics.confusion_matrix],
        )
        assert list(found) == ["loss", "accuracy", "macro_f1", "confusion_matrix"]
        assert found["accuracy"] == metrics.accuracy(out, y, lengths)
        assert found["macro_f1"] == metrics.macro_f1(out, y, lengths)
        np.testing.assert_array_equal(
            found["confusion_matrix"], metrics.confusion_matrix(out, y, lengths)
        )


def scripted(path, higher):
    """A metric that follows a path, one value for each validation."""
    values = iter(path)

    def score(y, targets, lengths=None):
        return next(values)

    score.higher_is_better = higher
    return score


@pytest.mark.parametrize(
    ("path", "higher", "best", "last"),
    [
        ([1, 3, 2, 3, 2, 9], True, 2, 5),
        ([3, 1, 2, 1, 2, 0], False, 2, 5),
        ([np.nan, np.nan, 1, np.nan, 0, 1, 9], True, 3, 6),
        ([-np.inf, np.inf, np.inf, np.inf, np.inf, 0], True, 2, 5),
    ],
)
def test_a_metric_steers_patience_and_the_best_parameters(path, higher, best, last):
    x, y = text(10, 1)
    model, walk = tagger(), {}
    history = fit(
        model, [(x, y)], softmax_cross_entropy, optim.SGD(0.1), epochs=9, validation=[(x, y)],
        metrics=scripted(path, higher), monitor="score", patience=3, progress=False,
        callback=lambda update, history: walk.__setitem__(update, model.flat.copy()),
    )  # fmt: skip
    assert (history.updates, history.stopped) == (last, "patience")
    assert history.best == (best, path[best - 1])
    assert history.monitor == "score"
    assert_same_bits(model.flat, walk[best])


def test_another_monitor_does_not_take_the_old_best_for_its_own():
    x, y = text(10, 1)
    model, state = tagger(), TrainingState(optim.SGD(0.1))
    score = scripted([5, 1, 1, 1, 1, 1], False)
    options = dict(
        batches=[(x, y)], validation=[(x, y)], metrics={"score": score}, resume=state,
    )  # fmt: skip
    assert train(model, None, epochs=3, **options).best[0] == 3  # the loss falls
    with pytest.raises(ValueError, match="ran with another monitor"):
        train(model, None, epochs=1, monitor="score", **options)
    train(model, None, epochs=1, **options)


@pytest.mark.parametrize("value", [True, np.True_])
def test_a_callback_ends_training_by_returning_true(value):
    calls = []
    callbacks = [
        lambda update, history: value if update == 4 else None,
        lambda update, history: calls.append(update),
        lambda update, history: "any other value is ignored",
    ]
    history = train(tagger(), optim.SGD(0.1), callback=callbacks)
    assert (history.updates, history.stopped) == (4, "callback")
    assert calls == [1, 2, 3, 4]


# Resuming


def everything(model, state, **options):
    x, y = text(6, 14)
    return fit(
        model,
        Batches(x, y, 2, rng=3),
        softmax_cross_entropy,
        resume=state,
        validation=Batches(x, (y + 1) % V, 4),
        validate_every=2,
        metrics=["accuracy", "macro_f1"],
        monitor="accuracy",
        freeze=["0."],
        lr={"1.": schedules.OneCycle(0.3, 20), "1.bias": 0.05},
        accumulate=3,
        ema=0.7,
        clip_norm=1.0,
        progress=False,
        **options,
    )


def test_a_training_with_all_options_resumes_from_any_update_with_the_same_bits(tmp_path):
    """A checkpoint is saved after each update, as a program that may be killed does."""
    rule = schedules.ReduceOnPlateau(0.2, factor=0.5, patience=1)
    whole, state = tagger(0.3), TrainingState(optim.Adam(rule))

    def save(update, history):
        state.restore_best(whole)
        checkpoint.save(tmp_path / f"{update}.safetensors", Checkpoint(whole, training=state))
        state.restore_latest(whole)

    expected = everything(whole, state, updates=15, callback=save)
    assert expected.lr < 0.2, "the plateau has been found"
    assert expected.best[0] < 15
    for update in range(1, 16):
        loaded = checkpoint.load(tmp_path / f"{update}.safetensors")
        model, training = loaded.model, loaded.training
        history = everything(model, training, updates=15)
        for name in ("losses", "validation", "metrics", "best", "lr", "monitor", "smoothed"):
            assert getattr(history, name) == getattr(expected, name), name
        assert_same_bits(model.flat, whole.flat)
        assert_same_bits(training.latest, state.latest)
        assert_same_bits(training.average, state.average)


def test_an_older_history_of_one_metric_without_a_name_is_read():
    pairs = [(2, 0.5), (4, 0.25)]
    values = {"losses": [1.0, 1.0], "metrics": [list(pair) for pair in pairs]}
    assert History.from_dict(values).metrics == {"metric": pairs}
    arrays, facts = History(losses=[1.0], metrics={"metric": pairs}).to_arrays()
    arrays = {name.replace("metrics.metric", "metrics"): a for name, a in arrays.items()}
    for name in ("monitor", "lr"):
        del facts[name]
    assert History.from_arrays(arrays, facts).metrics == {"metric": pairs}
