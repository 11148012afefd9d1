"""A grid search in two processes, for `test_parallel`: prints as JSON what each process saw."""

import json
import os
import sys

import numpy as np
from sklearn.model_selection import GridSearchCV

from recurrent import get_num_threads
from recurrent.sklearn import RecurrentClassifier


def compiled():
    """Return the kernels that this process has compiled, by name and signature."""
    modules = [m for name, m in sys.modules.items() if name.startswith("recurrent.kernels")]
    kernels = {k.py_func: k for m in modules for k in vars(m).values() if hasattr(k, "stats")}
    return [
        f"{function.__qualname__}{signature}"
        for function, kernel in kernels.items()
        for signature in kernel.stats.cache_misses
    ]


def scored(estimator, X, y):
    seen = dict(process=os.getpid(), threads=get_num_threads(), compiled=compiled())
    print(json.dumps(seen), flush=True)
    return estimator.score(X, y)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(T, 2)) for T in rng.integers(3, 9, 24)]
    y = [int(x.mean() > 0) for x in X]
    estimator = RecurrentClassifier("rnn", 4, max_epochs=2, random_state=0)
    grid = {"lr": [1e-2, 1e-3], "hidden_size": [4, 8]}
    GridSearchCV(estimator, grid, scoring=scored, cv=2, n_jobs=2, refit=False).fit(X, y)
