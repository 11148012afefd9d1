"""The packages that the estimators need; importing this module says in one line what is missing."""

from __future__ import annotations

from importlib.util import find_spec

for needed, package in (("sklearn", "scikit-learn"), ("narwhals", "narwhals")):
    if find_spec(needed) is None:
        raise ImportError(
            f"recurrent.sklearn needs {package}, which is not installed: "
            "pip install 'recurrent-engine[sklearn]'"
        )
try:
    from sklearn.utils.validation import validate_data as validate_data
except ImportError:
    import sklearn

    raise ImportError(
        f"recurrent.sklearn needs scikit-learn 1.6 or newer, got {sklearn.__version__}: "
        "pip install -U scikit-learn"
    ) from None
