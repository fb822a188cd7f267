"""One run: what it trains on, what it is taught by, and what it writes down."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from onnlab.data import load
from onnlab.data.sources import SOURCES
from onnlab.distill import KD as KDObjective
from onnlab.distill import NTKD, CrossEntropy, Dice, evaluate, segmentation_scores
from onnlab.experiments import Row, Run, Trial, check_line, energy, training
from onnlab.experiments.devices import device
from onnlab.experiments.settings import run_of
from onnlab.experiments.training import Place, dataset, execute, trained
from onnlab.hardware import BuiltOptics
from onnlab.hardware.fabrication import Exposed
from tests.experiments.helpers import AGAIN, BUILT, HYBRID, KD, LINEAR, TEACHER, few_images
from tests.experiments.helpers import TAUGHT as RESCUED

TAUGHT = Run(KD, Trial(1e-3, temperature=4.0), 3, Run(TEACHER, Trial(4e-3), 3))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Collect what is given to ``fit``, which trains as always."""
    calls: list[dict] = []
    fit = training.fit

    def watched(model, data, objective, **settings):
        start = {name: value.clone() for name, value in model.state_dict().items()}
        calls.append({"start": start, "data": data, "objective": objective, **settings})
        return fit(model, data, objective, **settings)

    monkeypatch.setattr(training, "fit", watched)
    return calls


def test_the_settings_reach_the_training(tmp_path: Path, seen: list[dict]) -> None:
    row = replace(LINEAR, labels=50, epochs=2, batch_size=20, augment="shift")
    trained(Run(row, Trial(5e-3), 7), Place(tmp_path))
    (call,) = seen
    expected = {"epochs": 2, "seed": 7, "batch_size": 20, "learning_rate": 5e-3}
    assert {name: call[name] for name in expected} == expected
    assert call["augment"] is training.AUGMENTATIONS["shift"] is not None
    assert call["data"].sizes == {**load("mnist-mini").sizes, "train": 50}


def test_with_one_seed_all_start_alike_and_see_the_same_images(tmp_path: Path, seen: list[dict]) -> None:
    trained(TAUGHT, Place(tmp_path))
    trained(Run(LINEAR, Trial(1e-3), 3), Place(tmp_path))
    trained(Run(LINEAR, Trial(1e-3), 4), Place(tmp_path))
    teacher, student, alone, other = seen
    for call in (teacher, alone):
        assert torch.equal(call["data"].train.pixels, student["data"].train.pixels)
    assert not torch.equal(other["data"].train.pixels, alone["data"].train.pixels)
    for name, value in student["start"].items():
        assert torch.equal(value, alone["start"][name])
    assert any(not torch.equal(value, alone["start"][name]) for name, value in other["start"].items())


PIXELS = Row(name="masks", network="Segmenter", data="scenes-24", labels=8, epochs=1, learning_rates=(1e-3,))


def test_a_run_on_pixels_learns_overlap_too_and_is_scored_by_it(tmp_path: Path, seen: list[dict]) -> None:
    run = Run(PIXELS, Trial(1e-3), 0)
    line = execute(run, Place(tmp_path))
    check_line({**line, "experiment": "e", "scale": "book", "row": "masks"})
    model, _ = trained(run, Place(tmp_path))
    data, _ = dataset("scenes-24")
    assert data.classes == ("background", "object")
    assert line["test_miou"] == pytest.approx(segmentation_scores(model, data.test).miou, abs=1e-3)
    assert line["validation_miou"] == pytest.approx(
        segmentation_scores(model, data.validation).miou, abs=1e-3
    )
    assert [type(term) for _, term in seen[0]["objective"].terms] == [CrossEntropy, Dice]


@pytest.mark.parametrize("alpha, expected", [(0.9, [KDObjective, Dice]), (1.0, [KDObjective])])
def test_answers_alone_leave_the_masks_out(
    tmp_path: Path, seen: list[dict], alpha: float, expected: list[type]
) -> None:
    teacher = replace(PIXELS, name="teacher")
    row = replace(PIXELS, name="KD", teacher=teacher, temperatures=(2.0,), alpha=alpha)
    trained(Run(row, Trial(1e-3, temperature=2.0), 0, Run(teacher, Trial(1e-3), 0)), Place(tmp_path))
    objective = seen[1]["objective"]
    terms = [type(term) for _, term in objective.terms] if len(expected) > 1 else [type(objective)]
    assert terms == expected


