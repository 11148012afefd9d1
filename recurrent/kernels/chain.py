"""One time step of several layers in one call: compiled steps, each of which passes its output on.

Python's part of a call, the dispatch of its arguments, takes longer than a step of a small layer.
Here a call has three arrays, however many layers there are. The program, int64 (layers, FIELDS),
has a row for each layer: the address of its compiled step, that of its output, which the last layer
does not use, and what the step reads. The caller keeps the arrays whose addresses these are.

A step is `step(target, fields, x, now, y)`: the addresses of its row, its input and its output, and
which half holds the states before it. It is compiled once for each cell, and called by address: so
a new combination of layers needs no compilation.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from .codegen.address import address, call_step, pointer, pointer_to_panels, word
from .codegen.copy import copy
from .codegen.denormals import FLUSH, flush_denormals, restore_denormals
from .codegen.gates import GateInputs
from .codegen.passes import rule_entries
from .codegen.staged import ForwardStates, Team, Workspace
from .codegen.step import forward_step
from .codegen.tile import in_order, product_tiles
from .jit import jit
from .matmul import WHOLE

FIELDS = 13
WORD = 8  # bytes of a field


@jit
def recurrent_step(target, fields, x, now, y):
    """Run one time step of a cell; the fields are those of `sequence.step`."""
    N, D, P, H = word(fields, 2), word(fields, 3), word(fields, 4), word(fields, 5)
    panels, bias, p = word(fields, 6), word(fields, 7), word(fields, 8)
    h, states, others, work = word(fields, 9), word(fields, 10), word(fields, 11), word(fields, 12)
    old_h, new_h = pointer(target, h, now * N * P), pointer(target, h, (1 - now) * N * P)
    half = others * N * H
    old, new = pointer(target, states, now * half), pointer(target, states, (1 - now) * half)
    first, source = pointer(target, bias, 0), pointer(target, x, 0)
    own, nothing = pointer(target, p, 0), pointer(target, 0, 0)
    packed = pointer_to_panels(target, panels)
    inputs = GateInputs(first, 0, in_order(), source, D, 1, old_h, P, H, packed, now)
    after = ForwardStates(new_h, old, new, N * H, nothing, own)
    workspace = Workspace(pointer(target, work, 0), N * H, WHOLE, nothing)
    team = Team(0, H, in_order(), 1, 0)
    forward_step(target, N, team, inputs, after, workspace)
    copy(target, new_h, pointer(target, y, 0), N * P)
    return 0


@jit
def linear_step(target, fields, x, now, y):
    """Compute y = x W' + b."""
    N, K, M = word(fields, 2), word(fields, 3), word(fields, 4)
    panels, bias = pointer_to_panels(target, word(fields, 5)), pointer(target, word(fields, 6), 0)
    source, out = pointer(target, x, 0), pointer(target, y, 0)
    product_tiles(target, N, M, K, bias, 0, source, K, panels, WHOLE, out, M)
    return 0


@jit
def rule_step(target, fields, x, now, y):
    """Compute y = f(x), entry by entry, by the target's rule.

    Denormals are kept, as by `elementwise.apply_rule`.
    """
    count = word(fields, 2)
    source = carray(pointer(target, x, 0), (count,))
    out = carray(pointer(target, y, 0), (count,))
    setting = flush_denormals()
    restore_denormals(np.int32(setting & ~FLUSH))
    rule_entries(target, source, (source, out), 0, count)
    restore_denormals(setting)
    return 0


@jit
def run(program, layers, x, now, y):
    """Run one time step of all layers: y from x, the states after it beside those before it."""
    setting = flush_denormals()
    source = address(x)
    for k in range(layers):
        fields = address(program) + k * FIELDS * WORD
        out = address(y) if k == layers - 1 else word(fields, 1)
        call_step(word(fields, 0), fields, source, now, out)
        source = out
    restore_denormals(setting)
