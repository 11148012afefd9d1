"""Optimisers and schedules against PyTorch, update by update; stored state; gradient clipping."""

import json
import re

import numpy as np
import pytest

from recurrent import Linear, Sequential, fit, optim, schedules
from recurrent.charlm.presets import TorchRnnAdam, last_decay
from recurrent.charlm.recipe import in_updates
from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.kernels import threads
from recurrent.losses import mean_squared_error
from recurrent.optim import SGD, Adagrad, Adam, AdamW, RMSprop, clip_norm, clip_value
from recurrent.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
)
from recurrent.training import spec

P, STEPS = 37, 25
CASES = [
    (SGD, dict(lr=0.1)),
    (SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.01)),
    (SGD, dict(lr=0.1, momentum=0.9, dampening=0.3)),
    (SGD, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    (RMSprop, dict()),
    (RMSprop, dict(lr=2e-3, alpha=0.95, eps=1e-4, weight_decay=0.01)),
    (RMSprop, dict(momentum=0.9)),
    (RMSprop, dict(centered=True)),
    (RMSprop, dict(momentum=0.5, centered=True, weight_decay=0.1)),
    (Adagrad, dict()),
    (
        Adagrad,
        dict(lr=0.1, lr_decay=0.05, weight_decay=0.01, initial_accumulator_value=0.1, eps=1e-6),
    ),
    (Adam, dict()),
    (Adam, dict(lr=0.01, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.1)),
    (Adam, dict(lr=0.01, amsgrad=True)),
    (AdamW, dict()),
    (AdamW, dict(lr=0.01, betas=(0.5, 0.9), weight_decay=0.2, amsgrad=True)),
]
NAMED = [
    pytest.param(*case, id=f"{case[0].__name__}-{'-'.join(case[1]) or 'defaults'}")
    for case in CASES
]


def gradients(dtype, size=P, steps=STEPS, seed=0):
    """Return shrinking gradients, so that maxima and running means differ from the last one."""
    rng = np.random.default_rng(seed)
    scale = np.linspace(2, 0.1, steps)[:, None]
    return (scale * rng.standard_normal((steps, size))).astype(dtype)


def run(optimizer, flat, gradients):
    path = []
    for g in gradients:
        optimizer.update(flat, g)
        path.append(flat.copy())
    return np.array(path)


@pytest.mark.parametrize(("kind", "options"), NAMED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_torch(kind, options, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    torch.set_num_threads(1)
    start, grads = np.linspace(-1, 1, P).astype(dtype), gradients(dtype)
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, kind.__name__)([theirs], **options)
    expected = []
    for g in grads:
        theirs.grad = torch.tensor(g)
        optimizer.step()
        expected.append(theirs.detach().numpy().copy())
    # Centred RMSprop: the variance starts as alpha of its first term, so nothing cancels.
    assert_close(
        run(kind(**options), start, grads),
        np.array(expected),
        STEPS,
        what=f"{kind.__name__} {options}",
    )


@pytest.mark.parametrize(("kind", "options"), NAMED)
def test_defaults_equal_torchs(kind, options):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    defaults = getattr(torch.optim, kind.__name__)([torch.nn.Parameter(torch.zeros(1))]).defaults
    mine = kind()
    assert {**mine.options, "lr": mine.lr} == {
        k: v for k, v in defaults.items() if k in mine.options or k == "lr"
    }


@pytest.mark.parametrize(("kind", "options"), NAMED)
def test_description_and_arrays_are_the_whole_optimizer(kind, options):
    """An optimiser that is described as JSON and rebuilt midway continues bit for bit."""
    grads = gradients("float32")
    flat, again = np.ones((2, P), np.float32)
    first = kind(**options)
    whole = run(first, flat, grads)
    second = kind(**options)
    run(second, again, grads[:10])
    second = optim.build(json.loads(json.dumps(second.describe())), second.arrays)
    assert second.steps == 10
    assert_same_bits(run(second, again, grads[10:]), whole[10:])
    assert second.describe() == first.describe()


@pytest.mark.parametrize(("kind", "options"), NAMED)
def test_results_do_not_depend_on_the_size_of_blocks(kind, options, monkeypatch):
    grads = gradients("float32", 100, 3)
    whole = run(kind(**options), np.ones(100, np.float32), grads)
    monkeypatch.setattr(optim, "BLOCK", 7)
    assert_same_bits(run(kind(**options), np.ones(100, np.float32), grads), whole)


@pytest.mark.parametrize(("kind", "options"), NAMED)
@pytest.mark.parametrize("count", [2, 4])
def test_results_do_not_depend_on_threads(kind, options, count, monkeypatch):
    grads = 100 * gradients("float32", 100, 3)
    whole, norms = run(kind(**options), np.ones(100, np.float32), grads), []
    monkeypatch.setattr(optim, "BLOCK", 7)
    norms.append(clip_norm(grads.copy(), 1.0))
    monkeypatch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1e-3)
    monkeypatch.setattr(threads, "available", lambda: count)
    norms.append(clip_norm(grads.copy(), 1.0))
    assert norms[0] == norms[1]
    assert_same_bits(run(kind(**options), np.ones(100, np.float32), grads), whole)


