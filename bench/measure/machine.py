"""Describes the machine for a run file."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from recurrent.kernels.codegen import target

UNITS = {getattr(target, name): name for name in ("AVX512", "AVX2", "NEON", "PORTABLE")}


def processors() -> int:
    """Count the processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict:
    """Return the processor, its count and vector unit, the system, and the memory in bytes."""
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