@pytest.fixture
def small() -> Iterator[None]:
    """Few images, for devices take their time to read them."""
    with few_images():
        yield


def test_a_line_holds_the_joules_of_one_training_and_none_of_a_part_or_of_two(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = itertools.count(10.0, 2.5)
    monkeypatch.setattr(energy, "packages", lambda: [energy.Counter(lambda: next(counted), 1e6)])
    place = Place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *arguments, **options: None)  # what is left of an interruption
        assert execute(first_run(TEACHER), place)["joules"] == 2.5
    interrupted = execute(first_run(TEACHER), place)
    assert interrupted["error"] is None and interrupted["joules"] is None
    assert execute(first_run(KD), place)["joules"] == 2.5
    assert execute(first_run(KD, seed=4), place)["joules"] is None  # its teacher had to be trained along
    monkeypatch.setattr(training, "processes", lambda: 2)
    line = execute(first_run(TEACHER, seed=5), place)
    assert (line["device"], line["error"], line["joules"]) == ("2 x cpu", None, None)


@pytest.mark.parametrize(("row", "channels_last"), [(TEACHER, True), (HYBRID, False)])
def test_a_hybrid_classifier_learns_in_the_layout_of_its_pool_and_its_teacher_answers_in_its_own(
    row: Row, channels_last: bool, tmp_path: Path, seen: list[dict], small: None
) -> None:
    trained(first_run(row), Place(tmp_path))
    assert seen[-1]["channels_last"] is channels_last
    if row.teacher is not None:
        weights = [p for p in seen[-1]["objective"].teacher.parameters() if p.ndim == 4]
        assert weights and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def first_run(row: Row, seed: int = 3) -> Run:
    return run_of(row, row.trials[0], seed, lambda other: other.trials[0])


def test_a_device_is_its_student_with_errors_and_is_scored_by_noisy_pictures(
    tmp_path: Path, seen: list[dict], small: None
) -> None:
    place = Place(tmp_path)
    line = execute(first_run(BUILT), place)
    check_line({**line, "experiment": "e", "scale": "book", "row": "as built"})
    assert (line["epoch"], line["seconds"]) == (0, 0.0) and len(seen) == 2  # teacher and student
    student, _ = trained(first_run(HYBRID), place)
    model = device(student, "clean room", 3)
    pictures = Exposed(model, torch.Generator().manual_seed(3))
    data = dataset("mnist-mini")[0]
    assert line["validation_accuracy"] == evaluate(pictures, data.validation).accuracy
    assert line["test_accuracy"] == evaluate(pictures, data.test).accuracy
    assert line["validation_loss"] != pytest.approx(evaluate(model, data.validation).loss, rel=1e-6)


def test_runs_with_one_device_answer_to_the_same_pictures_which_are_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    place, taken = Place(tmp_path), []
    readings = BuiltOptics.expose

    def watched(self, intensity, generator):
        taken.append(generator is not None)
        return readings(self, intensity, generator)

    monkeypatch.setattr(BuiltOptics, "expose", watched)
    first = [execute(first_run(row), place) for row in (BUILT, AGAIN)]
    pictures = sum(taken)
    execute(first_run(BUILT, seed=4), place)
    assert pictures > 0 and sum(taken) == 2 * pictures  # another device takes as many of its own
    training._pictures.cache_clear()
    again = execute(first_run(AGAIN), place)  # without what another run has seen before
    assert again["test_accuracy"] == first[1]["test_accuracy"]
    assert again["validation_loss"] == first[1]["validation_loss"] != first[0]["validation_loss"]