@pytest.mark.parametrize(("kind", "options"), NAMED)
def test_what_is_not_finite_stays_in_its_entry(kind, options):
    grads = gradients("float32", steps=3)
    grads[1, [5, 36]] = np.nan
    path = run(kind(**options), np.ones(P, np.float32), grads)
    assert np.isfinite(path[0]).all()
    assert np.flatnonzero(np.isnan(path[1])).tolist() == [5, 36]
    assert np.flatnonzero(np.isnan(path[2])).tolist() == [5, 36]


def test_options_may_change_between_updates():
    """The equations are traced again when options change, and only then."""
    a, b = np.ones((2, P))
    changed, constant = SGD(0.1, momentum=0.9), SGD(0.1, momentum=0.9, weight_decay=0.5)
    g = gradients("float64")
    changed.update(a, g[0])
    constant.update(b, g[0] - 0.5 * b)
    changed.options["weight_decay"] = 0.5
    changed.update(a, g[1])
    constant.update(b, g[1])
    assert_close(a, b, 2)


def test_update_does_not_modify_the_gradient():
    g = gradients("float32")[0]
    before = g.copy()
    for kind, options in CASES:
        kind(**options).update(np.ones(P, np.float32), g)
        assert_same_bits(g, before)


def torch7_adam(lr, path, grads, eps, began=()):
    """optim.adam of Torch 7 by hand; it restarts before the updates in `began`."""
    p = path.copy()
    for update, g in enumerate(grads):
        if update == 0 or update in began:
            t, m, v = 0, np.zeros_like(p), np.zeros_like(p)
        t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - lr(update) * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + eps)
        yield p


@pytest.mark.parametrize("eps", [1e-8, 1e-2])
def test_adam_of_torch_7(eps):
    g, start = gradients("float64"), np.linspace(-1, 1, P)
    expected = np.array(list(torch7_adam(lambda _: 0.01, start, g, eps)))
    assert_close(run(TorchRnnAdam(0.01, eps=eps), start.copy(), g), expected, 2 * STEPS)
    ours_otherwise = run(Adam(0.01, eps=eps), start.copy(), g)
    assert (np.abs(ours_otherwise - expected).max() > 1e-4) == (eps == 1e-2), (
        "the test tells the two apart"
    )


@pytest.mark.parametrize("stop", [5, 6, 7, 9, 10])
def test_adam_that_restarts_where_the_rate_decays(stop):
    """Storing and rebuilding the optimiser before, at or after a restart changes no bit."""
    rate = StepDecay(0.01, every=4, factor=0.5, first=6)
    g, start = gradients("float64"), np.linspace(-1, 1, P)
    whole = run(TorchRnnAdam(rate), start.copy(), g)
    assert_close(
        whole, np.array(list(torch7_adam(rate, start, g, 1e-8, range(6, STEPS, 4)))), 2 * STEPS
    )
    first, flat = TorchRnnAdam(rate), start.copy()
    run(first, flat, g[:stop])
    again = optim.build(json.loads(json.dumps(first.describe())), first.arrays)
    assert_same_bits(run(again, flat, g[stop:]), whole[stop:])
    assert_same_bits(
        run(TorchRnnAdam(0.01, eps_hat=False), start.copy(), g),
        run(Adam(0.01), start.copy(), g),
        "without decays and eps_hat it is Adam",
    )


