"""Sweeps that go on where they stopped, and Pareto fronts against brute force."""

import json
from pathlib import Path

import pytest
import torch
from joblib import parallel_config
from torch import Generator

from onnlab.hardware import Device, pareto, sweep

DEVICES = [Device(n, 3, hidden=(n,)) for n in (3, 1, 2)]


def area(device: Device) -> dict[str, float]:
    return {"area": device.kernels * device.kernel_size**2, "threads": torch.get_num_threads()}


def silent(_: str) -> None:
    pass


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_devices(jobs: int) -> None:
    found = sweep(DEVICES, area, jobs=jobs, report=silent)
    assert [line["score"]["area"] for line in found] == [27, 9, 18]
    assert [Device(**line["device"]) for line in found] == DEVICES
    assert {line["score"]["threads"] for line in found} == {1}
    assert {line["error"] for line in found} == {None}


def test_a_backend_that_was_set_is_used() -> None:
    with parallel_config(backend="threading", n_jobs=2):
        assert len(sweep(DEVICES, area, report=silent)) == 3


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    calls: list[int] = []

    def stopping(device: Device) -> dict[str, int]:
        calls.append(device.kernels)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"kernels": device.kernels}

    file = tmp_path / "sweep.jsonl"
    with pytest.raises(KeyboardInterrupt):
        sweep(DEVICES, stopping, out=file, report=silent)
    assert len(file.read_text().splitlines()) == 2
    found = sweep(DEVICES, stopping, out=file, report=silent)
    assert calls == [3, 1, 2, 2]
    assert [line["score"]["kernels"] for line in found] == [3, 1, 2]
    assert sweep(DEVICES, stopping, out=file, report=silent) == found and len(calls) == 4


def test_a_device_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    broken = {1}

    def score(device: Device) -> dict[str, int]:
        if device.kernels in broken:
            raise RuntimeError("no light")
        return {"kernels": device.kernels}

    told: list[str] = []
    found = sweep(DEVICES, score, out=tmp_path / "s.jsonl", report=told.append)
    assert [line["score"] for line in found] == [{"kernels": 3}, None, {"kernels": 2}]
    assert "RuntimeError: no light (test_sweep.py:" in found[1]["error"]
    assert any("no light" in sentence for sentence in told) and told[0] == "3 devices, 3 of them to be scored"
    broken.clear()
    found = sweep(DEVICES, score, out=tmp_path / "s.jsonl", report=told.append)
    assert "3 devices, 1 of them to be scored" in told
    assert [line["error"] for line in found] == [None] * 3


def test_other_settings_are_other_results(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    for count in (1, 2):
        for _ in range(2):
            found = sweep(
                DEVICES, lambda _, n=count: {"n": n}, settings={"n": count}, out=file, report=silent
            )
            assert {line["score"]["n"] for line in found} == {count}
    assert len(file.read_text().splitlines()) == 6


def test_a_device_that_comes_twice_is_scored_once() -> None:
    told: list[str] = []
    assert len(sweep([*DEVICES, *DEVICES], area, report=told.append)) == 3
    assert told[0].startswith("3 devices")


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"key": "a"})])
def test_a_broken_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(text + "\n")
    with pytest.raises(ValueError, match=r"s\.jsonl, line 1 is no result of a sweep"):
        sweep(DEVICES, area, out=file, report=silent)


def test_what_json_cannot_hold() -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        sweep(DEVICES, lambda _: {"accuracy": float("nan")}, report=silent)
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        sweep(DEVICES, area, jobs=0, report=silent)


@pytest.mark.parametrize("numbers", [1, 2, 3, 4])
@pytest.mark.parametrize("levels", [3, 1000])  # with and without many equal numbers
def test_the_front_by_brute_force(numbers: int, levels: int) -> None:
    generator = Generator().manual_seed(numbers)
    points = torch.randint(levels, (60, numbers), generator=generator)
    smaller = (points[:, None] <= points).all(-1) & (points[:, None] < points).any(-1)
    expected = (~smaller.any(0)).nonzero().flatten().tolist()
    assert pareto(points.tolist()) == expected


def test_fronts_that_are_plain_to_see() -> None:
    assert pareto([]) == []
    assert pareto([(1.0, 2.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0)]) == [0, 1, 3]
    assert pareto([(float("inf"), 0.0), (0.0, float("inf"))]) == [0, 1]


@pytest.mark.parametrize("points", [[(1.0,), (1.0, 2.0)], [(1.0, float("nan"))]])
def test_points_that_cannot_be_compared(points: list) -> None:
    with pytest.raises(ValueError, match="points must"):
        pareto(points)