def test_a_device_learns_again_from_images_of_its_student_and_its_light_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    calls: list[dict] = []
    compensate = training.compensate

    def watched(model, data, objective, fraction, **settings):
        calls.append({"data": data, "objective": objective, "fraction": fraction, **settings})
        return compensate(model, data, objective, fraction, **settings)

    monkeypatch.setattr(training, "compensate", watched)
    place = Place(tmp_path)
    student, _ = trained(first_run(HYBRID), place)
    before = device(student, "clean room", 3).state_dict()
    for row, objective in ((AGAIN, CrossEntropy), (RESCUED, KDObjective)):
        model, history = trained(first_run(row), place)
        assert history is not None and history.recipe["images"] == 30 and len(history) == 2
        after = model.state_dict()
        changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
        assert changed and all(name.startswith("back_end") for name in changed)
        assert isinstance(calls[-1]["objective"], objective)
    assert all((call["fraction"], call["learning_rate"], call["seed"]) == (0.5, 1e-3, 3) for call in calls)
    theirs = dataset("mnist-mini")[0].train.subset(60, 3)
    assert all(torch.equal(call["data"].train.pixels, theirs.pixels) for call in calls)
    # Only what others may ask for is kept: teacher and student.
    kept = {first_run(row).key for row in (TEACHER, HYBRID)}
    assert {file.stem for file in tmp_path.iterdir()} == kept


def test_the_teacher_is_trained_once_and_then_taken_from_its_file(tmp_path: Path, seen: list[dict]) -> None:
    place = Place(tmp_path)
    first, _ = trained(TAUGHT, place)
    assert [call["learning_rate"] for call in seen] == [4e-3, 1e-3]
    second, _ = trained(TAUGHT, place)
    assert len(seen) == 3
    taught_by = [call["objective"] for call in seen[1:]]
    assert all(isinstance(objective, KDObjective) for objective in taught_by)
    assert {(objective.temperature, objective.alpha) for objective in taught_by} == {(4.0, 0.9)}
    for before, after in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(before, after)


def test_a_kernel_is_learned_beside_labels_or_answers(tmp_path: Path, seen: list[dict]) -> None:
    kernels = replace(KD, temperatures=(), alpha=None, kernel="trace", betas=(2.0,))
    teacher = Run(TEACHER, Trial(4e-3), 3)
    trained(Run(kernels, Trial(1e-3, beta=2.0), 3, teacher), Place(tmp_path))
    both = replace(kernels, temperatures=(4.0,), alpha=0.9, kernel="one projection")
    trained(Run(both, Trial(1e-3, temperature=4.0, beta=3.0), 3, teacher), Place(tmp_path))
    (_, alone, together) = seen
    terms = [[term for _, term in call["objective"].terms] for call in (alone, together)]
    assert [[type(term) for term in pair] for pair in terms] == [[CrossEntropy, NTKD], [KDObjective, NTKD]]
    first, second = terms[0][1], terms[1][1]
    assert (first.beta, first.alpha, first.normalise, first.remember) == (2.0, 0.0, "trace", True)
    assert (second.beta, second.alpha, second.projections, second.remember) == (3.0, 0.0, 1, False)
    assert [call["fixed_batches"] for call in seen] == [False, True, False]


def test_a_run_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained(TAUGHT, Place(tmp_path))
    trained(TAUGHT, Place(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("doubt", "note", "written"),
    [
        ("", None, None),
        ("; pixels as found in mnist.npz", None, "pixels as found in mnist.npz"),
        ("; pixels as found in mnist.npz", "a copy from JPEG", "a copy from JPEG"),
    ],
)
def test_a_copy_of_the_data_that_could_not_be_checked_is_noted(
    doubt: str, note: str | None, written: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = replace(load("mnist-mini"), name="mnist", credit=SOURCES["mnist"].credit + doubt)
    monkeypatch.setitem(training.TASKS, "mnist", lambda: copy)
    dataset.cache_clear()
    try:
        line = execute(Run(replace(LINEAR, data="mnist"), Trial(1e-3), 0), Place(tmp_path, data_note=note))
    finally:
        dataset.cache_clear()
    check_line({"experiment": "e", "scale": "full", "row": "linear", **line})
    assert line["data_note"] == written


def test_an_interruption_gets_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(Run(LINEAR, Trial(1e-3), 0), Place(tmp_path))