def test_adagrad_with_eps_inside_the_root():
    """A sum that starts at eps equals one with eps added under the root, as in min-char-rnn."""
    g, p, memory = gradients("float64"), np.linspace(-1, 1, P), np.zeros(P)
    mine, expected = run(Adagrad(0.1, initial_accumulator_value=1e-8, eps=0.0), p.copy(), g), []
    for step in g:
        memory += step * step
        p = p - 0.1 * step / np.sqrt(memory + 1e-8)
        expected.append(p)
    assert_close(mine, np.array(expected), STEPS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("limit", [0.5, 5.0, 1e6])
def test_clip_norm_equals_torch(dtype, limit):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    g = gradients(dtype)[0]
    theirs = [torch.nn.Parameter(torch.zeros(n, dtype=getattr(torch, dtype))) for n in (20, P - 20)]
    for p, part in zip(theirs, np.split(g, [20]), strict=True):
        p.grad = torch.tensor(part)
    expected = float(torch.nn.utils.clip_grad_norm_(theirs, limit))
    norm = clip_norm(g, limit)
    assert abs(norm - expected) <= tolerance(dtype, P, expected)
    assert_close(g, np.concatenate([p.grad.numpy() for p in theirs]), P)


def test_clip_norm_in_blocks_and_of_extreme_numbers(monkeypatch):
    g = gradients("float32", 100)[0]
    expected = float(np.sqrt(np.sum(g.astype(float) ** 2)))
    monkeypatch.setattr(optim, "BLOCK", 7)
    assert abs(clip_norm(g, 1e9) - expected) <= tolerance(float, 100, expected)
    large = np.full(4, 2e38, np.float32)
    assert clip_norm(large, 1.0) == pytest.approx(4e38), "squares of float32 are summed in float64"
    bad = np.array([1.0, np.inf, np.nan])
    assert not np.isfinite(clip_norm(bad, 1.0))
    np.testing.assert_array_equal(bad, [1.0, np.inf, np.nan])


def test_clip_value():
    g = np.array([-7.0, -1.0, 3.0, np.inf, np.nan], np.float32)
    clip_value(g, 2)
    np.testing.assert_array_equal(g, np.array([-2, -1, 2, 2, np.nan], np.float32))


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (Constant(0.1), ("ConstantLR", dict(factor=1.0))),
        (StepDecay(0.1, every=3, factor=0.5), ("StepLR", dict(step_size=3, gamma=0.5))),
        (Exponential(0.1, 0.9), ("ExponentialLR", dict(gamma=0.9))),
        (Cosine(0.1, steps=20), ("CosineAnnealingLR", dict(T_max=20))),
        (Cosine(0.1, steps=20, final=0.01), ("CosineAnnealingLR", dict(T_max=20, eta_min=0.01))),
    ],
)
def test_schedules_equal_torch(schedule, theirs):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = getattr(torch.optim.lr_scheduler, theirs[0])(optimizer, **theirs[1])
    for step in range(20):
        # torch computes each rate from the one before: an error that grows with the steps.
        assert abs(schedule(step) - scheduler.get_last_lr()[0]) <= tolerance(
            float, (step + 1) ** 2, 0.1
        )
        optimizer.step()
        scheduler.step()


def test_warmup_rises_to_the_full_rate_and_the_final_rate_stays():
    rates = [Cosine(0.1, steps=30, warmup=10, final=0.02)(step) for step in range(50)]
    np.testing.assert_allclose(rates[:10], 0.01 * np.arange(1, 11))
    assert rates[10] == 0.1
    assert (np.diff(rates[10:31]) < 0).all()
    assert rates[30:] == [0.02] * 20


@pytest.mark.parametrize(("every", "first"), [(3, None), (3, 1), (2, 5), (4, 0), (1, 2)])
def test_a_rate_that_decays_at_a_first_step_and_then_regularly(every, first):
    schedule, rate, since = StepDecay(1.0, every, 0.5, first), 1.0, 0
    begin = every if first is None else first
    for step in range(15):
        if step >= begin and (step - begin) % every == 0:
            rate, since = rate / 2, step
        assert (schedule(step), last_decay(schedule, step)) == (rate, since)


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize(("steps", "share"), [(50, 0.3), (7, 0.5), (20, 0.0), (20, 0.45)])
def test_one_cycle_equals_torchs(anneal, three_phase, steps, share):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.3, steps, pct_start=share, anneal_strategy=anneal, cycle_momentum=False,
        div_factor=10, final_div_factor=100, three_phase=three_phase,
    )  # fmt: skip
    ours = OneCycle(0.3, steps, share, anneal, 10, 100, three_phase)
    for step in range(steps):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    assert ours(steps + 5) == ours(steps - 1)


