"""Estimators with the interface of scikit-learn; the extra `sklearn` installs what they need.

`RecurrentClassifier` and `RecurrentRegressor` take sequences in pipelines, cross-validation and
grid search; `RecurrentForecaster` takes series. `import recurrent` imports neither scikit-learn nor
narwhals; this package does, when it is imported or `recurrent.sklearn` is first read.
"""

from __future__ import annotations

from . import needed as _needed  # noqa: F401  # isort: skip
from ..checks.guided import module_getattr as _module_getattr
from .classifier import RecurrentClassifier
from .forecaster import RecurrentForecaster
from .regressor import RecurrentRegressor

__getattr__ = _module_getattr(__name__)
__all__ = ["RecurrentClassifier", "RecurrentForecaster", "RecurrentRegressor"]
