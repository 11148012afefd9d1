"""Mutation of the code: change one operator, gate, term or step; a test must notice.

    python tests/support/mutation.py                      mutants that the table lacks
    python tests/support/mutation.py --again              all mutants of the table, anew
    python tests/support/mutation.py --again --status survived

Mutants are found in the syntax tree and are chosen by a seed, evenly over modules and kinds. Each
is written into a copy of the source tree, and the tests of its module run there until one fails.
The table `tests/mutation/table.json` holds the results. A mutant that changes no result is marked
there by hand: status "equivalent", with the reason in place of the test.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests" / "mutation" / "table.json"
COPIED = ("recurrent", "tests", "viz", "bench", "pyproject.toml", "README.md")


class Suite(NamedTuple):
    """The tests of some modules, those that notice most first."""

    modules: str  # glob patterns, relative to `recurrent`
    tests: str  # relative to `tests`
    compiled: bool = True  # False: NUMBA_DISABLE_JIT=1, because a change means to compile all anew
    first: str = ""  # pytest's -k: those that run before all, to compile less
    limit: int = 240  # seconds of one test


CELLS = (
    "cells/test_cells.py conformance/test_textbook.py equations/test_equations.py "
    "engine/test_naive.py cells/test_cell_options.py cells/test_projection.py cells/test_qrnn.py "
    "kernels/test_cross_unit.py engine/test_gradients.py engine/test_dropout.py test_bad_input.py"
)
STEP = (
    "engine/test_naive.py engine/test_gradients.py kernels/test_cross_unit.py "
    "kernels/test_kernels.py engine/test_ragged.py engine/test_invariants.py "
    "cells/test_projection.py kernels/test_kernel_edges.py kernels/test_threads.py"
)
ONE_CELL = "gru and float32"
ROWS = (
    "kernels/test_elementwise.py layers/test_attention.py training/test_losses.py "
    "training/test_optim.py kernels/test_kernel_edges.py"
)
ENGINE = (
    "engine/test_naive.py engine/test_invariants.py engine/test_ragged.py "
    "engine/test_bidirectional.py engine/test_lookup.py engine/test_dropout.py "
    "engine/test_gradients.py kernels/test_memory.py test_bad_input.py"
)
LAYERS = (
    "layers/test_layers.py layers/test_onehot.py layers/test_layer_norm.py layers/test_hold.py "
    "layers/test_stream.py layers/test_recording.py layers/test_parameters.py "
    "layers/test_learned_state.py layers/test_keras.py layers/test_attention.py "
    "layers/test_initialisers.py layers/test_activation.py layers/test_residual.py "
    "layers/test_trainable.py layers/test_embedding_and_linear_options.py "
    "layers/test_own_layer.py models test_bad_input.py"
)

# The tests of a module are those of the first suite that names it.
GROUPS = {
    "cells": (
        Suite("cells/dropout.py", "engine/test_dropout.py " + CELLS, False),
        Suite("cells/layer_norm.py",
            f"cells/test_cell_options.py {CELLS} viz/test_composites.py", False),
        Suite("equations/rules.py", "kernels/test_elementwise.py training/test_optim.py", False),
        Suite("equations/cell.py", f"{CELLS} viz/test_cell_view.py", False),
        Suite("cells/*.py equations/[!_]*.py", CELLS, False),
    ),
    "kernels": (
        Suite("kernels/elementwise.py kernels/codegen/passes.py", ROWS, first="float32"),
        Suite("kernels/attention.py", "layers/test_attention.py", first="float32"),
        Suite("kernels/matmul.py", f"{STEP} layers/test_attention.py", first=ONE_CELL),
        Suite("kernels/codegen/vector.py", f"kernels/test_kernels.py {STEP}", first=ONE_CELL),
        Suite("kernels/codegen/staged.py kernels/schedule.py", f"kernels/test_cross_unit.py {STEP}",
              first="normalised and lstm"),
        Suite("kernels/reference.py", f"engine/test_naive.py {CELLS} {ROWS}", False),
        Suite("kernels/compiled.py", f"{STEP} {ROWS}", first=ONE_CELL),
        Suite("kernels/packing.py kernels/sequence.py kernels/codegen/[cglst]*.py", STEP,
              first=ONE_CELL),
    ),
    "engine": (
        Suite("engine/allocation.py engine/footprint.py kernels/memory.py",
              "models/test_memory_plan.py kernels/test_memory.py kernels/test_allocation.py"),
        Suite("engine/[!_]*.py", ENGINE),
        Suite("layers/attention.py", f"layers/test_attention.py {LAYERS}"),
        Suite("layers/pooling.py layers/recurrent.py layers/[!_]*.py", LAYERS),
    ),
    "training": (
        Suite("losses.py", "training/test_losses.py kernels/test_elementwise.py test_bad_input.py"),
        Suite("optim.py schedules.py", "training/test_optim.py training/test_parity_training.py "
              "training/test_fit.py training/test_checkpoint.py test_bad_input.py"),
        Suite("initialisers.py", "layers/test_initialisers.py layers/test_layers.py "
              "test_bad_input.py"),
        Suite("data/[!_]*.py", "training/test_data.py training/test_fit.py test_bad_input.py"),
        Suite("training/bptt.py", "training/test_bptt.py training/test_fit.py"),
        Suite("training/fit.py training/history.py training/state.py",
              "training/test_fit.py training/test_bptt.py training/test_checkpoint.py "
              "training/test_parity_training.py test_bad_input.py"),
    ),
}  # fmt: skip


class Mutant(NamedTuple):
    """One change of a file: the bytes from `start` to `end` become `after`."""

    file: str
    line: int
    function: str
    kind: str
    before: str
    after: str
    start: int
    end: int
    nth: int  # among equal changes in the same function

    @property
    def key(self) -> str:
        """A name that stays when other lines of the file change."""
        text = "\n".join([self.file, self.function, self.kind, self.before, self.after])
        return hashlib.sha256(f"{text}\n{self.nth}".encode()).hexdigest()[:10]

    def apply(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.after.encode() + source[self.end :]


OPERATORS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")}
COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
# Texts for people, types, and what no result depends on.
SKIPPED_FUNCTIONS = {"__repr__", "__str__", "decorate"}
SKIPPED_CALLS = {"warn", "prefetch", "TypeError", "ValueError", "isinstance", "getattr", "hasattr"}
SKIPPED_CALLS |= {"cast", "TypeVar", "field"}


class Finder(ast.NodeVisitor):
    """Finds the mutants of a file."""

    def __init__(self, source: bytes, file: str):
        self.source, self.file, self.path, self.found = source, file, [], []
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))
        self.visit(ast.parse(source))

    def place(self, node) -> tuple[int, int]:
        first, last = self.lines[node.lineno - 1], self.lines[node.end_lineno - 1]
        return first + node.col_offset, last + node.end_col_offset

    def text(self, node) -> str:
        start, end = self.place(node)
        text = self.source[start:end].decode()
        simple = (ast.Name, ast.Constant, ast.Call, ast.Attribute, ast.Subscript, ast.Tuple)
        return text if isinstance(node, simple) else f"({text})"

    def add(self, kind: str, node, after: str) -> None:
        """Add the mutant that has another text in place of a node."""
        start, end = self.place(node)
        change = ".".join(self.path), kind, self.source[start:end].decode(), after
        nth = sum((m.function, m.kind, m.before, m.after) == change for m in self.found)
        self.found.append(Mutant(self.file, node.lineno, *change, start, end, nth))

    def between(self, kind: str, node, left, right, old: str, new: str) -> None:
        """Replace a text that stands between two operands of a node."""
        (start, end), first, last = self.place(node), self.place(left)[1], self.place(right)[0]
        where = first + self.source[first:last].index(old.encode())
        text = self.source[start:where].decode() + new
        self.add(kind, node, text + self.source[where + len(old) : end].decode())

    def swap(self, node, a, b) -> None:
        """Swap two arguments of a call."""
        (start, end), first, last = self.place(node), self.place(a), self.place(b)
        parts = (start, first[0]), last, (first[1], last[0]), first, (last[1], end)
        self.add("arguments", node, "".join(self.source[i:j].decode() for i, j in parts))

    # Which parts of a file count.

    def visit_FunctionDef(self, node):
        if node.name in SKIPPED_FUNCTIONS:
            return
        self.path.append(node.name)
        for child in node.body:
            self.visit(child)
        self.path.pop()

    def visit_ClassDef(self, node):
        self.visit_FunctionDef(node)

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.visit(node.value)

    def visit_Import(self, node):
        pass

    visit_ImportFrom = visit_Raise = visit_JoinedStr = visit_Assert = visit_Import

    # The kinds of mutants.

    def visit_BinOp(self, node):
        kind = type(node.op)
        strings = [n for n in (node.left, node.right) if isinstance(n, ast.JoinedStr)]
        strings += [n for n in (node.left, node.right) if _is_text(n)]
        if kind in OPERATORS and not strings:
            name = "sign" if kind in (ast.Add, ast.Sub) else "factor"
            self.between(name, node, node.left, node.right, *OPERATORS[kind])
            dropped = "term dropped" if name == "sign" else "factor dropped"
            self.add(dropped, node, self.text(node.left))
            if kind in (ast.Add, ast.Mult):
                self.add(dropped, node, self.text(node.right))
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            self.add("sign", node, self.text(node.operand))
        if isinstance(node.op, (ast.Not, ast.Invert)):
            self.add("condition", node, self.text(node.operand))
        self.generic_visit(node)

    def visit_Compare(self, node):
        kind = type(node.ops[0])
        if len(node.ops) == 1 and kind in COMPARISONS:
            self.between("comparison", node, node.left, node.comparators[0], *COMPARISONS[kind])
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        self.between("condition", node, node.values[0], node.values[1], *words)
        self.generic_visit(node)

    def visit_If(self, node):
        self.add("condition", node.test, f"not {self.text(node.test)}")
        self.generic_visit(node)

    visit_While = visit_If

    def visit_IfExp(self, node):
        self.add("condition", node.test, f"(not {self.text(node.test)})")
        self.generic_visit(node)

    def visit_Call(self, node):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in SKIPPED_CALLS:
            return
        plain = [a for a in node.args if not isinstance(a, ast.Starred)]
        if name == "range" and plain:
            bound = plain[0] if len(plain) == 1 else plain[1]
            self.add("range", bound, f"{self.text(bound)} - 1")
            first = plain[0] if len(plain) > 1 else None
            if first is not None:
                self.add("range", first, f"{self.text(first)} + 1")
        elif len(plain) == len(node.args):
            for a, b in pairwise(plain):
                alike = type(a) is type(b) and isinstance(a, (ast.Name, ast.Attribute))
                if alike and self.text(a) != self.text(b):
                    self.swap(node, a, b)
        self.generic_visit(node)

    def visit_Attribute(self, node):
        # Gates: x.i + h.i becomes x.i + h.f. The gates of a cell are single letters.
        gates, base = "ifgorzn", getattr(node.value, "id", "")
        if "cells/" in self.file and node.attr in gates and base in ("x", "h", "a", "b"):
            letters = sorted(
                {m.decode() for m in re.findall(rb"\b[xhab]\.([ifgorzn])\b", self.source)}
            )
            if len(letters) > 1:
                other = letters[(letters.index(node.attr) + 1) % len(letters)]
                self.add("gate", node, f"{base}.{other}")
        self.generic_visit(node)

    def visit_keyword(self, node):
        if node.arg not in ("strict", "dtype"):
            self.visit(node.value)

    def visit_Constant(self, node):
        value = node.value
        if isinstance(value, bool):
            self.add("constant", node, str(not value))
        elif isinstance(value, int):
            self.add("constant", node, str(value + 1))
        elif isinstance(value, float):
            self.add("constant", node, repr(value * 2 if value else 1.0))

    def visit_Subscript(self, node):
        if isinstance(node.slice, ast.Slice):
            for bound in (node.slice.lower, node.slice.upper):
                if bound is not None and not isinstance(bound, ast.Constant):
                    self.add("range", bound, f"{self.text(bound)} + 1")
        self.generic_visit(node)

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Call):
            self.add("statement dropped", node, "pass")
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Assign(self, node):
        if all(isinstance(t, ast.Subscript) for t in node.targets) and self.path:
            self.add("statement dropped", node, "pass")
        if getattr(node.targets[0], "id", "") != "__all__":
            self.generic_visit(node)

    def visit_AugAssign(self, node):
        kind = type(node.op)
        self.add("statement dropped", node, "pass")
        if kind in OPERATORS:
            old, new = (f"{s}=" for s in OPERATORS[kind])
            self.between("sign", node, node.target, node.value, old, new)
        self.generic_visit(node)


def _is_text(node) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def mutants(root: Path, file: str) -> list[Mutant]:
    """Return all mutants of a file."""
    found = Finder((root / file).read_bytes(), file).found
    return [m for m in found if m.before != m.after]


def modules(root: Path, group: str) -> dict[str, Suite]:
    """Return the files of a group, each with its tests."""
    found: dict[str, Suite] = {}
    for suite in GROUPS[group]:
        for pattern in suite.modules.split():
            for path in sorted((root / "recurrent").glob(pattern)):
                found.setdefault(path.relative_to(root).as_posix(), suite)
    return found


def choose(root: Path, group: str, count: int, seed: int) -> list[Mutant]:
    """Choose mutants of a group by a seed: in turn from each module, there from each kind."""
    rng = random.Random(f"{seed} {group}")
    queues = []
    for file in modules(root, group):
        kinds: dict[str, list[Mutant]] = {}
        for m in mutants(root, file):
            kinds.setdefault(m.kind, []).append(m)
        for some in kinds.values():
            rng.shuffle(some)
        order = list(kinds.values())
        rng.shuffle(order)
        depth = max(map(len, order), default=0)
        queues.append([some[k] for k in range(depth) for some in order if k < len(some)])
    depth = max(map(len, queues))
    return [q[k] for k in range(depth) for q in queues if k < len(q)][:count]


def copy_tree(place: Path) -> None:
    """Copy what the tests need, without compiled files."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".hypothesis")
            shutil.copytree(ROOT / name, place / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, place / name)


