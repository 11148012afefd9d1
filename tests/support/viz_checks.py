"""Checks of the geometry and the content of pictures."""

import re
from itertools import combinations, pairwise

import numpy as np

from viz.draw import notation

from .dot_reader import overlap, read

OPERATIONS = {"×": np.multiply, "+": np.add, "−": np.subtract}
ACTIVATIONS = {
    "tanh": np.tanh,
    "σ": lambda v: 1 / (1 + np.exp(-v)),
    "relu": lambda v: np.maximum(v, 0),
}


def assert_clear(source):
    """Check that nothing overlaps and that wires cross no other nodes."""
    assert_apart(source)
    assert_wires_pass_beside(source)


def assert_apart(source):
    nodes, edges, clusters = read(source)
    corners = [nodes.pop(f"corner{k}").box for k in (0, 1)]
    left, bottom, right, top = *corners[0][:2], *corners[1][2:]
    visible = [
        n
        for n in nodes.values()
        if n.attributes.get("style") != "invis" and not n.name.startswith("gradient:")
    ]
    for n in visible:
        assert (left, bottom) == (min(left, n.box[0]), min(bottom, n.box[1])), n
        assert (right, top) == (max(right, n.box[2]), max(top, n.box[3])), n
        assert (
            notation.width(n.attributes["label"], float(n.attributes.get("fontsize", 11)))
            <= n.box[2] - n.box[0]
        ), n
    for a, b in combinations(visible, 2):
        assert not overlap(a.box, b.box, slack=0.5), f"{a}\n{b}"
    for a, b in combinations(clusters.items(), 2):
        assert not overlap(a[1], b[1]), f"{a} {b}"
    for e in edges:
        assert all(left <= x <= right and bottom <= y <= top for x, y in e.points()), e


def assert_wires_pass_beside(source):
    nodes, edges, _ = read(source)
    solid = [
        n
        for n in nodes.values()
        if n.attributes.get("style") != "invis" and not n.name.startswith(("gradient:", "cut:"))
    ]
    for e in edges:
        others = [n for n in solid if n.name not in (e.tail, e.head)]
        if e.tail.startswith("in:"):  # lines of weights may cross other inputs
            others = [n for n in others if n.name in wiring_ids(nodes)]
        for x, y in e.points():
            hit = [n for n in others if n.box[0] < x < n.box[2] and n.box[1] < y < n.box[3]]
            assert not hit, f"{e}\n{hit}"


def wiring_ids(nodes):
    return {n for n in nodes if not n.startswith(("in:", "key:", "text", "corner"))}


def assert_wires_apart(c):
    """Check that wires share no stretch, pass no node and cross at right angles."""
    at = {p: k for k, p in c.place.items()}
    assert len(at) == len(c.place)
    owner, through = {}, {}
    for a, b, places in c.routes:
        assert (at[places[0]], at[places[-1]]) == (a, b)
        for p, q in pairwise(places):
            assert abs(p[0] - q[0]) + abs(p[1] - q[1]) == 1
            assert owner.setdefault(frozenset((p, q)), a) == a, (
                f"{a} along {owner[frozenset((p, q))]} at {p}"
            )
        for p, q, r in zip(places, places[1:], places[2:], strict=False):
            assert q not in at, f"{a} through {at[q]}"
            through.setdefault(q, {}).setdefault(a, set()).add((abs(r[0] - p[0]), abs(r[1] - p[1])))
    for place, nets in through.items():
        if len(nets) > 1:
            ways = [way for directions in nets.values() for way in directions]
            assert sorted(map(sorted, ways)) == [[0, 2], [0, 2]], f"{nets} turn at {place}"
            assert ways[0] != ways[1]


def tiles(source):
    """Return the drawn matrices by (name, gate)."""
    found = {}
    for name, node in read(source)[0].items():
        if m := re.fullmatch(r"(W_ih|W_hh|b_ih|b_hh|own):(\w+):(\d+),(\d+)", name):
            v = float(node.attributes["tooltip"].rpartition("= ")[2])
            found.setdefault((m[1], m[2]), {})[int(m[3]), int(m[4])] = v
    return {
        k: np.array([[v[r, c] for c in range(max(v)[1] + 1)] for r in range(max(v)[0] + 1)])
        for k, v in found.items()
    }
