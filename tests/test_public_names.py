"""Every name that users import stays importable under the same path."""

from importlib import import_module

import pytest
from support.public_names import MODULES, PACKAGES, members


@pytest.mark.parametrize("name", PACKAGES)
def test_names_of_the_packages(name):
    package = import_module(name)
    assert sorted(package.__all__) == sorted(members(name))
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("name", MODULES)
def test_import_paths(name):
    members(name)


def test_layers_and_engines_are_one_object_under_each_path():
    recurrent, engine, layers = map(
        import_module, ("recurrent", "recurrent.engine", "recurrent.layers")
    )
    assert recurrent.Engine is engine.Engine
    assert recurrent.Recurrent is layers.Recurrent
    assert recurrent.lstm.cell is recurrent.cells.lstm