def _wait(process: subprocess.Popen, file, limit: float) -> bool:
    """Wait for the end; kill the process and return True if it writes nothing for `limit` seconds.

    It writes a line before each test, so this is the limit of a test.
    """
    size, since = 0, time.perf_counter()
    while True:
        try:
            process.wait(1)
            return False
        except subprocess.TimeoutExpired:
            now = os.fstat(file.fileno()).st_size
            if now != size:
                size, since = now, time.perf_counter()
            elif time.perf_counter() - since > limit:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True


def run(
    place: Path, suite: Suite, cache: Path, test: str = "", select: str = ""
) -> tuple[str, str, float]:
    """Run a suite, or some tests of it, until one fails; return status, test and seconds."""
    # Bytecode is not kept: it would be mistaken for that of a mutant of equal date and size.
    settings = {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
    settings["RECURRENT_FIRST_FAILURE"] = "1"
    settings |= {"NUMBA_CACHE_DIR": str(cache), "NUMBA_DISABLE_JIT": str(int(not suite.compiled))}
    tests = [test] if test else list(dict.fromkeys(f"tests/{t}" for t in suite.tests.split()))
    command = [sys.executable, "-m", "pytest", "-x", "-v", "-n", "0", "--tb=no"]
    command += ["-p", "no:cacheprovider", "-o", "addopts=--strict-markers"]
    command += ["-m", "not slow and not ci", "-k", select, *tests]
    with tempfile.TemporaryFile("w+") as file:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=place, env=os.environ | settings, stdout=file, stderr=file,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30)),
        )  # fmt: skip
        stalled = _wait(process, file, suite.limit)
        file.seek(0)
        output = file.read()
    seconds = round(time.perf_counter() - began, 1)
    if process.returncode == 0:
        return "survived", "", seconds
    ends = "PASSED|FAILED|ERROR|SKIPPED|Fatal Python error"
    started = re.findall(rf"^(tests/\S+::.+?) *(?: (?:{ends}).*)?$", output, re.M)
    if stalled:
        return "time limit", started[-1] if started else "", seconds
    failed = re.findall(r"^(?:FAILED|ERROR) (tests/[^\s:]+(?:::.+?)?)(?: - .*)?$", output, re.M)
    if failed:
        return "caught", failed[0], seconds
    if process.returncode < 0 and started:
        return "caught", started[-1], seconds  # it crashed
    last = output.strip().rpartition("\n")[2]
    return "caught", f"at import: {last.removeprefix('E ').strip()[:70]}", seconds


