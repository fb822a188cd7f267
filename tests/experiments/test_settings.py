"""What may be declared, and what names a run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from onnlab.distill import NTKD
from onnlab.experiments import EXPERIMENTS, SCALES, Experiment, Row, Run, Trial, read
from onnlab.experiments.devices import PROCESSES
from onnlab.experiments.parts import KERNELS, SOLVED
from onnlab.experiments.runs.training import build
from onnlab.experiments.settings import BEFORE, TUNED, VERSION, any_run
from onnlab.experiments.tables import _without
from tests.experiments.helpers import AGAIN, BUILT, HYBRID, KD, LINEAR, TEACHER

RESULTS = Path(__file__).parents[2] / "results"
IMAGES = {
    "mnist-mini": 6000, "mnist": 55_000, "cifar10": 45_000, "scenes-24": 1000, "camvid-cars-60": 367,
    "camvid-cars": 367,
}  # fmt: skip
SHAPES = {
    "mnist-mini": (1, 28, 28), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "scenes-24": (1, 24, 24),
    "camvid-cars-60": (3, 60, 80), "camvid-cars": (3, 180, 240),
}  # fmt: skip


def trials(scale: str, many: int) -> int:
    """How many trials a row has that is compared."""
    return 2 if scale == "chapter" else many


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_run_belongs_to_two_scales(name: str) -> None:
    """A key does not hold the scale: a line of one would be taken for a run of the other."""
    settings: dict[str, str] = {}
    for scale in SCALES:
        for row in EXPERIMENTS[name](scale).rows:
            untuned = json.dumps(_without((*TUNED, "seed"), any_run(row).settings), sort_keys=True)
            assert settings.setdefault(untuned, scale) == scale, row.name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_guide_names_what_needs_a_download(name: str) -> None:
    chapter, book = ({row.data for row in EXPERIMENTS[name](scale).rows} for scale in ("chapter", "book"))
    here = {"mnist-mini", "scenes-24"}
    assert chapter <= here
    guide = (RESULTS / "README.md").read_text(encoding="utf-8")
    told = guide.partition("needs no network either, but for")[2].partition(". ")[0]
    assert (f"`{name}`" in told) == (not book <= here)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_scale_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="scale must be one of 'chapter', 'book', 'full', got 'ful'"):
        EXPERIMENTS[name]("ful")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_can_be_built_and_answers_to_an_image_of_its_data(name: str, scale: str) -> None:
    experiment = EXPERIMENTS[name](scale)
    assert (experiment.name, experiment.scale) == (name, scale)
    built = set()
    for row in experiment.rows:
        # What is solved answers once it has learnt: see test_random_kernels.
        if row.network not in SOLVED and (row.network, row.front, row.data) not in built:
            shape = SHAPES[row.data]
            answer = build(row, shape, classes=10)(torch.zeros(2, *shape))
            assert answer.shape in ((2, 10), (2, 10, *shape[1:]))
            built.add((row.network, row.front, row.data))


BARE = " without BatchNorm"


@pytest.mark.parametrize("scale", SCALES)
def test_twins_differ_from_the_linear_student_in_front_end_and_batch_norm_alone(scale: str) -> None:
    rows = {(row.data, row.name): row for row in EXPERIMENTS["sclc"](scale).rows}
    alone = [row for row in rows.values() if row.name.endswith("labels")]
    assert len(alone) == {"chapter": 3, "book": 3, "full": 7}[scale]
    for row in alone:
        twin = rows[row.data, "twin, labels"]
        network = row.network.removesuffix(BARE)
        assert replace(row, name=twin.name, network=network, front="nonlinear") == twin


def test_a_twin_without_batch_norm_has_the_very_counterpart_of_the_twin() -> None:
    """So the twins differ in BatchNorm alone, and the second from the students in ReLUs and pools."""
    linear = next(row for row in EXPERIMENTS["sclc"]("full").rows if row.name == "linear, labels")
    twin, bare = (replace(linear, network="SmallCNN-16" + mark) for mark in ("", BARE))
    x = torch.rand(2, 1, 28, 28)
    for front in ("linear", "relu-in-pool"):
        answers = []
        for row in (twin, bare):
            torch.manual_seed(0)
            answers.append(build(replace(row, front=front), (1, 28, 28), 10)(x))
        torch.testing.assert_close(*answers)
    whole = [build(replace(row, front="nonlinear"), (1, 28, 28), 10).modules() for row in (twin, bare)]
    assert [sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) for layers in whole] == [3, 0]


@pytest.mark.parametrize("scale", SCALES)
def test_students_with_and_without_a_teacher_see_the_same_images_as_often(scale: str) -> None:
    rows = EXPERIMENTS["when-kd-helps"](scale).rows
    alone = {(row.labels, row.augment): row for row in rows if row.name == "labels"}
    assert len(alone) == {"chapter": 2, "book": 8, "full": 12}[scale]
    for row in rows:
        if row.teacher is not None:
            left = replace(row, name="labels", teacher=None, temperatures=(), alpha=None)
            assert left == alone[row.labels, row.augment]


@pytest.mark.parametrize("scale", SCALES)
def test_rows_of_segmentation_are_tuned_with_one_budget_and_take_as_many_steps(scale: str) -> None:
    students = [row for row in EXPERIMENTS["segmentation"](scale).rows if row.network == "Segmenter"]
    assert {len(row.trials) for row in students} == {trials(scale, 6)}
    for data in {row.data for row in students}:
        mine = [row for row in students if row.data == data]
        assert len({row.epochs * (row.labels or IMAGES[data]) for row in mine}) == 1
        assert len({(row.batch_size, row.keep) for row in mine}) == 1


@pytest.mark.parametrize("scale", SCALES)
def test_rows_of_ntkd_are_tuned_with_one_budget_and_differ_in_what_they_learn_from(scale: str) -> None:
    rows = EXPERIMENTS["ntkd"](scale).rows
    assert {len(row.trials) for row in rows if not row.name.startswith("teacher")} == {trials(scale, 6)}
    unnamed = [replace(row, name="") for row in rows]
    for row in rows:
        if row.teacher is not None:
            bare = {"teacher": None, "temperatures": (), "alpha": None, "kernel": None, "betas": ()}
            assert replace(row, name="", label_smoothings=(0.0, 0.1), **bare) in unnamed


@pytest.mark.parametrize("scale", SCALES)
def test_ways_to_learn_again_have_one_budget_and_a_tenth_of_the_images_of_the_student(scale: str) -> None:
    rows = EXPERIMENTS["compensation"](scale).rows
    assert len({row.data for row in rows}) == (1 if scale == "chapter" else 3)
    for built in (row for row in rows if row.name == "as built"):
        design = built.student
        assert design in rows
        left, *ways = (row for row in rows if (row.student, row.process) == (design, built.process))
        assert (left.name, left.epochs, len(left.trials)) == ("as built", 0, 1)
        assert [row.name for row in ways] == ["labels", "KD", "NTKD", "KD + NTKD"]
        assert {len(row.trials) for row in ways} == {trials(scale, 4)}
        assert {row.labels for row in ways} == {round((design.labels or IMAGES[design.data]) / 10)}
        assert {row.teacher for row in ways} == {None, design.teacher}
        bare = {"teacher": None, "temperatures": (), "alpha": None, "kernel": None, "betas": ()}
        assert {replace(row, name="", label_smoothings=(), **bare) for row in ways} == {
            replace(ways[0], name="", label_smoothings=())
        }


@pytest.mark.parametrize("scale", ["book", "full"])
def test_digits_are_built_in_both_kinds_of_light_with_the_same_rows(scale: str) -> None:
    rows = EXPERIMENTS["compensation"](scale).rows
    digits = [row for row in rows if row.data.startswith("mnist") and row.process]
    in_psfs, in_4f = ([row for row in digits if row.process == name] for name in PROCESSES)
    assert len(in_psfs) == 5 and [replace(row, process="4f laboratory") for row in in_psfs] == in_4f


def test_the_settings_of_every_kernel_are_those_of_the_objective() -> None:
    for options in KERNELS.values():
        NTKD(build(TEACHER, (1, 28, 28), 10), **options)


def test_a_linear_student_is_linear_and_the_one_with_relu_is_not() -> None:
    torch.manual_seed(0)
    for front, linear in (("linear", True), ("relu-in-pool", False), ("nonlinear", False)):
        front_end = build(replace(LINEAR, front=front), (1, 28, 28), 10).double().features
        x, y = torch.rand(2, 4, 1, 28, 28, dtype=torch.float64)
        zero = front_end(torch.zeros_like(x))
        difference = front_end(x - 2 * y) - zero - (front_end(x) - zero) + 2 * (front_end(y) - zero)
        assert (difference.abs().max() < 1e-9) == linear


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": "VGG"}, "'LeNet'"),
        ({"data": "emnist"}, "'mnist-mini'"),
        ({"front": "optical"}, "'linear'"),
        ({"augment": "rotate"}, "'shift'"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"labels": 0}, "labels must be at least 1"),
        ({"learning_rates": ()}, "learning_rates"),
        ({"learning_rates": (1e-3, 1e-3)}, "different"),
        ({"learning_rates": (0.0, 1e-3)}, "positive"),
        ({"temperatures": (4.0,)}, "given together"),
        ({"temperatures": (4.0,), "alpha": 0.9}, "with a teacher"),
        ({"label_smoothings": (0.0, 0.0)}, "different"),
        ({"label_smoothings": (-0.1,)}, "label_smoothings must not be negative"),
        ({"temperatures": (0.0,), "alpha": 0.9, "teacher": TEACHER}, "temperatures must be positive"),
        ({"temperatures": (4.0,), "alpha": 7.0, "teacher": TEACHER}, "alpha must be from 0 to 1, got 7"),
        (
            {"temperatures": (4.0,), "alpha": 0.9, "teacher": replace(TEACHER, data="mnist")},
            "teacher must know the data of row 'linear' itself, 'mnist-mini', got one of 'mnist'",
        ),
        ({"teacher": TEACHER}, "temperatures or betas"),
        ({"betas": (1.0,)}, "betas and kernel"),
        ({"kernel": "plain", "betas": (1.0,)}, "with a teacher"),
        ({"kernel": "best", "betas": (1.0,)}, "'not centred'"),
        ({"process": "clean room"}, "given together"),
        ({"student": HYBRID, "process": "garage"}, "'clean room'"),
        ({"student": HYBRID, "process": "clean room"}, "same network, data, front"),
        (
            {"network": "Hybrid-8", "front": "nonlinear", "student": BUILT, "process": "clean room"},
            "not be built",
        ),
        ({"epochs": 0, "learning_rates": ()}, "epochs must be at least 1"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(change: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(LINEAR, **change)


def test_what_is_left_as_it_was_built_has_nothing_to_choose() -> None:
    assert BUILT.trials == (Trial(None),) and str(BUILT.trials[0]) == "nothing to choose"
    assert (HYBRID.depth, BUILT.depth, AGAIN.depth) == (1, 2, 2)
    with pytest.raises(ValueError, match="learning_rates"):
        replace(BUILT, learning_rates=(1e-3,))
    with pytest.raises(ValueError, match="learning_rates"):
        replace(AGAIN, learning_rates=())


def test_the_key_follows_the_student_and_the_process() -> None:
    student = Run(HYBRID, Trial(1e-3, temperature=4.0), 0, Run(TEACHER, Trial(1e-3), 0))
    built = Run(AGAIN, Trial(1e-3), 0, student=student)
    other = replace(student, trial=Trial(4e-3, temperature=4.0))
    alone = replace(AGAIN, student=None, process=None)
    assert len({run.key for run in (built, replace(built, student=other), Run(alone, Trial(1e-3), 0))}) == 3
    assert built.settings["process"] == "clean room" and built.settings["student"] == student.settings
    assert not {"process", "student"} & student.settings.keys()


def test_a_teacher_comes_first_and_no_row_twice() -> None:
    with pytest.raises(ValueError, match="must be a row before it"):
        Experiment("e", "book", (KD, TEACHER))
    with pytest.raises(ValueError, match="student of row 'as built' must be a row before it"):
        Experiment("e", "book", (TEACHER, BUILT, HYBRID))
    with pytest.raises(ValueError, match="settings of another"):
        Experiment("e", "book", (LINEAR, replace(LINEAR, name="again")))


def test_the_key_follows_the_settings_of_the_run_and_of_its_teacher_but_not_the_name() -> None:
    taught = Run(KD, Trial(1e-3, temperature=4.0), 0, Run(TEACHER, Trial(1e-3), 0))
    others = [
        replace(taught, seed=1),
        replace(taught, trial=Trial(2e-3, temperature=4.0)),
        replace(taught, trial=Trial(1e-3, temperature=2.0)),
        replace(taught, row=replace(KD, epochs=2)),
        replace(taught, row=replace(KD, alpha=0.5)),
        replace(taught, teacher=Run(TEACHER, Trial(2e-3), 0)),
        replace(taught, teacher=Run(replace(TEACHER, augment="shift"), Trial(1e-3), 0)),
        Run(LINEAR, Trial(1e-3), 0),
    ]
    assert len({run.key for run in (taught, *others)}) == 9
    assert replace(taught, row=replace(KD, name="otherwise", learning_rates=(1.0,))).key == taught.key


def test_a_trial_that_is_not_for_the_row_is_refused() -> None:
    with pytest.raises(ValueError, match="take one of row.trials"):
        Run(KD, Trial(1e-3), 0, Run(TEACHER, Trial(1e-3), 0))
    with pytest.raises(ValueError, match="take one of row.trials"):
        Run(LINEAR, Trial(1e-3, temperature=4.0), 0)


def test_every_combination_of_what_is_tuned_is_a_trial() -> None:
    row = replace(KD, learning_rates=(1e-3, 2e-3), temperatures=(2.0, 8.0))
    assert row.trials == tuple(Trial(a, None, t) for a in (1e-3, 2e-3) for t in (2.0, 8.0))
    assert replace(LINEAR, label_smoothings=(0.0, 0.1)).trials[:2] == (Trial(1e-3, 0.0), Trial(1e-3, 0.1))
    assert str(Trial(2e-3, None, 4.0)) == "learning rate 0.002, temperature 4"


def test_runs_that_were_made_before_a_setting_was_known_keep_their_keys() -> None:
    # The hash that the first version computed, from the settings that it knew.
    names = ["network", "data", "epochs", "front", "labels", "augment", "batch_size"]
    old = {name: getattr(LINEAR, name) for name in names}
    old |= {"temperature": None, "alpha": None, "learning_rate": 1e-3, "seed": 0, "teacher": None}
    text = json.dumps({"version": VERSION, **old}, sort_keys=True)
    assert Run(LINEAR, Trial(1e-3), 0).key == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert Run(LINEAR, Trial(1e-3, 0.0), 0).key != Run(LINEAR, Trial(1e-3), 0).key


def run_in(settings: Mapping[str, Any], row: Row) -> Run:
    """The run of a row with the trials and the seed of a line."""
    trial = Trial(**{name: settings.get(name) for name in TUNED})
    before = {
        name: run_in(settings[name], other) for name in BEFORE if (other := getattr(row, name)) is not None
    }
    return Run(row, trial, settings["seed"], **before)


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_the_lines_that_are_kept_are_those_of_the_rows_that_are_declared(name: str) -> None:
    what = ("data", "labels", "augment")
    for line in read(RESULTS / f"{name}.jsonl"):
        settings = line["settings"]
        found = [
            run_in(settings, row).key
            for row in EXPERIMENTS[name](line["scale"]).rows
            if row.name == line["row"] and all(getattr(row, one) == settings[one] for one in what)
        ]
        assert line["key"] in found


def test_the_key_follows_the_version_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Run(LINEAR, Trial(1e-3), 0).key
    monkeypatch.setattr("onnlab.experiments.settings.VERSION", 1_000)
    assert Run(LINEAR, Trial(1e-3), 0).key != before


def test_a_row_is_frozen() -> None:
    with pytest.raises(AttributeError):
        LINEAR.epochs = 2
    assert isinstance(LINEAR, Row)


def test_what_keeps_the_best_epoch_keeps_its_key() -> None:
    """Lines of before there was a choice are still found."""
    assert "keep" not in any_run(KD).settings
    last = any_run(replace(KD, keep="last"))
    assert last.settings["keep"] == "last" and last.key != any_run(KD).key
    with pytest.raises(ValueError, match="keep must be one of 'best', 'last', got 'first'"):
        replace(KD, keep="first")
