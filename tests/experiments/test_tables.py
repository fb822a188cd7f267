"""Means and spreads, against NumPy."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from onnlab.data.sources import COPIES
from onnlab.experiments import EXPERIMENTS, Experiment, Row, TableRow, Trial, gain, read, tables_of
from onnlab.experiments.settings import Run, run_of
from onnlab.experiments.tables import paired, student_t
from tests.experiments.helpers import (
    AGAIN,
    BUILT,
    HYBRID,
    KD,
    LINEAR,
    RESCUED,
    TEACHER,
    TINY,
    line_of,
    lines_of,
    made_up,
)

FIRST = LINEAR.trials[0]
RESULTS = Path(__file__).parents[2] / "results"


def table(lines: list[dict]) -> TableRow:
    """What lines of ``LINEAR`` come to."""
    return tables_of(TINY, lines)[LINEAR]


def test_mean_and_spread_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).uniform(0.8, 1, 5)
    row = table([made_up(seed, float(value)) for seed, value in enumerate(values)])
    assert row.n == 5 and row.scores == tuple(enumerate(values))
    np.testing.assert_allclose([row.mean, row.std], [values.mean(), values.std(ddof=1)], rtol=1e-12)


def test_one_seed_has_no_spread() -> None:
    row = table([made_up(0, 0.9)])
    assert (row.n, row.mean) == (1, 0.9) and math.isnan(row.std)


def test_validation_chooses_the_learning_rate_whatever_the_test_says() -> None:
    lines = [made_up(0, 0.99, 0.6, 4e-3), made_up(0, 0.7, 0.8, 1e-3), made_up(1, 0.9, 0.1, 1e-3)]
    row = table(lines)
    assert (row.trial, row.trials) == (Trial(1e-3), 2) and row.scores == ((0, 0.7), (1, 0.9))
    assert row.keys == (lines[1]["key"], lines[2]["key"])


def test_of_equal_validation_accuracies_the_lower_loss_chooses() -> None:
    lines = [made_up(0, 0.9, rate=4e-3, validation_loss=0.3), made_up(0, 0.8, rate=1e-3, validation_loss=0.2)]
    assert table(lines).trial == table(lines[::-1]).trial == Trial(1e-3)


def test_temperatures_are_tried_like_learning_rates() -> None:
    hot = replace(KD, learning_rates=(1e-3,), temperatures=(2.0, 8.0))
    runs = [run_of(hot, trial, 0, lambda row: row.trials[0]) for trial in hot.trials]
    lines = [line_of(one, 0.9, validation) for one, validation in zip(runs, (0.8, 0.9), strict=True)]
    row = tables_of(Experiment("tiny", "book", (TEACHER, hot)), [*lines_of(TEACHER, [0.9]), *lines])[hot]
    assert (row.trial, row.trials, row.n) == (Trial(1e-3, None, 8.0), 2, 1)


def test_failed_runs_and_rows_without_seed_0_are_left_out() -> None:
    failed = {**made_up(1, 0.5), "error": "ValueError: x"}
    assert table([made_up(0, 0.9), failed]).n == 1
    assert tables_of(TINY, [made_up(1, 0.9)]) == {}


def rows_with(*accuracies: dict[int, float]) -> list[TableRow]:
    """Rows with these test accuracies by seed."""
    return [table([made_up(seed, value) for seed, value in by_seed.items()]) for by_seed in accuracies]


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


def test_paired_rows_have_the_scores_of_the_common_seeds() -> None:
    first, second = rows_with({0: 0.9, 1: 0.8, 2: 0.1}, {0: 0.8, 1: 0.7, 3: 0.99})
    one, other = paired(first, second)
    assert one.scores == ((0, 0.9), (1, 0.8)) and one.keys == first.keys[:2]
    assert other.scores == ((0, 0.8), (1, 0.7)) and one.mean - other.mean == pytest.approx(0.1)


def test_rows_without_a_common_seed_have_no_gain() -> None:
    first, second = rows_with({0: 0.9, 1: 0.8}, {0: 0.9})
    with pytest.raises(ValueError, match=r"must have a seed in common, got \[0, 1\] and \[2\]"):
        gain(first, replace(second, scores=((2, 0.9),), keys=second.keys[:1]))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_students_distribution_is_that_of_scipy(degrees: int, level: float) -> None:
    assert student_t(degrees, level) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-9)


def test_declared_rows_are_found_by_all_their_settings() -> None:
    lines = [line for row in TINY.rows[:2] for line in lines_of(row, [0.9])]
    other = lines_of(replace(LINEAR, epochs=7), [0.1])
    found = tables_of(TINY, [*other, *reversed(lines)])
    assert list(found) == list(TINY.rows[:2])
    assert all(one.mean == 0.9 for one in found.values())


def test_a_trial_that_is_not_declared_any_more_has_no_say() -> None:
    dropped = made_up(0, 0.99, validation=1.0, rate=0.5)
    found = table([dropped, *lines_of(LINEAR, [0.8, 0.82])])
    assert (found.trial, found.trials) == (FIRST, 1) and found.mean == pytest.approx(0.81)


def behind(row: Row, rates: dict[Row, float], seed: int) -> Run:
    """The first trial of a row, behind those of the rows before it that have these learning rates."""
    return run_of(row, row.trials[0], seed, lambda other: Trial(rates[other], *_rest(other)))


def _rest(row: Row) -> tuple[float | None, ...]:
    first = row.trials[0]
    return first.label_smoothing, first.temperature, first.beta


def test_students_of_a_teacher_that_was_not_chosen_are_left_out_however_good_they_are() -> None:
    """The second trial of the teacher failed, students were made behind the first; tried again, it wins."""
    first, second = ([behind(KD, {TEACHER: rate}, s) for s in (0, 1)] for rate in TEACHER.learning_rates)
    old = [line_of(one, 0.99, validation=0.9) for one in first]
    new = [line_of(one, value, validation=0.4) for one, value in zip(second, (0.8, 0.82), strict=True)]
    teacher = [line_of(Run(TEACHER, trial, 0), 0.9, 0.5 + k / 10) for k, trial in enumerate(TEACHER.trials)]
    failed = {**teacher[1], "error": "ValueError: x"}
    assert tables_of(TINY, [teacher[0], failed, *old])[KD].keys == tuple(line["key"] for line in old)
    for lines in ([*teacher, *old, *new], [*new, *old, *teacher]):
        found = tables_of(TINY, lines)[KD]
        assert found.scores == ((0, 0.8), (1, 0.82)) and found.keys == tuple(line["key"] for line in new)
    assert KD not in tables_of(TINY, [*teacher, *old])  # nothing was made behind the chosen teacher yet
    assert KD not in tables_of(TINY, [*old, *new])  # which teacher is chosen is not known


def test_devices_of_another_design_are_left_out() -> None:
    """The design gets other learning rates: its old runs stay in the file, with the devices built of them."""
    design = replace(HYBRID, learning_rates=(4e-3, 1.6e-2))
    device, again = (replace(row, student=design) for row in (BUILT, AGAIN))
    other = Experiment("rescued", "book", (TEACHER, design, device, again))
    old = [line for row in RESCUED.rows for line in lines_of(row, [0.99, 0.99], validation=0.9)]
    assert set(tables_of(other, old)) == {TEACHER}
    new = [line for row in other.rows[1:] for line in lines_of(row, [0.7, 0.72])]
    found = tables_of(other, [*old, *new])
    assert {row.name: one.mean for row, one in found.items() if row != TEACHER} == {
        "as designed": pytest.approx(0.71), "as built": pytest.approx(0.71), "labels": pytest.approx(0.71),
    }  # fmt: skip


def test_seconds_are_a_median_so_that_one_run_beside_other_work_does_not_count() -> None:
    lines = [made_up(seed, 0.9, seconds=10.0 + seed) for seed in range(4)]
    assert table([*lines, made_up(4, 0.9, seconds=900.0)]).seconds == pytest.approx(12)


def test_one_copy_of_the_data_has_one_note_whatever_its_lines_say() -> None:
    lines = [made_up(seed, 0.9, data_note="as JPEG") for seed in range(3)]
    assert table([*lines, made_up(3, 0.9)]).notes == ("as JPEG",)
    (copy, note), *_ = COPIES.items()
    lines = [
        made_up(s, 0.9, data_sha256=copy, data_note=n) for s, n in enumerate(("as found", "other", None))
    ]
    assert table(lines).notes == (note,)
    lines = [
        line for name in EXPERIMENTS for line in read(RESULTS / f"{name}.jsonl") if line["error"] is None
    ]
    known = [line for line in lines if line["data_sha256"] in COPIES]
    assert {line["settings"]["data"] for line in known} == {"cifar10"}
    assert {x["data_sha256"] for x in lines if x["settings"]["data"] == "cifar10"} <= COPIES.keys()


def test_times_are_of_one_device_and_scores_of_all() -> None:
    here = [made_up(seed, 0.9, device="cpu", seconds=10.0 + seed) for seed in range(3)]
    there = [made_up(seed, 0.8, device="NVIDIA H200", seconds=1.0) for seed in (3, 4)]
    for lines in ([*here, *there], [*there, *here]):
        row = table(lines)
        assert (row.n, row.device) == (5, "cpu") and row.mean == pytest.approx(0.86)
        assert row.seconds == 11.0
    row = table([*here[:1], *there])
    assert (row.device, row.seconds) == ("NVIDIA H200", 1.0)


def test_where_pixels_have_labels_the_overlap_chooses_and_is_shown() -> None:
    def line(seed: int, rate: float, validation: float, test: float) -> dict:
        # accuracies tell the opposite: the lazy answer wins them
        pixels = {"test_miou": test, "validation_miou": validation}
        return made_up(seed, 1 - test, 1 - validation, rate, **pixels)

    row = table([line(0, 1e-3, 0.3, 0.2), line(0, 4e-3, 0.6, 0.5), line(1, 4e-3, 0.6, 0.7)])
    assert (row.trial, row.score, row.mean) == (Trial(4e-3), "mIoU", pytest.approx(0.6))
    other = table([made_up(0, 0.4)])
    assert other.score == "accuracy"