def passes(place: Path, suite: Suite, test: str, cache: Path) -> bool:
    """Run one test without a mutant."""
    return run(place, suite._replace(limit=1800), cache, test)[0] == "survived"


def try_mutant(
    place: Path, mutant: Mutant, suite: Suite, cache: Path, test: str = ""
) -> tuple[str, str, float]:
    """Run a suite, or one test of it, with a mutant in the copied tree; put the file back."""
    path = place / mutant.file
    source, times = path.read_bytes(), path.stat()
    # Compiled kernels are kept in a cache by themselves if the mutant changes them.
    own = "kernels/" in mutant.file or "equations/" in mutant.file
    kernels = Path(tempfile.mkdtemp(dir=place)) if own else cache
    try:
        path.write_bytes(mutant.apply(source))
        if suite.first and not test:
            found = run(place, suite, kernels, select=suite.first)
            if found[0] != "survived":
                return found
        return run(place, suite, kernels, test)
    finally:
        path.write_bytes(source)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # Numba's cache looks at it
        if own:
            shutil.rmtree(kernels)


def short(text: str, size: int = 60) -> str:
    """Return a text on one line, without its middle if it is long."""
    text = " ".join(text.split())
    return text if len(text) <= size else f"{text[: size // 2 - 1]}…{text[-size // 2 :]}"