@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("cooldown", [0, 3])
def test_reduce_on_plateau_equals_torchs(higher, relative, cooldown):
    torch = pytest.importorskip("torch", reason="PyTorch is the outside oracle")
    for seed in range(5):
        values = np.random.default_rng(seed).standard_normal(60).cumsum().round(1)
        values[[7, 30]] = np.nan
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, "max" if higher else "min", factor=0.3, patience=2, threshold=0.05,
            threshold_mode="rel" if relative else "abs", cooldown=cooldown, min_lr=1e-3, eps=1e-4,
        )  # fmt: skip
        ours = ReduceOnPlateau(0.1, 0.3, 2, 0.05, relative, cooldown, 1e-3, 1e-4)
        rates = []
        for k, value in enumerate(values, 1):
            scheduler.step(value)
            rates.append(optimizer.param_groups[0]["lr"])
            assert ours.after(values[:k].tolist(), higher) == pytest.approx(rates[-1], rel=1e-12)
        assert len(set(rates)) > 2


@pytest.mark.parametrize("kind", [SGD, Adam, RMSprop])
def test_parts_are_updated_at_their_rates_and_the_rest_stays(kind):
    """Each part has the bits of an update of the whole at its rate."""
    rng = np.random.default_rng(3)
    flat, gradients = rng.standard_normal(1000), rng.standard_normal((4, 1000))
    whole, rates = {}, (0.1, 0.02)
    for rate in rates:
        whole[rate] = flat.copy()
        rule = kind(rate)
        for g in gradients:
            rule.update(whole[rate], g)
    mixed, rule = flat.copy(), kind(7.0)
    for g in gradients:
        rule.update(mixed, g, [(slice(0, 333), 0.1), (slice(500, 1000), 0.02)])
    np.testing.assert_array_equal(mixed[:333], whole[0.1][:333])
    np.testing.assert_array_equal(mixed[333:500], flat[333:500])
    np.testing.assert_array_equal(mixed[500:], whole[0.02][500:])
    assert rule.steps == 4


def test_a_schedule_sets_the_rate_of_each_update():
    flat, g = np.zeros(1), np.ones(1)
    path = run(SGD(StepDecay(1.0, every=2, factor=0.5)), flat, [g] * 5)
    assert (-np.diff(path[:, 0], prepend=0)).tolist() == [1, 1, 0.5, 0.5, 0.25]
    any_function = SGD(lambda step: 2.0)
    any_function.update(flat, g)
    with pytest.raises(
        TypeError, match="lr must be a number or one of Constant, StepDecay, Exponential, Cosine"
    ):
        any_function.describe()


@pytest.mark.parametrize(
    "lr",
    [
        0.1, Constant(0.1), StepDecay(0.1, 2, 0.5), Exponential(0.1, 0.9), Cosine(0.1, 9, 3, 0.01),
        OneCycle(0.1, 9, 0.2, "linear", three_phase=True), ReduceOnPlateau(0.1, relative=False),
    ],
)  # fmt: skip
def test_schedules_are_data(lr):
    assert schedules.build(json.loads(json.dumps(schedules.describe(lr)))) == lr


