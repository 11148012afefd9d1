"""Estimators with the interface of scikit-learn; the extra `sklearn` installs what they need.

`import recurrent` imports neither scikit-learn nor narwhals; this package does.
"""

from __future__ import annotations

from importlib.util import find_spec

for _needed, _package in (("sklearn", "scikit-learn"), ("narwhals", "narwhals")):
    if find_spec(_needed) is None:
        raise ImportError(
            f"recurrent.sklearn needs {_package}, which is not installed: "
            "pip install 'recurrent-engine[sklearn]'"
        )

__all__: list[str] = []
