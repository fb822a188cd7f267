"""Estimates against training: the parts, and a run that takes seconds."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Generator

from onnlab import cli
from onnlab.commands import experiments as commands
from onnlab.data import load
from onnlab.experiments import (
    BUDGETS,
    DEVICES,
    agreement,
    compare_estimates,
    estimates,
    format_estimates,
    spearman,
    trained_accuracy,
)
from onnlab.hardware import Device, estimate_accuracy

TINY = replace(BUDGETS["chapter"], n_train=100, n_validation=100, draws=1, epochs=2)
TWO = (Device(1, 3, "rectified", pool=7), Device(8, 5, pool=4))


def line(estimate: float, trained: float, error: str | None = None) -> dict:
    score = {"estimate": estimate, "low": estimate - 0.03, "high": estimate + 0.03, "trained": trained}
    device = {"kernels": 1, "kernel_size": 3}
    return {"device": device, "score": None if error else score, "error": error}


@pytest.mark.parametrize("levels", [3, 1000])  # with and without many equal numbers
def test_the_rank_correlation_as_scipy_has_it(levels: int) -> None:
    one, other = torch.randint(levels, (2, 40), generator=Generator().manual_seed(0)).tolist()
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    assert spearman(one, one) == pytest.approx(1)
    assert spearman(one, [-value for value in one]) == pytest.approx(-1)


def test_a_rank_correlation_that_is_not_defined() -> None:
    assert math.isnan(spearman([1.0, 1.0], [1.0, 2.0]))
    with pytest.raises(ValueError):
        spearman([1.0], [2.0])


def test_agreement_by_hand() -> None:
    found = agreement([line(0.9, 0.88), line(0.8, 0.86), line(0.7, 0.69)])
    assert found.correlation == pytest.approx(1)
    assert found.bias == pytest.approx(-0.03 / 3)
    assert found.error == pytest.approx(0.09 / 3)
    assert (found.covered, found.devices) == (pytest.approx(2 / 3), 3)


@pytest.mark.parametrize("lines", [[line(0.9, 0.8)], [line(0.9, 0.8), line(0.9, 0.8, "no light")]])
def test_too_few_lines_and_failed_ones(lines: list) -> None:
    with pytest.raises(ValueError, match="lines must be at least two"):
        agreement(lines)


def test_a_failed_device_stays_in_the_table() -> None:
    text = format_estimates([line(0.9, 0.8, "no light"), line(0.9, 0.8), line(0.8, 0.7)])
    assert "failed    no light" in text and "bias +10.0 points, 0% inside" in text
    assert "rank correlation 1.00" in text


def test_the_scales_and_devices_of_the_experiment() -> None:
    assert tuple(BUDGETS) == ("chapter", "full")
    assert len(set(DEVICES)) == len(DEVICES) >= 12
    for name in ("kernels", "kernel_size", "camera", "pool", "noise", "hidden", "image_size"):
        assert len({getattr(device, name) for device in DEVICES}) > 1, name


def test_estimated_and_trained_alike(tmp_path: Path) -> None:
    file = tmp_path / "estimates.jsonl"
    lines = compare_estimates(TWO, TINY, out=file, report=lambda _: None)
    data = estimates.few(load("mnist-mini"), TINY)
    for one, device in zip(lines, TWO, strict=True):
        score = one["score"]
        expected = estimate_accuracy(data, device, n_train=100, draws=1)
        assert score["estimate"] == expected.mean and score["low"] == expected.low
        assert score["trained"] == trained_accuracy(device, data, TINY, 0)
        assert score["trained_spread"] == 0
    assert compare_estimates(TWO, TINY, out=file, report=lambda _: None) == lines


def test_the_rate_is_chosen_on_validation_and_noise_is_on_in_the_test() -> None:
    data, device = estimates.few(load("mnist-mini"), TINY), Device(2, 3, noise=3.0)
    budget = replace(TINY, learning_rates=(1e-9, 1e-2))
    found = trained_accuracy(device, data, budget, 0)
    assert found == trained_accuracy(device, data, replace(budget, learning_rates=(1e-2,)), 0)
    assert found < trained_accuracy(replace(device, noise=0.0), data, budget, 0)


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    monkeypatch.setitem(estimates.BUDGETS, "chapter", TINY)
    monkeypatch.setattr(commands, "DEVICES", TWO)
    assert cli.main(["estimates", "--out", str(tmp_path / "e.jsonl")]) == 0
    printed = capsys.readouterr()
    assert "2 devices, 2 of them to be scored" in printed.err
    rows = printed.out.splitlines()
    assert rows[0].split() == ["device", "estimate", "interval", "trained"]
    assert "rank correlation" in rows[-1] and len(rows) == 5
    assert np.all([row.startswith("Device(") for row in rows[1:3]])
