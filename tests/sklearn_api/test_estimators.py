"""What the classifier and the regressor take, learn and return."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn", reason="the estimators are scikit-learn's")
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import recurrent
from recurrent import optim
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.sklearn import RecurrentClassifier, RecurrentRegressor

OPTIONS = dict(hidden_size=8, lr=0.02, max_epochs=4, random_state=0)


def series(n=30, D=2, seed=0):
    """n sequences of different lengths."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(T, D)).cumsum(axis=0) for T in rng.integers(3, 12, n)]


def ups(X):
    return np.array(["up" if x[-1, 0] > x[0, 0] else "down" for x in X])


def classifier(**options):
    return RecurrentClassifier(**{**OPTIONS, **options})


def regressor(**options):
    return RecurrentRegressor(**{**OPTIONS, **options})


def padded(X, value=0.0):
    a, lengths = recurrent.data.pad_sequences(X, value, batch_first=True)
    return a, lengths


X = series()
Y = {
    "classes": ups(X),
    "labels": np.array([[x[-1, 0] > 0, x[-1, 1] > 0, len(x) > 6] for x in X]).astype(int),
    "outputs": np.array([[min(len(x) // 4, 2), int(x[-1, 0] > 0) + 5] for x in X]),
}
NUMBERS = {
    "one": np.array([100 + x.mean() for x in X]),
    "three": np.array([[x.mean(), 1e6 * x.max(), len(x)] for x in X]),
}
CASES = [
    *[(classifier, y, m) for y in Y for m in ("predict", "predict_proba", "decision_function")],
    *[(regressor, y, "predict") for y in NUMBERS],
]
ALL = Y | NUMBERS


def rows(found):
    """The predictions of a method, one row of bytes a sample, whatever their form."""
    parts = found if isinstance(found, list) else [found]
    return [tuple(part[n].tobytes() for part in parts) for n in range(len(parts[0]))]


@pytest.mark.parametrize(("make", "y", "method"), CASES)
def test_a_sample_has_the_same_bits_alone_in_any_batch_and_order(make, y, method):
    predict = getattr(make().fit(X, ALL[y]), method)
    expected = rows(predict(X))
    assert rows(predict(X[::-1])) == expected[::-1]
    order = np.random.default_rng(0).permutation(len(X))
    assert rows(predict([X[n] for n in order])) == [expected[n] for n in order]
    for n in range(len(X)):
        assert rows(predict(X[n : n + 1])) == expected[n : n + 1]
    a, lengths = padded(X)
    longer = np.concatenate([a, np.full_like(a, np.nan)], axis=1)
    assert rows(predict(a, lengths=lengths)) == expected
    assert rows(predict(longer, lengths=lengths)) == expected


def test_forms_of_x_train_the_same_model():
    """A list, padded arrays, another order of the axes, float32, lists of numbers."""
    y, (a, lengths) = Y["classes"], padded(X, np.nan)
    expected = classifier().fit(X, y).model_.flat
    for other in (
        classifier().fit(tuple(X), y),
        classifier().fit(a, y, lengths=lengths),
        classifier().fit([x.tolist() for x in X], y),
        classifier(layout="ndt").fit([x.T for x in X], y),
        classifier(layout="ndt").fit(a.swapaxes(1, 2), y, lengths=list(lengths)),
    ):
        assert np.array_equal(other.model_.flat, expected)
    objects = np.empty(len(X), object)
    objects[:] = X
    assert np.array_equal(classifier().fit(objects, y).model_.flat, expected)


def test_a_table_is_univariate():
    table = np.random.default_rng(0).normal(size=(20, 9))
    y = table[:, -1] > 0
    expected = classifier().fit(table, y)
    assert expected.n_features_in_ == 9
    assert expected.model_[0].in_features == 1
    cube = classifier().fit(table[:, :, None], y)
    assert cube.n_features_in_ == 1
    assert np.array_equal(cube.model_.flat, expected.model_.flat)
    listed = classifier().fit(list(table), y)
    assert np.array_equal(listed.model_.flat, expected.model_.flat)
    for other in (table, table[:, :, None], list(table)):
        for fitted in (expected, cube, listed):
            assert np.array_equal(
                fitted.decision_function(other), expected.decision_function(table)
            )
    assert cube.predict(table[:, :5]).shape == (20,)  # any length
    with pytest.raises(
        ValueError, match="X has 5 features, but RecurrentClassifier is expecting 9"
    ):
        expected.predict(table[:, :5])


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_tables_of_other_packages(package):
    frames = pytest.importorskip(package, reason="its tables are taken")
    table = np.random.default_rng(0).normal(size=(20, 5))
    y = table[:, -1] > 0
    expected = classifier().fit(table, y, sample_weight=np.arange(20))
    frame = frames.DataFrame({f"t{k}": column for k, column in enumerate(table.T)})
    found = classifier().fit(frame, frames.Series(y), sample_weight=frames.Series(np.arange(20)))
    assert np.array_equal(found.model_.flat, expected.model_.flat)
    assert found.feature_names_in_.tolist() == ["t0", "t1", "t2", "t3", "t4"]
    assert found.score(frame, frames.Series(y)) == expected.score(table, y)
    with pytest.raises(ValueError, match=r"\A[^\n]*feature names should match[^\n]*\Z"):
        found.predict(frame[["t1", "t0", "t2", "t3", "t4"]])
    listed = [frames.DataFrame({"a": x[:, 0], "b": x[:, 1]}) for x in X]
    assert np.array_equal(
        classifier().fit(listed, Y["classes"]).model_.flat,
        classifier().fit(X, Y["classes"]).model_.flat,
    )


def test_classes_are_those_of_y_in_every_form():
    for y in (ups(X), ups(X) == "up", (ups(X) == "up") * 3.0, np.array(ups(X), object)):
        fitted = classifier().fit(X, y)
        assert fitted.classes_.tolist() == sorted(set(y.tolist()))
        assert set(fitted.predict(X)) <= set(y.tolist())
        p = fitted.predict_proba(X)
        assert np.allclose(p.sum(axis=1), 1, atol=1e-15)
        assert np.array_equal(fitted.classes_[p.argmax(axis=1)], fitted.predict(X))
        assert np.array_equal(
            fitted.decision_function(X) > 0, fitted.predict(X) == fitted.classes_[1]
        )


def test_several_labels_and_several_outputs_learn():
    labels = classifier(max_epochs=60).fit(X, Y["labels"])
    assert labels.score(X, Y["labels"]) > 0.9
    assert labels.predict_proba(X).shape == (30, 3)
    outputs = classifier(max_epochs=60).fit(X, Y["outputs"])
    assert outputs.score(X, Y["outputs"]) > 0.9
    assert [c.tolist() for c in outputs.classes_] == [[0, 1, 2], [5, 6]]
    assert [p.shape for p in outputs.predict_proba(X)] == [(30, 3), (30, 2)]
    assert [d.shape for d in outputs.decision_function(X)] == [(30, 3), (30, 2)]


def test_the_loss_of_several_outputs_is_the_mean_of_theirs():
    from recurrent.losses import count_entries, softmax_cross_entropy
    from recurrent.sklearn.classifier import EachOutput

    rng = np.random.default_rng(0)
    y, weights = rng.normal(size=(7, 5)), rng.uniform(size=7)
    targets = np.stack([rng.integers(0, 3, 7), rng.integers(0, 2, 7)], axis=1)
    loss = EachOutput([3, 2])
    value, dy = loss(y, targets, sample_weight=weights)
    parts = [
        softmax_cross_entropy(np.ascontiguousarray(a), t, sample_weight=weights)
        for a, t in ((y[:, :3], targets[:, 0]), (y[:, 3:], targets[:, 1]))
    ]
    assert value == pytest.approx(np.mean([v for v, _ in parts]), rel=1e-15)
    assert np.allclose(dy, np.concatenate([d / 2 for _, d in parts], axis=1), rtol=1e-15, atol=0)
    assert count_entries(loss, y, targets) == 7


def test_a_regression_is_in_the_units_of_y():
    fitted = regressor(max_epochs=80).fit(X, NUMBERS["three"])
    assert fitted.score(X, NUMBERS["three"]) > 0.8
    assert fitted.predict(X).dtype == np.float64
    one = regressor(max_epochs=80).fit(X, NUMBERS["one"])
    assert one.score(X, NUMBERS["one"]) > 0.8
    assert one.predict(X).shape == (30,)
    column = regressor(max_epochs=80).fit(X, NUMBERS["one"][:, None])
    assert np.array_equal(column.predict(X)[:, 0], one.predict(X))


def test_samples_of_weight_zero_are_as_if_left_out():
    weights = np.tile([1.0, 2.0, 0.0], 10)
    for make, y in ((classifier, Y["classes"]), (regressor, NUMBERS["three"])):
        expected = make().fit(
            [x for n, x in enumerate(X) if n % 3 != 2],
            np.delete(y, np.arange(2, 30, 3), axis=0),
            sample_weight=weights[weights > 0],
        )
        found = make().fit(X, y, sample_weight=weights)
        assert np.array_equal(found.model_.flat, expected.model_.flat)
        assert not np.array_equal(found.model_.flat, make().fit(X, y).model_.flat)


def test_class_weights_are_sample_weights():
    y = Y["classes"]
    found = classifier(class_weight={"up": 3.0}).fit(X, y)
    expected = classifier().fit(X, y, sample_weight=np.where(y == "up", 3.0, 1.0))
    assert np.array_equal(found.model_.flat, expected.model_.flat)
    balanced = classifier(class_weight="balanced").fit(X, y)
    assert not np.array_equal(balanced.model_.flat, classifier().fit(X, y).model_.flat)


def test_partial_fit_is_an_epoch_of_fit():
    y = Y["classes"]
    expected = classifier(max_epochs=3, batch_size=30).fit(X, y)
    found = classifier(batch_size=30)
    for _ in range(3):
        assert found.partial_fit(X, y, classes=["down", "up"]) is found
    # One batch an epoch: the order within it is the only difference.
    assert np.allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-5)
    assert found.n_iter_ == expected.n_iter_ == 3
    one_class = [x for x, name in zip(X, y, strict=True) if name == "up"]
    found.partial_fit(one_class, ["up"] * len(one_class))
    assert found.classes_.tolist() == ["down", "up"]
    with pytest.raises(
        ValueError, match=r"y\[1\] must be one of the classes \['down', 'up'\], got"
    ):
        found.partial_fit(X[:2], ["up", "sideways"])
    numbers = regressor().partial_fit(X, NUMBERS["one"]).partial_fit(X[:3], NUMBERS["one"][:3])
    assert numbers.n_iter_ == 2


def test_warm_start_goes_on_and_fit_begins_again():
    y = Y["classes"]
    whole = classifier(warm_start=True).fit(X, y)
    first = whole.model_.flat.copy()
    again = classifier().fit(X, y).fit(X, y)
    assert np.array_equal(again.model_.flat, first)
    assert again.n_iter_ == 4
    whole.fit(X, y)
    assert whole.n_iter_ == len(whole.loss_curve_) == 8
    assert whole.loss_curve_[-1] < whole.loss_curve_[3]
    with pytest.raises(ValueError, match="y must have the form of the training that goes on"):
        whole.fit(X, Y["labels"])


def test_early_stopping_keeps_the_best():
    options = dict(early_stopping=True, validation_fraction=0.3, n_iter_no_change=2, lr=0.1)
    fitted = classifier(max_epochs=100, **options).fit(X, Y["classes"])
    assert fitted.history_.stopped == "patience"
    assert fitted.n_iter_ < 100
    assert len(fitted.validation_scores_) == fitted.n_iter_
    assert all(0 <= score <= 1 for score in fitted.validation_scores_)
    best = min(value for _, value in fitted.history_.validation)
    assert fitted.history_.best[1] == best
    assert fitted.history_.validation[-1][1] > best
    for name in ("labels", "outputs"):
        assert len(classifier(**options).fit(X, Y[name]).validation_scores_) <= 4
    scores = regressor(**options).fit(X, NUMBERS["three"]).validation_scores_
    assert all(score <= 1 for score in scores)
    assert classifier().fit(X, Y["classes"]).validation_scores_ is None


def test_r2_of_validations_is_that_of_scikit_learn():
    from sklearn.metrics import r2_score

    from recurrent.sklearn.regressor import R2

    rng = np.random.default_rng(0)
    y, t = rng.normal(size=(2, 50, 3)).astype(np.float32)
    metric = R2()
    counts = metric.counts(y[:20], t[:20]) + metric.counts(y[20:], t[20:])
    assert metric.value(counts) == pytest.approx(r2_score(t, y), rel=1e-6)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_every_network_learns(pooling):
    for options in ({}, dict(bidirectional=True, num_layers=2, dropout=0.2, cell="gru")):
        fitted = classifier(pooling=pooling, max_epochs=60, **options).fit(X, Y["classes"])
        assert fitted.score(X, Y["classes"]) > 0.9, options


def test_options_reach_the_network():
    y = Y["classes"]
    fitted = classifier(cell="rnn_relu", num_layers=2, dropout=0.5, scale=None).fit(X, y)
    names = [type(layer).__name__ for layer in fitted.model_.layers]
    assert names == ["Recurrent", "Dropout", "Recurrent", "Last", "Dropout", "Linear"]
    assert fitted.scaler_ is None
    fitted = classifier(optimizer="rmsprop:alpha=0.9").fit(X, y)
    assert "RMSprop(lr=0.02, alpha=0.9," in repr(fitted.training_.optimizer)
    rule = optim.SGD(0.1)
    fitted = classifier(optimizer=rule).fit(X, y)
    assert fitted.training_.optimizer.lr == 0.1
    assert rule.steps == 0
    scheduled = classifier(lr=recurrent.schedules.Cosine(0.1, 4)).fit(X, y)
    assert scheduled.history_.lr < 0.1
    waiting = recurrent.schedules.ReduceOnPlateau(0.1, patience=1)
    stopping = dict(early_stopping=True, max_epochs=30, n_iter_no_change=20)
    assert classifier(lr=waiting, **stopping).fit(X, y).history_.lr < 0.1


def test_scaling_sees_valid_steps_alone():
    a, lengths = padded(X, 1e9)
    fitted = classifier().fit(a, Y["classes"], lengths=lengths)
    valid = np.concatenate(X)
    assert np.allclose(fitted.scaler_.shift, valid.mean(axis=0), rtol=1e-12)
    assert np.allclose(fitted.scaler_.scale, valid.std(axis=0), rtol=1e-12)


def test_copies_predict_the_same():
    fitted = classifier().fit(X, Y["classes"])
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert np.array_equal(other.decision_function(X), fitted.decision_function(X))
        other.partial_fit(X, Y["classes"])
        assert not np.array_equal(other.decision_function(X), fitted.decision_function(X))
    with pytest.raises(sklearn.exceptions.NotFittedError):
        clone(fitted).predict(X)
    assert clone(fitted).get_params() == fitted.get_params()


def test_lists_go_through_splits_and_pipelines():
    train, test, y_train, y_test = train_test_split(X, Y["classes"], random_state=0)
    assert classifier(max_epochs=40).fit(train, y_train).score(test, y_test) > 0.5
    assert cross_val_score(classifier(), X, Y["classes"], cv=3).shape == (3,)
    shifted = make_pipeline(FunctionTransformer(lambda X: [x - 5 for x in X]), classifier())
    shifted.fit(X, Y["classes"])
    assert shifted.predict(X).shape == (30,)


def test_lengths_are_routed():
    (a, lengths), y = padded(X, 7.0), Y["classes"]
    with sklearn.config_context(enable_metadata_routing=True):
        routed = classifier().set_fit_request(lengths=True).set_score_request(lengths=True)
        search = GridSearchCV(routed, {"lr": [0.02]}, cv=3, refit=False)
        search.fit(a, y, lengths=lengths)
    expected = GridSearchCV(classifier(), {"lr": [0.02]}, cv=3, refit=False).fit(X, y)
    for k in range(3):
        name = f"split{k}_test_score"
        assert search.cv_results_[name] == expected.cv_results_[name]


def test_a_stream_predicts_after_every_step():
    for make, y, method in CASES:
        fitted = make().fit(X, ALL[y])
        stream = fitted.stream() if make is regressor else fitted.stream(method)
        for t, x_t in enumerate(X[0]):
            found = stream.step(x_t)
            expected = getattr(fitted, method)([X[0][: t + 1]])
            parts = expected if isinstance(expected, list) else [expected]
            found = found if isinstance(expected, list) else [found]
            for one, part in zip(found, parts, strict=True):
                assert np.array_equal(one, part[0])
        stream.reset()
        both = np.stack([X[0][:3], X[1][:3]], axis=1)
        for x_t in both:
            found = stream.step(x_t)
        assert rows(found) == rows(getattr(fitted, method)(list(both.swapaxes(0, 1))))


def test_a_stream_is_a_snapshot_and_can_be_copied():
    fitted = regressor().fit([x[:, :1] for x in X], NUMBERS["one"])
    expected, stream = fitted.predict([X[0][:2, :1]])[0], fitted.stream()
    fitted.fit([-x[:, :1] for x in X], NUMBERS["one"] * 5)
    stream.step(X[0][0, 0])
    later, state = pickle.loads(pickle.dumps(stream)), stream.state
    assert stream.copy().step(X[0][1, 0]) == expected
    assert stream.step(X[0][1, 0]) == expected
    assert later.step(X[0][1, 0]) == expected
    stream.state = state
    assert stream.step(X[0][1, 0]) == expected


def test_a_stream_refuses_what_predict_refuses_and_stays_as_it_was():
    stream = classifier().fit(X, Y["classes"]).stream("decision_function")
    other = stream.copy()
    stream.step(X[0][0])
    for value, text in ((1e300, "x_t is too large for float32"), (np.nan, "x_t must be finite")):
        with pytest.raises(ValueError, match=text):
            stream.step(np.array([value, 1.0]))
    other.step(X[0][0])
    assert stream.step(X[0][1]) == other.step(X[0][1])


def test_explain_shows_the_run_of_one_sequence():
    for make, y in ((classifier, Y["classes"]), (regressor, NUMBERS["one"])):
        fitted = make().fit(X, y)
        page, graded = fitted.explain(X[0]), fitted.explain(X[0], y[0])
        assert page.html.startswith("<!doctype html>")
        assert len(graded.html) > len(page.html)
    with pytest.raises(ValueError, match="y\\[0\\] must be one of the classes"):
        classifier().fit(X, Y["classes"]).explain(X[0], "sideways")


@pytest.mark.parametrize("y", ["classes", "labels", "one", "three"])
def test_onnx_has_the_scaling_and_what_follows_the_network(y):
    runtime = pytest.importorskip("onnxruntime", reason="it runs the graph")
    make, method = (classifier, "predict_proba") if y in Y else (regressor, "predict")
    shifted = [100 + 30 * x for x in X]
    fitted = make(bidirectional=True).fit(shifted, ALL[y])
    graph = fitted.to_onnx(lengths=True).SerializeToString()
    x, lengths = recurrent.data.pad_sequences(shifted, dtype="float32")
    session = runtime.InferenceSession(graph)
    found = session.run(None, {"x": x, "lengths": lengths.astype(np.int32)})[0]
    expected = getattr(fitted, method)(shifted)
    size = np.abs(expected).max(axis=0)
    assert np.all(np.abs(found.reshape(expected.shape) - expected) <= 1e-4 * size)


def test_seeds():
    y = Y["classes"]
    flat = classifier().fit(X, y).model_.flat
    assert np.array_equal(
        classifier(random_state=np.random.RandomState(0)).fit(X, y).model_.flat, flat
    )
    assert not np.array_equal(classifier(random_state=1).fit(X, y).model_.flat, flat)


def test_a_failed_fit_changes_nothing():
    fitted = classifier().fit(X, Y["classes"])
    before, flat = dict(vars(fitted)), fitted.model_.flat.copy()
    fitted.lr = -1.0
    with pytest.raises(ValueError, match="lr"):
        fitted.fit(series(D=3), Y["classes"])
    assert vars(fitted) == {**before, "lr": -1.0}
    assert np.array_equal(fitted.model_.flat, flat)


def wrong(name, value, message, make=classifier):
    shown = getattr(value, "__name__", value)  # no address: each process collects the same names
    return pytest.param(make, {name: value}, message, id=f"{name}={shown}")


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        wrong("cell", "lstn", "lstn"),
        wrong("hidden_size", 0, "hidden_size must be"),
        wrong("num_layers", 1.5, "num_layers must be"),
        wrong("bidirectional", "yes", "bidirectional must be True or False"),
        wrong("pooling", "first", "pooling must be"),
        wrong("pooling", None, "pooling must be"),
        wrong("dropout", 1.0, "dropout must be"),
        wrong("scale", "robust", "scale must be"),
        wrong("optimizer", "adams", "optimizer must be one of"),
        wrong("lr", -1, "lr must be"),
        wrong("lr", lambda step: None, r"lr\(0\) must be"),
        wrong("batch_size", 0, "batch_size must be"),
        wrong("max_epochs", 0, "max_epochs must be"),
        wrong("clip_norm", -1, "clip_norm must be"),
        wrong("early_stopping", 3, "early_stopping must be True or False"),
        wrong("validation_fraction", 1.0, "validation_fraction must be"),
        wrong("n_iter_no_change", 0, "n_iter_no_change must be"),
        wrong("class_weight", "even", "class_weight"),
        wrong("layout", "tnd", "layout must be"),
        wrong("warm_start", None, "warm_start must be True or False"),
        wrong("random_state", "x", "random_state must be an int, a RandomState or None"),
        wrong("verbose", "no", "verbose must be"),
        wrong("class_weight", print, 'class_weight must be "balanced" or a dict'),
        wrong("scale", 3, "scale must be", regressor),
    ],
)
def test_wrong_options_are_told_in_one_line(make, options, message):
    estimator = make(**options)
    with pytest.raises((TypeError, ValueError), match=rf"\A[^\n]*({message})[^\n]*\Z"):
        estimator.fit(X, Y["classes"] if make is classifier else NUMBERS["one"])
    assert not hasattr(estimator, "model_")


A, LENGTHS = padded(X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(X=[*X[:-1], X[-1][:, :1]]), r"X\[29\] must have 2 features as X\[0\], got 1"),
        (dict(X=[*X[:-1], X[-1][:0]]), r"X\[29\] must be \(T, D\) or \(T,\) with at least one"),
        (dict(X=[*X[:-1], X[-1] * np.nan]), r"X\[29\] must be finite, got NaN at \(0, 0\)"),
        (dict(X=[*X[:-1], X[-1].astype(str)]), r"X\[29\] must be numbers, got str"),
        (dict(X=A[:, :, :, None]), r"X must be \(n, T, D\), a table .*got \(30, 11, 2, 1\)"),
        (dict(X=A * np.nan), r"X must be finite, got NaN at .*pass lengths="),
        (dict(X="abc"), r"X must be \(n, T, D\), a table .* got 'abc'$"),
        (dict(X=[]), r"X must be \(n, T, D\), a table .* got \[\]$"),
        (dict(X=X[0][:, 0]), r"X must be .*Reshape your data: X\[None\] is one sequence"),
        (dict(X=pd.DataFrame({"a": X})), r"numbers in its cells, got arrays: .*X\[column\].tolist"),
        (dict(lengths=LENGTHS), "lengths must be None if X is a list"),
        (dict(X=A, lengths=LENGTHS[:-1]), r"lengths must be \(n,\) = \(30,\), got \(29,\)"),
        (dict(X=A, lengths=LENGTHS * 0), r"lengths must be between 1 and T = 11, got 0"),
        (dict(X=A, lengths=LENGTHS / 2), "lengths must be integers, got float64"),
        (dict(y=Y["classes"][:-1]), "X and y must have the same number of samples, got 30 and 29"),
        (dict(y=None), "requires y to be passed"),
        (dict(y=NUMBERS["one"]), "Unknown label type"),
        (dict(sample_weight=np.ones(3)), r"sample_weight must be \(n,\) = \(30,\), got \(3,\)"),
        (dict(sample_weight=-np.ones(30)), "sample_weight must be finite and at least 0"),
    ],
)
def test_wrong_data_is_told_in_one_line(arguments, message):
    estimator = classifier()
    with pytest.raises((TypeError, ValueError), match=rf"\A[^\n]*({message})[^\n]*\Z"):
        estimator.fit(**{**dict(X=X, y=Y["classes"]), **arguments})
    assert vars(estimator) == estimator.get_params()


