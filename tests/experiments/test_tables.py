"""Means and spreads, against NumPy."""

import math

import numpy as np
import pytest

from onnlab.experiments import Trial, format_table, gain, table
from tests.experiments.helpers import made_up


def test_mean_and_spread_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).uniform(0.8, 1, 5)
    (row,) = table([made_up(seed, float(value)) for seed, value in enumerate(values)])
    assert row.n == 5 and row.accuracies == tuple(enumerate(values))
    np.testing.assert_allclose([row.mean, row.std], [values.mean(), values.std(ddof=1)], rtol=1e-12)


def test_one_seed_has_no_spread() -> None:
    (row,) = table([made_up(0, 0.9)])
    assert (row.n, row.mean) == (1, 0.9) and math.isnan(row.std)
    assert "90.00%" in format_table([row]) and "±" not in format_table([row])


def test_validation_chooses_the_learning_rate_whatever_the_test_says() -> None:
    lines = [made_up(0, 0.99, 0.6, 1e-2), made_up(0, 0.7, 0.8, 1e-3), made_up(1, 0.9, 0.1, 1e-3)]
    (row,) = table(lines)
    assert (row.trial, row.trials) == (Trial(1e-3), 2) and row.accuracies == ((0, 0.7), (1, 0.9))


def test_of_equal_validation_accuracies_the_lower_loss_chooses() -> None:
    lines = [made_up(0, 0.9, rate=1e-2, validation_loss=0.3), made_up(0, 0.8, rate=1e-3, validation_loss=0.2)]
    (row,) = table(lines)
    assert row.trial == Trial(1e-3)


def test_temperatures_are_tried_like_learning_rates() -> None:
    lines = [made_up(0, 0.9, validation) for validation in (0.8, 0.9)]
    for temperature, line in zip((2.0, 8.0), lines, strict=True):
        line["settings"]["temperature"] = temperature
    (row,) = table(lines)
    assert (row.trial, row.trials, row.n) == (Trial(1e-3, None, 8.0), 2, 1)


def test_failed_runs_and_rows_without_seed_0_are_left_out() -> None:
    failed = {**made_up(1, 0.5), "error": "ValueError: x"}
    (row,) = table([made_up(0, 0.9), failed])
    assert row.n == 1
    assert table([made_up(1, 0.9)]) == []


def test_rows_differ_by_their_teachers_settings_but_not_by_their_teachers_seed() -> None:
    lines = []
    for seed, epochs in ((0, 1), (1, 1), (0, 2)):
        line = made_up(seed, 0.9)
        line["settings"]["teacher"] = {**line["settings"], "epochs": epochs}
        lines.append(line)
    assert [row.n for row in table(lines)] == [2, 1]


def test_the_gain_is_counted_in_standard_deviations_of_single_runs() -> None:
    rows = [
        *table([made_up(seed, value) for seed, value in enumerate((0.90, 0.94))]),
        *table([made_up(seed, value, row="KD") for seed, value in enumerate((0.96, 0.98))]),
    ]
    difference, deviations = gain(rows[1], rows[0])
    pooled = np.sqrt(np.mean([np.var([0.90, 0.94], ddof=1), np.var([0.96, 0.98], ddof=1)]))
    assert difference == pytest.approx(0.05) and deviations == pytest.approx(0.05 / pooled)


def test_the_text_shows_every_row() -> None:
    text = format_table(table([made_up(0, 0.9), made_up(1, 0.91), made_up(0, 0.8, row="KD")]))
    head, *rows = text.splitlines()
    assert head.split()[:3] == ["scale", "data", "row"] and len(rows) == 2
    assert "90.50% ± 0.71" in rows[0] and "KD" in rows[1]