FLAT = np.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SGD(-1), ValueError, "SGD: lr must be at least 0, got -1"),
        (lambda: Adam(eps=float("nan")), ValueError, "Adam: eps must be at least 0, got nan"),
        (
            lambda: Adam(betas=(0.9, 1.0)),
            ValueError,
            "Adam: betas must be at least 0 and below 1, got 1.0",
        ),
        (lambda: SGD(nesterov=True), ValueError, "nesterov needs a momentum"),
        (
            lambda: Adam().update(FLAT, FLAT[:2]),
            ValueError,
            r"gradient must have the shape of flat = \(3,\), got \(2,\)",
        ),
        (
            lambda: Adam().update(FLAT, FLAT.astype("float32")),
            TypeError,
            "gradient must have the dtype of flat, float64, got float32",
        ),
        (
            lambda: Adam().update(FLAT[None], FLAT[None]),
            ValueError,
            r"flat must be \(P,\), got \(1, 3\)",
        ),
        (
            lambda: optim.build({"type": "Lion", "options": {}, "steps": 0}),
            ValueError,
            "unknown optimizer 'Lion'; known are SGD",
        ),
        (
            lambda: Adam().update(np.zeros(6)[::2], FLAT),
            ValueError,
            "flat must be C-contiguous and writeable",
        ),
        (
            lambda: clip_norm(FLAT.astype(int), 1.0),
            TypeError,
            "gradient must be float32 or float64, got int64",
        ),
        (
            lambda: optim.build({**Adam().describe(), "steps": 1}),
            ValueError,
            "state of Adam must be m, v, got nothing",
        ),
        (
            lambda: optim.build(Adam().describe(), {"m": FLAT}),
            ValueError,
            "state of Adam must be nothing, got m",
        ),
        (
            lambda: schedules.build({"type": "Zigzag", "options": {}}),
            ValueError,
            "unknown schedule 'Zigzag'",
        ),
        (lambda: Cosine(0.1, steps=5, warmup=5), ValueError, "steps must be above warmup"),
        (lambda: StepDecay(0.1, every=0, factor=1), ValueError, "every must be at least 1, got 0"),
        (lambda: StepDecay(0.1, every=2.0, factor=1), TypeError, "StepDecay: every must be an int"),
        (lambda: StepDecay(0.1, 2, factor=0), ValueError, "factor must be above 0, got 0"),
        (lambda: StepDecay(0.1, 2, 0.5, first=-1), ValueError, "first must be at least 0, got -1"),
        (lambda: Exponential("0.1", 0.9), TypeError, "Exponential: lr must be a number, got str"),
        (lambda: Exponential(0.1, np.nan), ValueError, "factor must be above 0, got nan"),
        (lambda: Constant(-1), ValueError, "Constant: lr must be at least 0, got -1"),
        (lambda: Cosine(0.1, steps=None), TypeError, "Cosine: steps must be an int, got NoneType"),
        (lambda: Cosine(0.1, 10, final=-1), ValueError, "final must be at least 0, got -1"),
        (lambda: OneCycle(0.1, 0), ValueError, "OneCycle: steps must be at least 1, got 0"),
        (lambda: OneCycle(0.1, 9, 1.5), ValueError, "pct_start must be at least 0 and at most 1"),
        (lambda: OneCycle(0.1, 9, anneal="up"), ValueError, "anneal must be one of cos, linear"),
        (lambda: ReduceOnPlateau(0.1, 1), ValueError, "factor must be at least 0 and below 1, got"),
        (lambda: ReduceOnPlateau(0.1).after(3), TypeError, "values must be a sequence of numbers"),
        (lambda: ReduceOnPlateau(0.1).after(["a"]), TypeError, "values must be numbers, got 'a'"),
        (
            lambda: schedules.check_length(OneCycle(0.1, 9), 0, 10),
            ValueError,
            "has 9 updates, and training goes to update 10: make the schedule anew with steps=10",
        ),
        (
            lambda: Adam().update(FLAT, FLAT + 1, 3),
            TypeError,
            "parts must be a list of slices with",
        ),
        (
            lambda: Adam().update(FLAT, FLAT + 1, [3]),
            TypeError,
            r"parts must be tuples such as \(slice",
        ),
        (
            lambda: Adam().update(FLAT, FLAT + 1, [(slice(0, 2), 0.1), (slice(1, 3), 0.1)]),
            ValueError,
            "parts: the start of a slice must be at least 2, got 1",
        ),
        (lambda: clip_norm(FLAT, 0), ValueError, "limit must be above 0, got 0"),
        (lambda: clip_value(FLAT, -1), ValueError, "limit must be above 0, got -1"),
    ],
)
def test_bad_input_is_one_clear_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", Constant(0.1)),
        ("Cosine", Cosine(0.1, 50)),
        ("cosine: warmup=5, final=0.01", Cosine(0.1, 50, 5, 0.01)),
        ("stepdecay:every=3,factor=0.5", StepDecay(0.1, 3, 0.5)),
        ("exponential:factor=0.9,lr=2", Exponential(2.0, 0.9)),
        (
            "onecycle:anneal=linear,three_phase=true,pct_start=0.2",
            OneCycle(0.1, 50, 0.2, "linear", three_phase=True),
        ),
        ("reduceonplateau:patience=3,relative=false", ReduceOnPlateau(0.1, 0.1, 3, relative=False)),
        ("stepdecay:every=2epochs,factor=0.5,first=1 epoch - 1", StepDecay(0.1, 14, 0.5, 6)),
    ],
)
def test_a_schedule_from_text(text, expected):
    assert spec.parse_schedule(text, 0.1, 50, in_updates(7)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "linear",
            "schedule must be one of constant, stepdecay, exponential, cosine, onecycle, "
            "reduceonplateau, got 'linear'",
        ),
        ("cosine:warm=3", "schedule cosine has the options lr, steps, warmup, final, got 'warm'"),
        ("cosine:warmup=many", "schedule cosine: warmup must be a number, got 'many'"),
        ("exponential", "schedule exponential needs factor: exponential:factor=..."),
        (
            "stepdecay:every=2epochs,factor=0.5",
            "schedule stepdecay: every must be a number, got '2epochs'",
        ),
        (
            "stepdecay:every=epochs,factor=0.5",
            "schedule stepdecay: every must be a number, got 'epochs'",
        ),
    ],
)
def test_text_that_is_no_schedule(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        spec.parse_schedule(text, 0.1, 50)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sgd", SGD(0.1)),
        ("RMSprop:alpha=0.95", RMSprop(0.1, alpha=0.95)),
        ("torchrnnadam:eps=1e-6,restart=false", TorchRnnAdam(0.1, eps=1e-6, restart=False)),
        (
            "adagrad: initial_accumulator_value=1e-8, eps=0",
            Adagrad(0.1, initial_accumulator_value=1e-8, eps=0.0),
        ),
    ],
)
def test_an_optimizer_from_text(text, expected):
    assert spec.parse_optimizer(text, 0.1).describe() == expected.describe()


