"""The target of a kernel: a cell or a rule, a dtype and the host's vector unit, as one argument.

A Target is a kernel's first argument. It carries no data: its Numba type says what to compile, and
the intrinsics look the Target up by the type's name. The name holds digests of the equations and of
the kernel sources. Numba's on-disk cache is keyed by types, so it serves user-defined cells like
built-in ones, and never stale code.
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
from ..cache import source_digest
from ..quantized import STORED


class VectorUnit(NamedTuple):
    """The vector unit of a processor."""

    bytes: int  # width of a register
    registers: int
    fma: bool  # whether it has a fused multiply-add


AVX512 = VectorUnit(64, 32, True)
AVX2 = VectorUnit(32, 16, True)
NEON = VectorUnit(16, 32, True)
PORTABLE = VectorUnit(16, 16, False)


@lru_cache
def host() -> VectorUnit:
    """Return the vector unit that Numba compiles for.

    NUMBA_CPU_NAME and NUMBA_CPU_FEATURES replace the host's if they are set.
    """
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
    # The code generator knows what a processor's name implies, so compile a probe and look.
    code = machine.emit_assembly(llvm.parse_assembly(probe))
    if "vfmadd" not in code:
        return PORTABLE
    return AVX512 if "zmm" in code else AVX2


def processor() -> str:
    """Return LLVM's name of the processor that Numba compiles for, such as "znver4"."""
    return numba.config.CPU_NAME or llvm.get_host_cpu_name()


class TargetType(types.Type):
    """Numba's type of a Target; its name is the key of TARGETS."""

    def __init__(self, name: str):
        super().__init__(name=name)


register_model(TargetType)(models.OpaqueModel)
TARGETS: dict[str, Target] = {}


class Target:
    """The target of a kernel: a dtype, a vector unit, a cell or a rule, and the kind of weights.

    `weights` names the kind if the matrices are quantised; "" stands for the dtype itself.
    `scale_rows` is then how many rows of codes precede each panel for the scales, and
    `weight_size` the bytes of a weight. `cut`: whether kernels read panels in pieces (`tile.Cut`);
    those that do not are shorter, which small products notice.
    """

    def __init__(
        self,
        dtype: np.dtype,
        unit: VectorUnit,
        cell: Cell | Rule | None,
        weights: str = "",
        cut: bool = False,
    ):
        self.dtype, self.unit, self.cell = np.dtype(dtype), unit, cell
        self.weights, self.cut = weights, cut
        stored, self.scale_rows = STORED[weights] if weights else (self.dtype, 0)
        self.weight_size = stored.itemsize
        self.lanes = unit.bytes // self.dtype.itemsize
        equations = f"{cell.name} {cell.digest}" if cell else "dense"
        registers = f"{unit.bytes}x{unit.registers}{'f' if unit.fma else ''}"
        kind = " ".join(filter(None, (self.dtype.name, weights, "cut" if cut else "")))
        name = f"Target({equations}, {kind}, {registers}, {source_digest()})"
        self.tall = self.rows(4)[0]
        self._numba_type_ = TargetType(name)
        TARGETS[name] = self

    def __reduce__(self):
        return _unpickled, (self.dtype, self.unit, self.cell, self.weights, self.cut)

    def blocks(self, accumulators: int) -> int:
        """Return how many blocks of `lanes` units a tile has: about four vectors per row in all."""
        return max(1, 4 // accumulators)

    def rows(self, vectors: int) -> list[int]:
        """Return the heights of tiles with `vectors` vectors per row, descending.

        The first is the greatest that fits in the registers; the powers of two below it follow.
        """

        def fits(rows):
            return rows * vectors + min(rows, vectors) + 1 <= self.unit.registers

        tallest = max(rows for rows in range(1, 9) if rows == 1 or fits(rows))
        sizes, size = [tallest], 1 << (tallest.bit_length() - 1)
        while size:
            if size < tallest:
                sizes.append(size)
            size //= 2
        return sizes


@cache
def target(
    dtype: np.dtype, cell: Cell | Rule | None = None, weights: str = "", cut: bool = False
) -> Target:
    """Return the target for this machine."""
    return Target(dtype, host(), cell, weights, cut)


def _unpickled(dtype, unit, cell, weights="", cut=False) -> Target:
    if unit != host():
        raise ValueError(
            f"the packed weights are those of another processor, with vectors of {unit.bytes} bytes"
            f" and not {host().bytes}: make the stream again, model.stream(state)"
        )
    return target(dtype, cell, weights, cut)


@unbox(TargetType)
def _unbox_target(typ, obj, context):
    return NativeValue(context.context.get_dummy_value())