@pytest.mark.parametrize("layout", ["ntd", "ndt"])
def test_one_sequence_is_told_to_be_no_table(layout):
    turned = [x if layout == "ntd" else x.T for x in X]
    fitted = classifier(layout=layout).fit(turned, Y["classes"])
    with pytest.raises(
        ValueError, match=r"with D = 2 as in fit.*: X\[None\] if it is one sequence$"
    ):
        fitted.predict(turned[0])
    with pytest.raises(ValueError, match=r"with D = 2 as in fit.*got \(5, 6\)$"):
        fitted.predict(np.zeros((5, 6)))


def test_a_series_of_sequences_is_a_list_of_them():
    fitted = classifier().fit(pd.Series(X), Y["classes"])
    assert_same_bits(fitted.predict_proba(X), classifier().fit(X, Y["classes"]).predict_proba(X))
    assert_same_bits(fitted.predict_proba(pd.Series(X)), fitted.predict_proba(X))


@pytest.mark.parametrize(
    ("name", "value"), [("hidden_size", 5), ("lr", 0.5), ("scale", None), ("cell", "rnn")]
)
def test_a_training_that_goes_on_keeps_its_network_and_optimiser(name, value):
    started = classifier(warm_start=True).fit(X, Y["classes"])
    before = getattr(started, name)
    started.set_params(**{name: value})
    text = rf"^{name} must stay {before!r} in a training that goes on, got {value!r}: sklearn.base"
    for call in (started.fit, started.partial_fit):
        with pytest.raises(ValueError, match=text):
            call(X, Y["classes"])
    again = started.set_params(**{name: before, "max_epochs": 1})
    assert again.fit(X, Y["classes"]).n_iter_ > 1
    assert again.set_params(**{name: value, "warm_start": False}).fit(X, Y["classes"]).n_iter_ == 1


def test_calls_that_need_other_options():
    with pytest.raises(ValueError, match="partial_fit cannot have early_stopping=True"):
        classifier(early_stopping=True).partial_fit(X, Y["classes"])
    with pytest.raises(ValueError, match='partial_fit cannot have class_weight="balanced"'):
        classifier(class_weight="balanced").partial_fit(X, Y["classes"])
    for options in (dict(bidirectional=True), dict(pooling="attention")):
        with pytest.raises(ValueError, match=r"stream\(\) predicts before a sequence ends"):
            classifier(**options).fit(X, Y["classes"]).stream()
    with pytest.raises(ValueError, match="early_stopping needs at least 2 samples"):
        classifier(early_stopping=True).fit(X[:1], ["up"])
    with pytest.raises(ValueError, match="to_onnx writes one softmax"):
        classifier().fit(X, Y["outputs"]).to_onnx()
    with pytest.raises(TypeError, match="RecurrentClassifier has no option 'units'"):
        RecurrentClassifier(units=3)
