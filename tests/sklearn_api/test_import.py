"""`recurrent.sklearn` is imported by name only, and says what it needs."""

import subprocess
import sys


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_engine_imports_neither_scikit_learn_nor_narwhals():
    code = (
        "import sys, recurrent, viz\n"
        "print(*{'sklearn', 'narwhals', 'pandas', 'polars'} & set(sys.modules))"
    )
    assert run(code).stdout.strip() == ""


def test_a_missing_package_is_told_in_one_line():
    code = (
        "import importlib.util as u, recurrent\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'sklearn' else find(name)\n"
        "import recurrent.sklearn"
    )
    last = run(code).stderr.strip().splitlines()[-1]
    assert last == (
        "ImportError: recurrent.sklearn needs scikit-learn, which is not installed: "
        "pip install 'recurrent-engine[sklearn]'"
    )


def test_the_package_is_imported_when_it_is_first_read():
    code = "import recurrent; print(recurrent.sklearn.RecurrentClassifier.__name__)"
    assert run(code).stdout.strip() == "RecurrentClassifier"


def test_an_old_scikit_learn_is_told_in_one_line():
    code = (
        "import sklearn.utils.validation as v, sklearn\n"
        "del v.validate_data; sklearn.__version__ = '1.5.2'\n"
        "import recurrent.sklearn"
    )
    last = run(code).stderr.strip().splitlines()[-1]
    assert last == (
        "ImportError: recurrent.sklearn needs scikit-learn 1.6 or newer, got 1.5.2: "
        "pip install -U scikit-learn"
    )
