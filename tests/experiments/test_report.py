"""Results as Markdown; and what the book says of them, against the lines."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from onnlab.experiments import (
    EXPERIMENTS,
    Experiment,
    Gain,
    Place,
    Trial,
    gain,
    read,
    reported,
    scores,
    tables_of,
)
from onnlab.experiments.devices import PROCESSES
from onnlab.experiments.papers import CARS, DIGITS, OBJECTS
from onnlab.experiments.parts import TASKS
from onnlab.experiments.report import (
    BEGIN,
    END,
    comparisons,
    gain_cells,
    gains_table,
    main,
    missing,
    part,
    plain_tables,
    readme_tables,
    results_table,
    with_tables,
)
from onnlab.experiments.settings import run_of
from tests.experiments.helpers import (
    AGAIN,
    BUILT,
    HYBRID,
    KD,
    LINEAR,
    RESCUED,
    TAUGHT,
    TEACHER,
    TINY,
    line_of,
    lines_of,
)

ROOT = Path(__file__).parents[2]


def found_for(teacher=(0.9,), **accuracies):
    rows = {"teacher": TEACHER, "linear": LINEAR, "kd": KD}
    accuracies["teacher"] = teacher
    return tables_of(
        TINY, [line for name, values in accuracies.items() for line in lines_of(rows[name], values)]
    )


def test_each_row_stands_with_mean_spread_seeds_and_what_was_chosen():
    shown = results_table(TINY, found_for(linear=[0.9, 0.92], kd=[0.95])).splitlines()
    assert len(shown) == 5 and len(results_table(TINY, found_for()).splitlines()) == 3
    assert shown[3].startswith("| linear | 91.00 ± 1.41 | 2 | learning rate 0.001, of 1 |")
    assert shown[4].startswith("| KD | 95.00 | 1 | learning rate 0.001, temperature 4, of 1 |")


def test_an_end_of_a_range_is_marked_where_there_are_three_values_or_more():
    wide = replace(LINEAR, learning_rates=(1e-3, 2e-3, 4e-3))
    experiment = replace(TINY, rows=(wide,))
    runs = [run_of(wide, trial, 0, {}.__getitem__) for trial in wide.trials]
    for best, mark in enumerate((" (end of its range)", "", " (end of its range)")):
        lines = [line_of(one, 0.9, 0.5 + 0.1 * (k == best)) for k, one in enumerate(runs)]
        chosen = f"| learning rate {wide.learning_rates[best]:g}{mark}, of 3 |"
        assert chosen in results_table(experiment, tables_of(experiment, lines))
        assert chosen.strip("| ") in plain_tables(experiment, lines)
    assert "end of" not in results_table(TINY, found_for(linear=[0.9]))  # of two
    several = replace(wide, teacher=TEACHER, temperatures=(1.0, 2.0, 4.0), alpha=0.9)
    assert several.ends(Trial(2e-3, None, 4.0)) == ("temperature",)
    assert several.ends(Trial(1e-3, None, 1.0)) == ("learning_rate", "temperature")


def test_what_the_teacher_saw_stands_beside_the_labels_where_it_is_not_the_same():
    few = replace(KD, labels=30)
    experiment = replace(TINY, rows=(TEACHER, few, KD))
    found = tables_of(experiment, [line for row in experiment.rows for line in lines_of(row, [0.9])])
    head, _, teacher, shown, same = results_table(experiment, found).splitlines()
    assert "| Row | Labels (teacher) |" in head and "| Labels |" not in head
    assert shown.startswith("| KD | 30 (60) | ") and "| 60 |" in teacher and "| KD | 60 |" in same
    assert str(Place(experiment, few)) == "mnist-mini (book), 30 labels, teacher: 60"
    assert str(Place(experiment, KD)) == "mnist-mini (book), 60 labels"
    whole = replace(few, teacher=replace(TEACHER, labels=None))
    assert whole.teacher_labels == "all"


def test_seconds_stand_beside_their_device_where_a_table_has_two():
    there = lines_of(KD, [0.9, 0.9, 0.9], device="NVIDIA H200", seconds=2.0)
    here = [*lines_of(LINEAR, [0.9, 0.9], seconds=30.0), *lines_of(KD, [0.9], seconds=99.0)]
    found = tables_of(TINY, [*lines_of(TEACHER, [0.9]), *here, *there[1:]])
    assert "| Median seconds a training |" in results_table(TINY, found)
    linear, kd = results_table(TINY, found).splitlines()[3:]
    assert linear.endswith("| 30 on cpu |") and kd.endswith("| 2 on NVIDIA H200 |")
    alone = results_table(TINY, tables_of(TINY, here[:2]))
    assert "| Median seconds a training on cpu |" in alone and alone.endswith("| 30 |")


def test_a_student_is_compared_with_itself_without_a_teacher():
    found = found_for(teacher=[0.99, 0.99], linear=[0.90, 0.92], kd=[0.94, 0.95])
    ((row, other, one),) = comparisons(TINY, found)
    assert (row, other, one) == (KD, LINEAR, gain(found[KD], found[LINEAR]))
    assert "| KD | linear | +3.50 | −2.85 to +9.85 | no difference seen | 2 |" in gains_table(TINY, found)


def test_a_device_is_compared_with_its_design_and_one_that_learnt_again_with_the_device():
    lines = [line for row in RESCUED.rows for line in lines_of(row, [0.5, 0.6], experiment="rescued")]
    found = tables_of(RESCUED, lines)
    assert set(found) == set(RESCUED.rows)
    pairs = [(row, other) for row, other, _ in comparisons(RESCUED, found)]
    assert pairs == [(BUILT, HYBRID), (AGAIN, BUILT), (TAUGHT, AGAIN)]


def test_devices_of_two_processes_are_told_apart_and_not_compared():
    in_4f = [replace(row, process="4f laboratory") for row in (BUILT, AGAIN, TAUGHT)]
    both = Experiment("rescued", "book", (*RESCUED.rows, *in_4f))
    lines = [line for row in both.rows for line in lines_of(row, [0.5, 0.6], experiment="rescued")]
    found = tables_of(both, lines)
    pairs = [(row, other) for row, other, _ in comparisons(both, found)]
    built, again, taught = in_4f
    assert pairs[3:] == [(built, HYBRID), (again, built), (taught, again)]
    assert "| KD | labels | 4f laboratory | 30 (60) | " in gains_table(both, found)
    shown = results_table(both, found)
    assert "| as built | clean room | 60 | " in shown and "| as designed | none | 60 | " in shown
    assert "clean room" not in results_table(RESCUED, tables_of(RESCUED, lines))  # one process tells nothing


def test_an_experiment_may_declare_what_else_is_compared():
    found = found_for(teacher=[0.99, 0.98], linear=[0.90, 0.92])
    declared = replace(TINY, pairs=((LINEAR, TEACHER), (KD, TEACHER)))  # there are no runs of KD
    assert comparisons(TINY, found) == []
    assert comparisons(declared, found) == [(LINEAR, TEACHER, gain(found[LINEAR], found[TEACHER]))]
    assert comparisons(part(declared, "mnist-mini"), found) == comparisons(declared, found)


def test_more_nonlinearities_are_compared_with_none():
    experiment = EXPERIMENTS["sclc"]("book")
    found = tables_of(experiment, read(ROOT / "results/sclc.jsonl"))
    pairs = {(row.name, other.name) for row, other, _ in comparisons(experiment, found)}
    assert pairs == {
        ("twin, labels", "linear, labels"),
        ("ReLU in pool, labels", "linear, labels"),
        ("ReLU in pool, labels", "twin, labels"),  # declared: they differ by the pool
        ("linear, KD", "linear, labels"),
        ("ReLU in pool, KD", "ReLU in pool, labels"),
    }


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (Gain(0.02, 0.01, 0.03, 5), "better"),
        (Gain(-0.02, -0.03, -0.01, 5), "worse"),
        (Gain(0.02, -0.01, 0.05, 5), "no difference seen"),
        (Gain(0.02, float("-inf"), float("inf"), 1), "nothing yet"),
    ],
)
def test_nothing_is_called_better_whose_interval_holds_zero(one, verdict):
    assert gain_cells(one)[2] == verdict


def test_missing_seeds_and_trials_are_named():
    one_seed = found_for(teacher=[0.9], linear=[0.9], kd=[0.9])
    two_seeds = found_for(teacher=[0.9, 0.9], linear=[0.9])
    found = {row: replace(one, trials=2) for row, one in two_seeds.items()}
    assert missing(TINY, found, seeds=2) == ["linear (1 of 2 seeds)", "KD (0 of 2 seeds)"]
    one = {row: replace(found, trials=2) for row, found in one_seed.items()}
    assert missing(TINY, one, seeds=1) == []
    one[LINEAR] = replace(one[LINEAR], trials=1)
    assert missing(TINY, one, seeds=1) == ["linear (1 of 2 trials)"]


def test_rows_of_one_data_set():
    full = EXPERIMENTS["sclc"]("full")
    assert {row.data for row in part(full, "cifar10").rows} == {"cifar10"}
    with pytest.raises(ValueError, match="data must be one of cifar10, mnist, for sclc"):
        part(full, "mnist-mini")


def test_tables_go_between_the_marks():
    text = f"a\n{BEGIN}\nold\n{END}\nz"
    assert with_tables(text, "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nz"
    assert with_tables(with_tables(text, "new"), "new") == with_tables(text, "new")
    for wrong in ("a", f"{END}{BEGIN}", text + BEGIN):
        with pytest.raises(ValueError, match="must hold .* and then .*, once each"):
            with_tables(wrong, "new")


def test_the_readme_shows_the_lines_in_results():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(readme, readme_tables(ROOT / "results")) == readme, "run `make results`"


def test_the_command_writes_what_has_changed(tmp_path):
    with pytest.raises(SystemExit, match=r"usage: .* README\.md results"):
        main([])
    text = f"a\n{BEGIN}\n{END}\nz"
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "results").mkdir()
    for name in ("sclc", "ntkd", "when-kd-helps"):
        (tmp_path / f"results/{name}.jsonl").write_text((ROOT / f"results/{name}.jsonl").read_text())
    main([str(tmp_path / "README.md"), str(tmp_path / "results")])
    assert (tmp_path / "README.md").read_text() == with_tables(text, readme_tables(ROOT / "results"))


def test_the_tables_hold_what_the_lines_say():
    """From the raw lines, without the functions under test: one row, its mean, spread and gain."""
    raw = [json.loads(text) for text in (ROOT / "results/when-kd-helps.jsonl").read_text().splitlines()]

    def accuracies(row: str) -> list[float]:
        mine = [
            line
            for line in raw
            if (line["scale"], line["row"]) == ("book", row)
            and (line["settings"]["labels"], line["settings"]["augment"]) == (500, "none")
        ]
        tried = [line for line in mine if line["seed"] == 0]
        rate = max(tried, key=lambda line: line["validation_accuracy"])["settings"]["learning_rate"]
        chosen = {line["seed"]: line for line in mine if line["settings"]["learning_rate"] == rate}
        return [100 * chosen[seed]["test_accuracy"] for seed in sorted(chosen)]

    labels, taught = accuracies("labels"), accuracies("KD")
    experiment = EXPERIMENTS["when-kd-helps"]("book")
    found = tables_of(experiment, read(ROOT / "results/when-kd-helps.jsonl"))
    shown = f"| labels | 500 | none | {statistics.mean(labels):.2f} ± {statistics.stdev(labels):.2f} | "
    assert shown in results_table(experiment, found)
    low, high = stats.ttest_rel(taught, labels).confidence_interval(0.95)
    mean = statistics.mean(taught) - statistics.mean(labels)
    shown = f"| {mean:+.2f} | {low:+.2f} to {high:+.2f} | better | {len(labels)} |"
    assert f"| KD | labels | 500 (6000) | none {shown}" in gains_table(experiment, found)


def test_what_chapter_12_says_of_the_devices_of_the_appendix():
    """Answers gain a little over labels, in digits and in scenes; kernels alone do not."""
    whole = EXPERIMENTS["compensation"]("book")
    found = tables_of(whole, read(ROOT / "results/compensation.jsonl"))
    for data in ("mnist-mini", "scenes-24"):
        pairs = comparisons(part(whole, data), found)
        mine = [pair for pair in pairs if pair[0].process == "clean room"]
        gains = {row.name: one for row, other, one in mine if other.name == "labels"}
        assert gains["KD"].low > 0 and gains["KD"].mean < 0.02
        assert gains["NTKD"].low < 0 and gains["NTKD"].n >= 6


def test_what_the_appendix_says_of_the_two_kinds_of_light():
    """Both fall behind. Answers gain on PSFs; on 4f devices no way does, and less than a point is left."""
    digits = part(EXPERIMENTS["compensation"]("book"), "mnist-mini")
    pairs = comparisons(digits, tables_of(digits, read(ROOT / "results/compensation.jsonl")))
    assert all(one.high < 0 for row, _, one in pairs if row.name == "as built")
    gains = {(row.process, row.name): one for row, other, one in pairs if other.name == "labels"}
    assert gains["4f laboratory", "KD"].high > gains["clean room", "KD"].low > 0  # they overlap
    for name in ("KD", "NTKD", "KD + NTKD"):
        one = gains["4f laboratory", name]
        assert -0.01 < one.low < 0 < one.high < 0.01 and one.n < gains["clean room", name].n


def test_what_the_appendix_says_of_devices_on_all_of_mnist():
    """Labels bring most of the loss back; no other way differs from them, by a point at most."""
    digits = part(EXPERIMENTS["compensation"]("full"), "mnist")
    pairs = comparisons(digits, tables_of(digits, read(ROOT / "results/compensation.jsonl")))
    gains = {(row.process, row.name, other.name): one for row, other, one in pairs}
    for process in PROCESSES:
        lost, back = gains[process, "as built", "as designed"], gains[process, "labels", "as built"]
        assert lost.high < 0 < back.low and back.mean > -lost.mean / 2
        for name in ("KD", "NTKD", "KD + NTKD"):
            one = gains[process, name, "labels"]
            assert -0.01 < one.low < 0 < one.high < 0.01


def test_what_the_appendix_says_of_the_street_scenes():
    """Neither answers nor kernels differ clearly from masks; three seeds leave room for several points."""
    streets = part(EXPERIMENTS["segmentation"]("book"), "camvid-cars-60")
    found = tables_of(streets, read(ROOT / "results/segmentation.jsonl"))
    gains = {row.name: one for row, other, one in comparisons(streets, found) if other.name == "masks"}
    assert set(gains) == {"KD", "NTKD", "KD + NTKD"}
    for one in gains.values():
        assert one.n == 3 and one.low < -0.02 and one.high > 0.02


def test_what_the_appendix_says_of_the_pictures_that_validate_the_scenes():
    scenes = part(EXPERIMENTS["segmentation"]("book"), "scenes-24")
    fewest = min(row.labels for row in scenes.rows if row.labels is not None)
    pictures = len(TASKS["scenes-24"]().validation)
    text = (ROOT / "book/results.md").read_text(encoding="utf-8")
    assert f"validation split has {pictures} pictures, with all their masks: five times as many" in text
    assert f"as the {fewest} that a student learns from" in text and pictures == 5 * fewest


def test_what_the_book_says_of_the_larger_experiment():
    """Chapter 6: it still finds a gain for 2 000 shifted labels. Appendix: few labels gain most."""
    experiment = EXPERIMENTS["when-kd-helps"]("book")
    found = tables_of(experiment, read(ROOT / "results/when-kd-helps.jsonl"))
    gains = {
        (row.labels, row.augment): one for row, _, one in comparisons(experiment, found) if row.name == "KD"
    }
    assert gains[2000, "shift"].low > 0 and gains[2000, "shift"].n >= 5
    for augment in ("none", "shift"):
        assert gains[500, augment].low > gains[6000, augment].high


def test_what_the_book_says_of_few_labels_and_teachers_of_all_of_mnist():
    """Answers gain less and less; by the own twin in each row, and clearly in one alone."""
    found = {}
    for scale in ("book", "full"):
        whole = EXPERIMENTS["when-kd-helps"](scale)
        rows = tables_of(whole, read(ROOT / "results/when-kd-helps.jsonl"))
        found[scale] = [(row, one) for row, _, one in comparisons(whole, rows)]
    for augment in ("none", "shift"):
        answers = {r.labels: one for r, one in found["full"] if (r.name, r.augment) == ("KD", augment)}
        assert list(answers) == [500, 1000, 2000, 6000, 20_000, 55_000]
        assert {one.n for one in answers.values()} == {3}
        few, *between, many = (one.mean for one in answers.values())
        assert 0.02 < few < 0.0325 and 0.0025 < many < 0.004 and all(few > one for one in between)
        unseen = {labels for labels, one in answers.items() if one.low < 0 < one.high}
        assert unseen == ({6000, 20_000, 55_000} if augment == "shift" else set())
    twins = [(r.labels, one) for scale in found for r, one in found[scale] if r.name == "KD, own twin"]
    assert len(twins) == 7 and all(one.mean > 0 for _, one in twins)
    assert [labels for labels, one in twins if one.low > 0] == [20_000]


def test_what_the_appendix_says_of_one_run_by_two_versions():
    """Experiments share some runs, and have made them with code of different days."""
    first, second = (
        {line["key"]: line for line in read(ROOT / f"results/{name}.jsonl")}
        for name in ("ntkd", "compensation")
    )
    pairs = [(first[key], second[key]) for key in first.keys() & second.keys()]
    apart = [abs(one["test_accuracy"] - other["test_accuracy"]) for one, other in pairs]
    assert all(one["commit"] != other["commit"] for one, other in pairs)
    assert 0.0035 < max(apart) < 0.0045
    text = (ROOT / "book/results.md").read_text(encoding="utf-8")
    assert "made by two versions, has come out four tenths of a point apart" in text


def test_what_the_appendix_says_of_the_spread_of_devices():
    rows = ("back end tuned end to end", "back end tuned with NTKD")
    for system, data in ((DIGITS, "mnist-mini"), (OBJECTS, "cifar10"), (CARS, "scenes-24")):
        for theirs in (reported("table 4", system, row) for row in rows):
            (ours,) = scores([p for p in theirs.beside if p.row.data == data], ROOT / "results").values()
            assert (100 * ours.std > theirs.std) == (system != OBJECTS)
