"""Means and spreads, against NumPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from onnlab.experiments import TableRow, Trial, format_table, gain, table, tables_of
from onnlab.experiments.settings import any_run
from onnlab.experiments.tables import student_t
from tests.experiments.helpers import KD, LINEAR, TINY, lines_of, made_up


def test_mean_and_spread_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).uniform(0.8, 1, 5)
    (row,) = table([made_up(seed, float(value)) for seed, value in enumerate(values)])
    assert row.n == 5 and row.scores == tuple(enumerate(values))
    np.testing.assert_allclose([row.mean, row.std], [values.mean(), values.std(ddof=1)], rtol=1e-12)


def test_one_seed_has_no_spread() -> None:
    (row,) = table([made_up(0, 0.9)])
    assert (row.n, row.mean) == (1, 0.9) and math.isnan(row.std)
    assert "90.00%" in format_table([row]) and "±" not in format_table([row])


def test_validation_chooses_the_learning_rate_whatever_the_test_says() -> None:
    lines = [made_up(0, 0.99, 0.6, 1e-2), made_up(0, 0.7, 0.8, 1e-3), made_up(1, 0.9, 0.1, 1e-3)]
    (row,) = table(lines)
    assert (row.trial, row.trials) == (Trial(1e-3), 2) and row.scores == ((0, 0.7), (1, 0.9))


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


def rows_with(*accuracies: dict[int, float]) -> list[TableRow]:
    """Rows with these test accuracies by seed."""
    lines = [
        [made_up(seed, value, row=str(number)) for seed, value in by_seed.items()]
        for number, by_seed in enumerate(accuracies)
    ]
    return [one for group in lines for one in table(group)]


def test_the_gain_is_paired_and_its_interval_is_that_of_scipy() -> None:
    random = np.random.default_rng(1)
    common = random.normal(0.9, 0.03, 5)  # a lucky seed is lucky for both: pairing takes it out
    better, worse = common + random.normal(0.02, 0.003, 5), common
    first, second = rows_with(dict(enumerate(better)), dict(enumerate(worse)))
    one = gain(first, second)
    expected = stats.ttest_rel(better, worse)
    np.testing.assert_allclose(
        [one.mean, one.low, one.high],
        [np.mean(better - worse), *expected.confidence_interval(0.95)],
        rtol=1e-9,
    )
    assert one.n == 5 and one.clear
    other = gain(second, first)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low)) and other.clear


def test_only_seeds_that_both_rows_have_are_paired() -> None:
    first, second = rows_with({0: 0.9, 1: 0.8, 2: 0.1}, {0: 0.8, 1: 0.7, 3: 0.99})
    assert gain(first, second).n == 2 and gain(first, second).mean == pytest.approx(0.1)
    alone, other = rows_with({0: 0.9}, {0: 0.8, 1: 0.7})
    one = gain(alone, other)
    assert (one.n, one.low, one.high, one.clear) == (1, -math.inf, math.inf, False)


def test_rows_without_a_common_seed_have_no_gain() -> None:
    first, second = rows_with({0: 0.9, 1: 0.8}, {0: 0.9})
    with pytest.raises(ValueError, match=r"must have a seed in common, got \[0, 1\] and \[2\]"):
        gain(first, replace(second, scores=((2, 0.9),)))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_students_distribution_is_that_of_scipy(degrees: int, level: float) -> None:
    assert student_t(degrees, level) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-9)


def test_declared_rows_are_found_by_all_their_settings() -> None:
    lines = []
    for row in TINY.rows:
        settings = {**any_run(row).settings, "seed": 0}
        lines.append({**made_up(0, 0.9), "experiment": "tiny", "scale": "book", "row": row.name})
        lines[-1]["settings"] = settings
    other = {**lines[1], "settings": {**lines[1]["settings"], "epochs": 7}}
    found = tables_of(TINY, [lines[1], other, lines[0]])
    assert list(found) == list(TINY.rows[:2])
    assert [one.row for one in found.values()] == [row.name for row in TINY.rows[:2]]


def test_a_trial_that_is_not_declared_any_more_has_no_say() -> None:
    lines = lines_of(LINEAR, [0.8, 0.82])
    settings = {**lines[0]["settings"], "learning_rate": 0.5}
    dropped = {**lines[0], "settings": settings, "validation_accuracy": 1.0}
    found = tables_of(TINY, [dropped, *lines])[LINEAR]
    assert (found.trial, found.trials) == (LINEAR.trials[0], 1) and found.mean == pytest.approx(0.81)


def test_runs_with_a_teacher_of_another_trial_are_not_mixed_in() -> None:
    """Validation decides between them for seed 0, and so for all seeds; the test score never does."""
    first = lines_of(KD, [0.8, 0.82])
    second = [
        {**line, "test_accuracy": 0.99, "validation_accuracy": 0.4, "settings": {**line["settings"]}}
        for line in first
    ]
    for line in second:
        line["settings"]["teacher"] = {**line["settings"]["teacher"], "learning_rate": 4e-3}
    for lines in ([*first, *second], [*second, *first]):
        found = tables_of(TINY, lines)[KD]
        assert (found.n, found.scores) == (2, ((0, 0.8), (1, 0.82)))


def test_seconds_are_a_mean_and_notes_are_kept_once() -> None:
    lines = [made_up(seed, 0.9, seconds=10.0 + seed, data_note="as JPEG") for seed in range(3)]
    (row,) = table([*lines, made_up(3, 0.9, seconds=15.0)])
    assert row.seconds == pytest.approx(12) and row.notes == ("as JPEG",)


def test_the_fastest_training_counts_whatever_its_trial_and_joules_are_a_mean_of_those_known() -> None:
    lines = [made_up(seed, 0.9, seconds=10.0 + seed) for seed in range(3)]
    lines.append(made_up(0, 0.8, validation=0.4, rate=0.1, seconds=4.0, joules=900.0))  # was not chosen
    assert table(lines)[0].fastest == 4 and table(lines)[0].joules is None
    told = [made_up(3, 0.9, joules=100.0), made_up(4, 0.9, joules=200.0), made_up(5, 0.9, joules=None)]
    assert table([*lines, *told])[0].joules == pytest.approx(150)


def test_times_and_joules_are_of_one_device_and_scores_of_all() -> None:
    here = [made_up(seed, 0.9, device="cpu", seconds=10.0 + seed, joules=100.0 + seed) for seed in range(3)]
    there = [made_up(seed, 0.8, device="NVIDIA H200", seconds=1.0, joules=900.0) for seed in (3, 4)]
    there.append(made_up(0, 0.8, validation=0.4, rate=0.1, device="NVIDIA H200", seconds=0.5, joules=800.0))
    for lines in ([*here, *there], [*there, *here]):
        (row,) = table(lines)
        assert (row.n, row.device) == (5, "cpu") and row.mean == pytest.approx(0.86)
        assert (row.seconds, row.fastest, row.joules) == (11.0, 10.0, 101.0)
    (row,) = table([*here[:1], *there])
    assert (row.device, row.seconds, row.fastest, row.joules) == ("NVIDIA H200", 1.0, 0.5, 900.0)


def test_the_text_shows_every_row() -> None:
    text = format_table(table([made_up(0, 0.9), made_up(1, 0.91), made_up(0, 0.8, row="KD")]))
    head, *rows = text.splitlines()
    assert head.split()[:3] == ["scale", "data", "row"] and len(rows) == 2
    assert "90.50% ± 0.71" in rows[0] and "KD" in rows[1]


def test_where_pixels_have_labels_the_overlap_chooses_and_is_shown() -> None:
    def line(seed: int, rate: float, validation: float, test: float) -> dict:
        # accuracies tell the opposite: the lazy answer wins them
        pixels = {"test_miou": test, "validation_miou": validation}
        return made_up(seed, 1 - test, 1 - validation, rate, **pixels)

    (row,) = table([line(0, 1e-3, 0.3, 0.2), line(0, 2e-3, 0.6, 0.5), line(1, 2e-3, 0.6, 0.7)])
    assert (row.trial, row.score, row.mean) == (Trial(2e-3), "mIoU", pytest.approx(0.6))
    assert "mIoU" in format_table([row])
    (other,) = table([made_up(0, 0.4)])
    assert other.score == "accuracy"
