"""scikit-learn's own checks of estimators."""

import pytest

pytest.importorskip("sklearn", reason="the estimators are scikit-learn's")
from sklearn.utils.estimator_checks import check_estimator

import recurrent

# The reason is in the Notes of each class.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "equal samples are drawn in several batches, "
    "one of twice the weight in one"
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["RecurrentClassifier", "RecurrentRegressor"])
@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"cell": "gru", "num_layers": 2, "dropout": 0.1}, marks=pytest.mark.ci)],
)
def test_check_estimator(name, options):
    estimator = getattr(recurrent.sklearn, name)(hidden_size=8, lr=0.02, max_epochs=30, **options)
    results = check_estimator(
        estimator, expected_failed_checks=EXPECTED, on_skip=None, on_fail="raise"
    )
    others = {r["check_name"]: r["status"] for r in results if r["status"] != "passed"}
    assert others.pop("check_array_api_input", "skipped") == "skipped"  # none in scikit-learn 1.6
    assert others == dict.fromkeys(EXPECTED, "xfail")
    assert len(results) > 50