def test_an_unknown_optimizer_is_named():
    # Optimisers of other test files are registered too.
    with pytest.raises(
        ValueError,
        match=r"^optimizer must be one of sgd, rmsprop, adagrad, adam, adamw(, \w+)*, got 'adamm'$",
    ):
        spec.parse_optimizer("adamm", 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "adagrad:alpha=1",
            "optimizer adagrad has the options lr_decay, weight_decay, initial_accumulator_value,"
            " eps, got 'alpha'",
        ),
        ("sgd:nesterov=yes", "optimizer sgd: nesterov must be true or false, got 'yes'"),
        ("sgd:momentum=", "optimizer sgd: momentum must be a number, got ''"),
    ],
)
def test_text_that_is_no_optimizer(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        spec.parse_optimizer(text, 0.1)


def test_options_must_be_numbers():
    with pytest.raises(TypeError, match=r"\AAdam: lr must be a number or a schedule, got list\Z"):
        Adam([1.0])
    with pytest.raises(TypeError, match=r"\AAdam: betas must be a number, got str\Z"):
        Adam(betas=("0.9", "0.99"))


def test_the_name_of_an_optimizer_belongs_to_one_class():
    message = (
        r"\Acannot define optimizer class \S+\.Adam: the name 'Adam' is taken by "
        r"recurrent\.optim\.Adam, and checkpoints refer to it by name\Z"
    )
    with pytest.raises(TypeError, match=message):
        type("Adam", (SGD,), {})
    assert optim.OPTIMIZERS["Adam"] is Adam

    def define():
        class Twice(SGD):
            pass

        return Twice

    define()
    again = define()
    assert optim.OPTIMIZERS["Twice"] is again, "the same class, defined again, replaces itself"
    del optim.OPTIMIZERS["Twice"]


def test_a_plateau_lowers_the_rate_of_fit_by_its_validations():
    model = Sequential(Linear(1, 1), rng=0)
    x = np.ones((1, 1, 1), np.float32)
    values = iter([1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    rates = []

    def score(y, targets, lengths=None):
        return next(values)

    score.higher_is_better = True
    fit(
        model, [(x, x)], mean_squared_error, SGD(ReduceOnPlateau(0.8, 0.5, patience=1)), epochs=7,
        validation=[(x, x)], metrics=score, monitor="score", progress=False,
        callback=lambda update, history: rates.append(history.lr),
    )  # fmt: skip
    assert rates == [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2]
    with pytest.raises(ValueError, match="ReduceOnPlateau waits for validations, so it needs"):
        fit(model, [(x, x)], mean_squared_error, SGD(ReduceOnPlateau(0.8)), progress=False)


def test_schedules_keep_numbers_of_python():
    """NumPy's numbers are taken, and can be saved."""
    schedule = Cosine(np.float32(0.5), np.int64(9), np.int32(3), np.float64(0.25))
    assert schedule == Cosine(0.5, 9, 3, 0.25)
    assert [type(v) for v in schedules.describe(schedule)["options"].values()] == [
        float,
        int,
        int,
        float,
    ]