def change(mutant: Mutant) -> tuple[str, str]:
    """Return the texts before and after, around the place where they differ."""
    a, b = (" ".join(t.split()) for t in (mutant.before, mutant.after))
    if len(a) <= 60 and len(b) <= 60:
        return a, b
    differs = [k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    head = differs[0] if differs else min(len(a), len(b))
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    head, tail = max(0, head - 15), max(0, tail - 15)
    return tuple(short(f"{'…' * (head > 0)}{t[head : len(t) - tail]}") for t in (a, b))


def read(table: Path) -> list[dict]:
    """Return the rows of a table; none if there is no file."""
    return json.loads(table.read_text()) if table.exists() else []


def write(table: Path, rows: list[dict]) -> None:
    """Write a table, one row a line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    table.write_text(f"[\n{lines}\n]\n")


def row_of(mutant: Mutant, group: str, status: str, test: str, seconds: float) -> dict:
    """Return the row of a mutant."""
    before, after = change(mutant)
    return {
        "key": mutant.key, "group": group, "place": f"{mutant.file}:{mutant.line}",
        "kind": mutant.kind, "before": before, "after": after,
        "status": status, "test": test, "seconds": seconds,
    }  # fmt: skip


def listed(rows: list[dict]) -> Iterator[tuple[dict, Mutant]]:
    """Yield the rows whose mutants still exist in the sources, with these mutants."""
    known = {f: {m.key: m for m in mutants(ROOT, f)} for g in GROUPS for f in modules(ROOT, g)}
    for row in rows:
        file = row["place"].rpartition(":")[0]
        if row["key"] in known.get(file, {}):
            yield row, known[file][row["key"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TABLE, help="the table, read and written")
    parser.add_argument("--groups", nargs="*", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--count", type=int, default=50, help="mutants of each group")
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--again", action="store_true", help="run the mutants of the table anew")
    parser.add_argument("--status", help="with --again: only rows with this status")
    parser.add_argument("--work", type=Path, help="folder for the copy and the compiled kernels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Session(options, options.work or Path(folder)).run()


class Session:
    """A run of the tool: the copied tree, the table, and which tests are known to pass without."""

    def __init__(self, options: argparse.Namespace, work: Path):
        self.options, self.rows = options, read(options.out)
        self.place, self.cache = work / "tree", work / "cache"
        self.passing: set[str] = set()
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        copy_tree(self.place)

    def run(self) -> None:
        """Run what the options ask for, and write the table after every mutant."""
        chosen = self.again() if self.options.again else self.new()
        for row, mutant in chosen:
            row |= row_of(mutant, row["group"], *self.result(row["group"], mutant))
            write(self.options.out, self.rows)
            print(json.dumps(row, ensure_ascii=False), flush=True)

    def again(self) -> Iterator[tuple[dict, Mutant]]:
        """Yield rows of the table with their mutants."""
        for row, mutant in listed(self.rows):
            fits = self.options.status in (None, row["status"])
            if fits and row["group"] in self.options.groups and row["status"] != "equivalent":
                yield row, mutant

    def new(self) -> Iterator[tuple[dict, Mutant]]:
        """Yield new rows for the chosen mutants that the table lacks."""
        done = {row["key"] for row in self.rows}
        for group in self.options.groups:
            for mutant in choose(ROOT, group, self.options.count, self.options.seed):
                if mutant.key not in done:
                    self.rows.append({"group": group})
                    yield self.rows[-1], mutant

    def result(self, group: str, mutant: Mutant) -> tuple[str, str, float]:
        """Return what the tests of a mutant's module say."""
        suite = modules(ROOT, group)[mutant.file]
        while True:
            status, test, seconds = try_mutant(self.place, mutant, suite, self.cache)
            if status != "caught" or "::" not in test or test in self.passing:
                return status, test, seconds
            if passes(self.place, suite, test, self.cache):
                self.passing.add(test)
                return status, test, seconds
            print(f"{test} fails without a mutant, too, and is left out", flush=True)
            options = os.environ.get("PYTEST_ADDOPTS", ""), f"--deselect={shlex.quote(test)}"
            os.environ["PYTEST_ADDOPTS"] = " ".join(options)


if __name__ == "__main__":
    main()
