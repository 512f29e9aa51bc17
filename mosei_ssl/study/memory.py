"""How much memory a process has needed."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory_mb() -> float:
    """Tell the peak of this program's resident memory.

    `ru_maxrss` survives fork and exec, so a child of a large process begins with its parent's; the
    kernel's own count in /proc begins anew with a program. Where there is no /proc, `ru_maxrss` is
    an upper bound.

    Returns:
        Megabytes.

    Example:
        >>> peak_memory_mb() > 1
        True
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
