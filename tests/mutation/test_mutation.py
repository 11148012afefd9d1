"""Mutation: the tool finds what it should; the table holds what the tests notice."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest
from support import mutation

ROWS = mutation.read(mutation.TABLE)
ENOUGH = {"cells": 45, "kernels": 25, "training": 25}
CAUGHT = [row for row in ROWS if row["status"] == "caught" and "::" in row["test"]]


def changes(text, file="recurrent/cells/test.py"):
    """Return the mutants of a source as (kind, before, after)."""
    return {(m.kind, m.before, m.after) for m in mutation.Finder(text.encode(), file).found}


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("a + b", ("sign", "a + b", "a - b")),
        ("(a + b) * c", ("factor", "(a + b) * c", "(a + b) / c")),
        ("c - (a + b)", ("term dropped", "c - (a + b)", "c")),
        ("(a + b) * c", ("factor dropped", "(a + b) * c", "(a + b)")),
        ("-a", ("sign", "-a", "a")),
        ("a < b", ("comparison", "a < b", "a <= b")),
        ("a and b", ("condition", "a and b", "a or b")),
        ("a if b else c", ("condition", "b", "(not b)")),
        ("range(1, n, 2)", ("range", "n", "n - 1")),
        ("f(a, b)", ("arguments", "f(a, b)", "f(b, a)")),
        ("f(2.5)", ("constant", "2.5", "5.0")),
        ("a[i:j]", ("range", "j", "j + 1")),
        ("f(a)", ("statement dropped", "f(a)", "pass")),
        ("y -= dy", ("statement dropped", "y -= dy", "pass")),
        ("y -= dy", ("sign", "y -= dy", "y += dy")),
        ("h = x.r + h.z", ("gate", "x.r", "x.z")),
    ],
)
def test_kinds_of_changes(text, change):
    assert change in changes(text)


@pytest.mark.parametrize("text", ['"a" + b', 'raise ValueError("a", 1)', "x: int", 'f"{a + b}"'])
def test_texts_and_types_are_left_alone(text):
    assert not changes(text)


@pytest.mark.parametrize("group", mutation.GROUPS)
def test_mutants_are_programs_that_differ_and_are_applied_in_one_place(group):
    for file, suite in mutation.modules(mutation.ROOT, group).items():
        assert all((mutation.ROOT / "tests" / test).exists() for test in suite.tests.split())
        found = mutation.mutants(mutation.ROOT, file)
        assert len({m.key for m in found}) == len(found)
        for mutant in random.Random(file).sample(found, min(3, len(found))):
            source = (mutation.ROOT / file).read_bytes()
            changed = mutant.apply(source)
            compile(changed, file, "exec")
            assert changed != source
            assert len(changed) - len(source) == len(mutant.after.encode()) - (
                len(mutant.before.encode())
            )


def test_the_table_holds_enough_mutants_and_every_one_is_caught():
    assert len(ROWS) == len({row["key"] for row in ROWS})
    statuses = Counter(row["status"] for row in ROWS)
    assert set(statuses) <= {"caught", "time limit", "equivalent"}, statuses
    assert all(row["test"] for row in ROWS)  # or the reason why it is equivalent
    caught = Counter(row["group"] for row in ROWS if row["status"] != "equivalent")
    assert all(caught[group] >= count for group, count in ENOUGH.items()), caught
    assert len({row["kind"] for row in ROWS}) >= 10


def test_the_tests_that_the_table_names_exist():
    sources = {}
    for row in CAUGHT:
        file, name = re.match(r"(.+?)::(?:\w+::)?(\w+)", row["test"]).groups()
        if file not in sources:
            sources[file] = Path(mutation.ROOT, file).read_text()
        assert f"def {name}(" in sources[file], row["test"]


def test_most_mutants_of_the_table_are_still_in_the_sources():
    """If this fails after many changes: `python tests/support/mutation.py` adds mutants."""
    assert len(list(mutation.listed(ROWS))) >= 0.6 * len(ROWS)


@pytest.mark.slow
def test_a_sample_of_the_table_is_still_caught(tmp_path):
    """The test that the table names notices the mutant, and passes without it."""
    mutation.copy_tree(tmp_path)
    for row, mutant in random.Random(12).sample(list(mutation.listed(CAUGHT)), 10):
        suite = mutation.modules(mutation.ROOT, row["group"])[mutant.file]
        place, cache, test = tmp_path, tmp_path / "cache", row["test"]
        assert mutation.passes(place, suite, test, cache), row
        assert mutation.try_mutant(place, mutant, suite, cache, test)[0] == "caught", row
