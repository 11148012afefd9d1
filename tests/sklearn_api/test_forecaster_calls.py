"""Wrong calls of the forecaster: each works or raises one helpful line, and changes nothing."""

import numpy as np
import pandas as pd
import pytest
from support.wrong_calls import Call, attempt, trials

from recurrent.sklearn import RecurrentForecaster

SMALL = dict(hidden_size=2, max_epochs=1, window=8, random_state=0)
OPTIONS = dict(
    horizon=2,
    strategy="direct",
    lags=(3,),
    baseline="seasonal",
    past_only=(1,),
    calibration_fraction=0.3,
    refit=False,
    loss="huber",
    cell="gru",
    num_layers=1,
    dropout=0.1,
    scale="robust",
    optimizer="adam",
    lr=0.01,
    batch_size=4,
    clip_norm=1.0,
    early_stopping=True,
    validation_fraction=0.2,
    n_iter_no_change=1,
    verbose=False,
)
# Words of errors that name an argument otherwise: a part of it, or what it decides.
WORDS = {
    "y": "y|series|steps",
    "X": "X|columns",
    "cell": "cell",
    "lags": "lags|y must have at least",
    "horizon": "horizon",
    "past_only": "past_only|X",
    "lr": "lr|optimizer|learning rate",
}


def data(L=24):
    rng = np.random.default_rng(0)
    return rng.standard_normal(L), rng.standard_normal((L, 2))


def fitted():
    y, x = data()
    return RecurrentForecaster(2, **SMALL, lags=3).fit(y, x)


def construct():
    y, x = data()
    return lambda **options: RecurrentForecaster(**(SMALL | options)).fit(y, x), OPTIONS, []


def fit():
    model, (y, x) = fitted(), data()
    return model.fit, dict(y=y, X=x), [model.model_, model._run.runner.stream]


def fit_frame():
    model, (y, x) = fitted(), data()
    keys = dict(unique_id="a", ds=pd.date_range("2020-01-01", periods=24))
    return (
        model.fit,
        dict(y=pd.DataFrame({**keys, "y": y}), X=pd.DataFrame({**keys, "x": x[:, 0]})),
        [],
    )


def predict():
    model = fitted()
    return model.predict, dict(X=data(2)[1], level=(50, 80)), [model._run.runner.stream]


def update():
    model, (y, x) = fitted(), data(3)
    return model.update, dict(y_new=y, X=x), [model.model_, model._run.runner.stream]


def cross_validate():
    y, x = data(30)
    model = RecurrentForecaster(2, **SMALL)
    arguments = dict(y=y, X=x, windows=2, step=2, level=80, refit=False)
    return model.cross_validate, arguments, []


CALLS = [
    # A schedule of one's own may return anything, which shows when training asks it.
    Call("construct", construct, WORDS, without={"lr": {"function"}}),
    Call("fit", fit, WORDS),
    Call("fit_frame", fit_frame, WORDS),
    Call("predict", predict, WORDS),
    Call("update", update, WORDS | {"y_new": "y_new|series"}),
    Call("cross_validate", cross_validate, WORDS | {"windows": "windows|y", "step": "step|y"}),
]


def faults(call, chosen):
    return [
        f"{call.name}({argument}={label}): {text}"
        for argument, label in chosen
        for verdict, text in [attempt(call, argument, label)]
        if verdict == "fault"
    ]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_some_wrong_calls(call):
    every = list(trials(call))
    chosen = np.random.default_rng(0).choice(len(every), min(20, len(every)), replace=False)
    assert not faults(call, [every[k] for k in chosen])


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_all_wrong_calls(call):
    assert not faults(call, trials(call))
