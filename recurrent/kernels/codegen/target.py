"""What kernels are compiled for: a cell or a rule, a dtype and this machine's vector unit, as one argument with a Numba type.

The type's name holds digests of the equations and of the kernel sources: Numba's on-disk cache is keyed by it,
so it serves user-defined cells like built-in ones and can never be stale.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types
from numba.extending import NativeValue, models, register_model, unbox

from ...equations.cell import Cell
from ...equations.rules import Rule
from ..jit import source_digest


class VectorUnit(NamedTuple):
    """Vector registers of a processor: their width, their number, and whether it has a fused multiply-add."""

    bytes: int
    registers: int
    fma: bool


AVX512, AVX2, NEON, PORTABLE = (
    VectorUnit(64, 32, True),
    VectorUnit(32, 16, True),
    VectorUnit(16, 32, True),
    VectorUnit(16, 16, False),
)


@lru_cache
def host() -> VectorUnit:
    """The vector unit that Numba compiles for: the host's, or that of NUMBA_CPU_NAME and NUMBA_CPU_FEATURES."""
    name, features = numba.config.CPU_NAME, numba.config.CPU_FEATURES
    if name is None and features is None:
        features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=name or "", features=features or "", opt=2
    )
    if machine.triple.startswith(("aarch64", "arm64")):
        return NEON
    probe = """
    declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
    define <16 x float> @probe(<16 x float> %a, <16 x float> %b) {
        %c = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %a, <16 x float> %b)
        ret <16 x float> %c
    }"""
    # Ask the code generator: it knows what a processor's name implies.
    code = machine.emit_assembly(llvm.parse_assembly(probe))
    if "vfmadd" not in code:
        return PORTABLE
    return AVX512 if "zmm" in code else AVX2


class TargetType(types.Type):
    """Numba's type of a Target; `key` finds it again when code is generated."""

    def __init__(self, name: str):
        super().__init__(name=name)


register_model(TargetType)(models.OpaqueModel)
TARGETS: dict[str, Target] = {}


class Target:
    """A kernel's first argument. Carries no data: its type says everything."""

    def __init__(self, dtype: np.dtype, unit: VectorUnit, cell: Cell | Rule | None):
        self.dtype, self.unit, self.cell = np.dtype(dtype), unit, cell
        self.lanes = unit.bytes // self.dtype.itemsize
        equations = f"{cell.name} {cell.digest}" if cell else "dense"
        name = f"Target({equations}, {self.dtype.name}, {unit.bytes}x{unit.registers}{'f' if unit.fma else ''}, {source_digest()})"
        self.tall = self.rows(4)[0]
        self._numba_type_ = TargetType(name)
        TARGETS[name] = self

    def blocks(self, accumulators: int) -> int:
        """Blocks of `lanes` units side by side in a tile, so that it has about four vectors a row."""
        return max(1, 4 // accumulators)

    def rows(self, vectors: int) -> list[int]:
        """Rows of tiles with `vectors` vectors a row: the tallest that the registers hold, then powers of two."""
        tallest = max(
            r
            for r in range(1, 9)
            if r == 1 or r * vectors + min(r, vectors) + 1 <= self.unit.registers
        )
        sizes, size = [tallest], 1 << (tallest.bit_length() - 1)
        while size:
            if size < tallest:
                sizes.append(size)
            size //= 2
        return sizes


@cache
def target(dtype: np.dtype, cell: Cell | Rule | None = None) -> Target:
    """The target for this machine."""
    return Target(dtype, host(), cell)


@unbox(TargetType)
def _unbox_target(typ, obj, context):
    return NativeValue(context.context.get_dummy_value())
