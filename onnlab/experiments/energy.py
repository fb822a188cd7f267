"""Energy that a machine takes for a training, where it has counters that may be read.

Processors of Intel and AMD count the energy of each package, and Linux shows it as files (RAPL, by the
powercap interface). GPUs of NVIDIA count theirs; NVML tells it, by the Python package ``nvidia-ml-py``.
Neither knows of processes: other work on the same package or GPU is in the number. Memory, disks and power
supply are not.

Sources: https://docs.kernel.org/power/powercap/powercap.html; NVML, ``nvmlDeviceGetTotalEnergyConsumption``.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import NamedTuple

import torch

POWERCAP = Path("/sys/class/powercap")
PAUSE = 30.0
"""Seconds between readings: a package may count to 65 kJ only, minutes at full load, and then from 0."""


class Counter(NamedTuple):
    """Something that counts joules: how to read it, and where it starts anew at 0."""

    read: Callable[[], float]
    most: float


class Meter:
    """Joules between the start and the end of a ``with`` block, of all CPU packages or of the GPU in use.

    Parameters
    ----------
    device : str
        What the work in the block runs on.

    Attributes
    ----------
    joules : float or None
        Known at the end of the block; None where the machine does not tell, or stops telling in between.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.joules: float | None = None
        self._counters = gpu(device) if torch.device(device).type == "cuda" else packages()
        self._last = self._read()
        self._total = 0.0
        self._done = Event()
        self._watch = Thread(target=self._add_now_and_then, daemon=True)

    def __enter__(self) -> "Meter":
        if self._counters:
            self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counters:
            self._done.set()
            self._watch.join()
            self._add()
            self.joules = None if self._last is None else round(self._total, 3)

    def _add_now_and_then(self) -> None:
        while not self._done.wait(PAUSE):
            self._add()

    def _add(self) -> None:
        now = self._read()
        if self._last is not None and now is not None:
            for counter, before, after in zip(self._counters, self._last, now, strict=True):
                self._total += after - before + (counter.most if after < before else 0.0)
            self._last = now
        else:  # what was counted meanwhile is not known, whatever comes later
            self._last = None

    def _read(self) -> list[float] | None:
        try:
            return [counter.read() for counter in self._counters]
        except Exception:  # of files or of NVML: no work in the block is to be lost for its joules
            return None


def packages() -> list[Counter]:
    """Return the counters of all CPU packages; none if there are none, or one may not be read."""
    zones = sorted(POWERCAP.glob("intel-rapl:*"))
    try:
        return [
            _package(zone)
            for zone in zones
            if re.fullmatch(r"intel-rapl:\d+", zone.name)  # not the parts of a package, intel-rapl:0:1
            and (zone / "name").read_text().startswith("package")  # not the platform, which holds them all
        ]
    except OSError:  # Linux lets only root read them, unless it is told otherwise
        return []


def gpu(device: str) -> list[Counter]:
    """Return the counter of a GPU; none if ``nvidia-ml-py`` is not installed, or the GPU has none."""
    try:
        import pynvml  # type: ignore[import-not-found,unused-ignore]  # not required
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        # By name: a number would ignore CUDA_VISIBLE_DEVICES.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return []
    return [Counter(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, 2**64 / 1e3)]


def _package(zone: Path) -> Counter:
    read = partial(_joules, zone / "energy_uj")
    read()
    return Counter(read, _joules(zone / "max_energy_range_uj"))


def _joules(file: Path) -> float:
    return int(file.read_text()) / 1e6
