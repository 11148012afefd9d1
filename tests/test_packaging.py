"""What pyproject.toml declares is what the packages import, promise and print."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from test_architecture import files, imports, module

import recurrent

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# The first two are programs.
IMPORTED_AS = {
    **{"graphviz-pure": None, "mpich": None},
    **{"svg2pdf-py": "svg2pdf_py", "onnx-ir": "onnx_ir", "scikit-learn": "sklearn"},
}
# With these a file or a page could run code, or send something away.
NEVER = {
    "pickle",
    "cloudpickle",
    "marshal",
    "shelve",
    "dill",
    "socket",
    "ssl",
    "urllib",
    "http",
    "requests",
}


def imported():
    """Return the first part of the name of every module that the packages import."""
    found = {
        name.split(".")[0] for k in ("recurrent", "viz") for p in files(k) for name in imports(p)
    }
    return found - {"recurrent", "viz", "__future__"}


def names(requirements):
    return {re.match(r"[\w-]+", r)[0]: r for r in requirements}


def test_every_import_is_declared_and_every_declaration_imported():
    extras = [r for k in EXTRAS.keys() - {"test", "peers"} for r in EXTRAS[k]]
    declared = names([*PROJECT["dependencies"], *extras])
    expected = {IMPORTED_AS.get(name, name) for name in declared} - {None, "svg2pdf_py"}
    # numba brings llvmlite, of the version that fits, and onnx protobuf and ml_dtypes.
    brought = {"llvmlite", "google", "ml_dtypes"}
    assert imported() - sys.stdlib_module_names == expected | brought


def test_each_dependency_has_one_oldest_version():
    """`.ci/versions` installs exactly these."""
    for requirements in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for requirement in requirements:
            assert re.fullmatch(r"[a-z][\w-]*>=\d+(\.\d+)*", requirement), requirement


def test_the_named_pythons_are_those_that_are_required():
    prefix = "Programming Language :: Python :: 3."
    minors = [c.removeprefix(prefix) for c in PROJECT["classifiers"] if c.startswith(prefix)]
    first, *_, last = minors = [int(minor) for minor in minors if minor.isdigit()]
    assert minors == list(range(first, last + 1))
    assert PROJECT["requires-python"] == f">=3.{first},<3.{last + 1}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Requires Python 3.{first} to 3.{last}" in readme


def test_the_version_is_written_once_more_and_equal():
    assert recurrent.__version__ == PROJECT["version"]


def test_the_licence_is_the_one_that_is_declared():
    assert PROJECT["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith(f"{PROJECT['license']} License")
    assert PROJECT["authors"][0]["name"].removeprefix("The ") in text


def test_no_module_unpickles_or_opens_a_connection():
    """But for the cache of compiled kernels, an index of Numba's that Numba unpickles too.

    And for the model of a call of `predict`, which its own workers unpickle.
    """
    using = {
        (module(path), name.split(".")[0])
        for package in ("recurrent", "viz")
        for path in files(package)
        for name in imports(path)
    }
    assert {(user, name) for user, name in using if name in NEVER} == {
        ("recurrent.kernels.cache", "pickle"),
        ("recurrent.models.jobs", "cloudpickle"),
    }


def test_a_python_without_the_gil_is_refused_in_words():
    code = "import sys; sys._is_gil_enabled = lambda: {}; import recurrent, viz"
    run = [sys.executable, "-c"]
    assert subprocess.run([*run, code.format(True)], capture_output=True).returncode == 0
    done = subprocess.run([*run, code.format(False)], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: recurrent is not tested without Python's GIL: set")


PROMISES = re.search("What it promises\n-+\n(.*?)\n\n\\w[^\n]*\n---", recurrent.__doc__, re.DOTALL)
NAMED = re.findall(r"(\S+\.py)::(\w+)", PROMISES[1])


def test_every_promise_has_its_test():
    lines = [line for line in PROMISES[1].splitlines() if line.startswith("* ")]
    assert len(lines) >= 12
    assert len(NAMED) >= len(lines)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_test_of_a_promise_is_there(file, name):
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    (node,) = [node for node in tree.body if isinstance(node, kinds) and node.name == name]
    marks = [ast.unparse(decorator) for decorator in node.decorator_list]
    assert not [mark for mark in marks if "xfail" in mark or mark.startswith("pytest.mark.skip(")]
