"""How much memory a call needs at its peak: asked of the Linux kernel, so that every allocation counts."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mebibytes(run: Callable[[], object]) -> float:
    """Return by how much the resident memory of this process rose while ``run`` was called; NaN elsewhere."""
    if not RESET.exists():
        return float("nan")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text("5")  # the peak starts anew from what is resident now
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    """Kibibytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])
