"""Joules, from counters that are files of a made-up machine, or a made-up NVML."""

import os
import sys
from pathlib import Path
from threading import Event
from types import ModuleType, SimpleNamespace

import pytest
import torch

from onnlab.experiments import Meter, energy


def zone(powercap: Path, number: str, name: str, microjoules: int, most: int = 262_143_328_850) -> Path:
    folder = powercap / f"intel-rapl:{number}"
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    return tmp_path


def test_packages_add_up_and_neither_their_parts_nor_the_platform_count_again(powercap):
    files = [
        zone(powercap, "0", "package-0", 5_000_000),
        zone(powercap, "1", "package-1", 7_000_000),
        zone(powercap, "0:0", "core", 1_000_000),
        zone(powercap, "2", "psys", 1_000_000),
    ]
    with Meter() as meter:
        for file in files:
            file.write_text(str(int(file.read_text()) + 1_500_000))
    assert meter.joules == 3.0


def test_a_counter_that_starts_anew_goes_on(powercap):
    file = zone(powercap, "0", "package-0", 9_000_000, most=10_000_000)
    with Meter() as meter:
        file.write_text("2000000")
    assert meter.joules == 3.0  # 1 to the end of the range, and 2 from 0


def test_a_counter_that_starts_anew_twice_is_read_in_between(monkeypatch):
    values, exhausted = [9.0, 2.0, 1.0], Event()

    def read() -> float:
        if len(values) == 1:
            exhausted.set()
            return values[0]
        return values.pop(0)

    monkeypatch.setattr(energy, "PAUSE", 0.001)
    monkeypatch.setattr(energy, "packages", lambda: [energy.Counter(read, 10.0)])
    with Meter() as meter:
        assert exhausted.wait(10)
    assert meter.joules == 12.0  # 3 to come to 2, and 9 to come to 1


def test_a_machine_that_does_not_tell_gives_none(powercap):
    with Meter() as meter:
        pass
    assert meter.joules is None


@pytest.mark.parametrize("trouble", ["permission", "missing"])
def test_one_package_that_may_not_be_read_gives_none(trouble, powercap, monkeypatch):
    zone(powercap, "0", "package-0", 5_000_000)
    file = zone(powercap, "1", "package-1", 5_000_000)
    if trouble == "missing":
        file.unlink()
    else:
        read = Path.read_text

        def refuse(path, *args, **kwargs):  # root may read what has no permission
            if path == file:
                raise PermissionError(13, os.strerror(13), str(path))
            return read(path, *args, **kwargs)

        monkeypatch.setattr(Path, "read_text", refuse)
    with Meter() as meter:
        pass
    assert meter.joules is None


def test_a_counter_that_fails_at_the_end_leaves_the_work_and_gives_none(powercap):
    files = [zone(powercap, number, f"package-{number}", 5_000_000) for number in ("0", "1")]
    with Meter() as meter:
        files[1].unlink()
        done = True
    assert done and meter.joules is None


def test_a_counter_that_fails_in_between_gives_none_though_it_tells_again(monkeypatch):
    values, exhausted = iter([9.0, None, 9.5]), Event()

    def read() -> float:
        value = next(values, 10.0)
        if value is None:
            raise OSError("busy")
        if value == 10.0:
            exhausted.set()
        return value

    monkeypatch.setattr(energy, "PAUSE", 0.001)
    monkeypatch.setattr(energy, "packages", lambda: [energy.Counter(read, 100.0)])
    with Meter() as meter:
        assert exhausted.wait(10)
    assert meter.joules is None


def test_an_error_in_the_block_gets_through(powercap):
    zone(powercap, "0", "package-0", 5_000_000)
    with pytest.raises(KeyError), Meter() as meter:
        raise KeyError
    assert meter.joules == 0.0


class NVMLError(Exception):
    pass


def nvml(millijoules: list[int]) -> ModuleType:
    """A made-up NVML with one GPU, called ``GPU-abc``, that gives these values in turn."""
    module, values = ModuleType("pynvml"), iter(millijoules)

    def consumption(handle: str) -> int:
        assert handle == "GPU-abc"
        if not millijoules:
            raise NVMLError("not supported")
        value = next(values, None)
        if value is None:
            raise NVMLError("GPU is lost")
        return value

    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByUUID = lambda uuid: uuid
    module.nvmlDeviceGetTotalEnergyConsumption = consumption
    module.NVMLError = NVMLError
    return module


@pytest.mark.parametrize(
    ("millijoules", "joules"), [([1000, 1000, 4500], 3.5), ([1000, 1000], None), ([], None)]
)
def test_a_gpu_tells_its_own_joules_and_the_packages_do_not_count(millijoules, joules, powercap, monkeypatch):
    zone(powercap, "0", "package-0", 5_000_000)
    monkeypatch.setitem(sys.modules, "pynvml", nvml(millijoules))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="abc"))
    with Meter("cuda:0") as meter:
        pass
    assert meter.joules == joules


def test_a_gpu_without_nvml_gives_none(powercap, monkeypatch):
    zone(powercap, "0", "package-0", 5_000_000)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # import raises ImportError
    with Meter("cuda") as meter:
        pass
    assert meter.joules is None
