"""Which machine this is: what a run file says about it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from recurrent.kernels.codegen import target

UNITS = {getattr(target, name): name for name in ("AVX512", "AVX2", "NEON", "PORTABLE")}


def processors() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict:
    """The processor, how many, its vector unit as the kernels use it, the system, bytes of memory (None where unknown)."""
    known = hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names)
    return {
        "processor": _processor(),
        "cpus": processors(),
        "vector": UNITS[target.host()],
        "system": f"{platform.system()} {platform.machine()}",
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if known else None,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
