"""Sweeps that go on where they stopped, and Pareto fronts against brute force."""

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from joblib import parallel_config
from torch import Generator

from onnlab.hardware import Device, pareto, sweep
from tests.clusters import two_workers

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


def marked(device: Device, folder: Path, seconds: float) -> dict[str, int]:
    """Score a device, and leave one mark at the beginning and one at the end."""
    (folder / f"{device.kernels}-{os.getpid()}.begun").touch()
    time.sleep(seconds)
    (folder / f"{device.kernels}-{os.getpid()}.done").touch()
    return {"area": device.kernels * device.kernel_size**2}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_cluster_gives_what_one_process_gives_and_may_lose_a_worker(tmp_path: Path) -> None:
    devices = [Device(n, 3) for n in range(1, 9)]
    for name in ("serial", "cluster"):
        (tmp_path / name).mkdir()
    serial = sweep(devices, partial(marked, folder=tmp_path / "serial", seconds=0), report=silent)
    marks, file, killed = tmp_path / "cluster", tmp_path / "s.jsonl", []
    score = partial(marked, folder=marks, seconds=1)

    def kill_one(sentence: str) -> None:
        """After the first result, end a worker that is in the middle of another device."""
        while not killed and sentence.startswith("1 of 6"):
            begun, done = ({path.stem for path in marks.glob(f"*.{end}")} for end in ("begun", "done"))
            for victim in sorted(begun - done)[:1]:
                os.kill(int(victim.split("-")[1]), signal.SIGKILL)
                killed.append(victim)
            time.sleep(0.01)

    with two_workers(), parallel_config(backend="dask"):
        sweep(devices[:2], score, out=file, report=silent)
        found = sweep(devices, score, out=file, report=kill_one)
    assert found == serial
    keys = [json.loads(line)["key"] for line in file.read_text().splitlines()]
    assert sorted(keys) == sorted({line["key"] for line in serial}) and len(keys) == 8
    begun = [path.stem.split("-")[0] for path in marks.glob("*.begun")]
    again = killed[0].split("-")[0]
    assert begun.count(again) == 2 and not (marks / f"{killed[0]}.done").exists()
    assert begun.count("1") == begun.count("2") == 1  # was there when the second sweep began


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
