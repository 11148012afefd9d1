"""Searches and cross-validation in processes and threads: same scores, no work done twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators are scikit-learn's")
from sklearn.model_selection import GridSearchCV, cross_val_score

from recurrent.sklearn import RecurrentClassifier

SEARCH = Path(__file__).parent / "search.py"


@pytest.mark.ci
def test_processes_of_a_search_compile_each_kernel_once(tmp_path):
    """From an empty cache, and with the processors shared among them."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop("NUMBA_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, SEARCH], capture_output=True, text=True, env=environment, check=True
    )
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seen) == 8
    assert {one["threads"] for one in seen} == {max(1, joblib.cpu_count() // 2)}
    of_process = {one["process"]: one["compiled"] for one in seen}  # the last ones, which grow
    compiled = [kernel for kernels in of_process.values() for kernel in kernels]
    assert compiled
    assert len(set(compiled)) == len(compiled)


def problem():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(T, 2)) for T in rng.integers(3, 9, 24)]
    return (
        RecurrentClassifier("gru", 4, max_epochs=3, random_state=0),
        X,
        [int(x.mean() > 0) for x in X],
    )


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_jobs_change_no_bit(backend):
    estimator, X, y = problem()
    alone = cross_val_score(estimator, X, y, cv=3, scoring="neg_log_loss")
    with joblib.parallel_config(backend=backend, n_jobs=2):
        together = cross_val_score(estimator, X, y, cv=3, scoring="neg_log_loss")
    assert alone.tolist() == together.tolist()


def test_a_grid_search_refits_the_best():
    estimator, X, y = problem()
    search = GridSearchCV(estimator, {"lr": [1e-9, 0.1], "pooling": ["last", "mean"]}, cv=2)
    search.fit(X, y)
    assert search.best_params_["lr"] == 0.1
    assert search.best_estimator_.loss_curve_[-1] < search.best_estimator_.loss_curve_[0]
    assert search.predict(X).shape == (24,)
