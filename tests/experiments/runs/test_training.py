"""Training of one run: what it learns from, and what it is taught by."""

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from onnlab.data import load
from onnlab.distill import KD as KDObjective
from onnlab.distill import NTKD, CrossEntropy, Dice
from onnlab.experiments import Row, Run, Trial
from onnlab.experiments.devices import device
from onnlab.experiments.parts import AUGMENTATIONS
from onnlab.experiments.runs import training
from onnlab.experiments.runs.execution import execute
from onnlab.experiments.runs.images import dataset
from onnlab.experiments.runs.training import Workspace, is_made, trained, under_way_file, weights_file
from tests.experiments.helpers import (
    AGAIN,
    HYBRID,
    KD,
    LINEAR,
    PIXELS,
    TAUGHT,
    TEACHER,
    few_images,
    first_run,
)

STUDENT = Run(KD, Trial(1e-3, temperature=4.0), 3, Run(TEACHER, Trial(4e-3), 3))


def test_the_settings_reach_the_training(tmp_path: Path, seen: list[dict]) -> None:
    row = replace(LINEAR, labels=50, epochs=2, batch_size=20, augment="shift")
    trained(Run(row, Trial(5e-3), 7), Workspace(tmp_path))
    (call,) = seen
    expected = {"epochs": 2, "seed": 7, "batch_size": 20, "learning_rate": 5e-3}
    assert {name: call[name] for name in expected} == expected
    assert call["augment"] is AUGMENTATIONS["shift"] is not None
    assert call["data"].sizes == {**load("mnist-mini").sizes, "train": 50}


def test_with_one_seed_all_start_alike_and_see_the_same_images(tmp_path: Path, seen: list[dict]) -> None:
    trained(STUDENT, Workspace(tmp_path))
    trained(Run(LINEAR, Trial(1e-3), 3), Workspace(tmp_path))
    trained(Run(LINEAR, Trial(1e-3), 4), Workspace(tmp_path))
    teacher, student, alone, other = seen
    for call in (teacher, alone):
        assert torch.equal(call["data"].train.pixels, student["data"].train.pixels)
    assert not torch.equal(other["data"].train.pixels, alone["data"].train.pixels)
    for name, value in student["start"].items():
        assert torch.equal(value, alone["start"][name])
    assert any(not torch.equal(value, alone["start"][name]) for name, value in other["start"].items())


def test_a_run_on_pixels_learns_overlap_too(tmp_path: Path, seen: list[dict]) -> None:
    trained(Run(PIXELS, Trial(1e-3), 0), Workspace(tmp_path))
    assert [type(term) for _, term in seen[0]["objective"].terms] == [CrossEntropy, Dice]


@pytest.mark.parametrize("alpha, expected", [(0.9, [KDObjective, Dice]), (1.0, [KDObjective])])
def test_answers_alone_leave_the_masks_out(
    tmp_path: Path, seen: list[dict], alpha: float, expected: list[type]
) -> None:
    teacher = replace(PIXELS, name="teacher")
    row = replace(PIXELS, name="KD", teacher=teacher, temperatures=(2.0,), alpha=alpha)
    trained(Run(row, Trial(1e-3, temperature=2.0), 0, Run(teacher, Trial(1e-3), 0)), Workspace(tmp_path))
    objective = seen[1]["objective"]
    terms = [type(term) for _, term in objective.terms] if len(expected) > 1 else [type(objective)]
    assert terms == expected


@pytest.mark.parametrize(("row", "channels_last"), [(TEACHER, True), (HYBRID, False)])
def test_a_hybrid_classifier_learns_in_the_layout_of_its_pool_and_its_teacher_answers_in_its_own(
    row: Row, channels_last: bool, tmp_path: Path, seen: list[dict], small: None
) -> None:
    trained(first_run(row), Workspace(tmp_path))
    assert seen[-1]["channels_last"] is channels_last
    if row.teacher is not None:
        weights = [p for p in seen[-1]["objective"].teacher.parameters() if p.ndim == 4]
        assert weights and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_a_device_learns_again_from_images_of_its_student_and_its_light_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    calls: list[dict] = []
    compensate = training.compensate

    def watched(model, data, objective, fraction, **settings):
        calls.append({"data": data, "objective": objective, "fraction": fraction, **settings})
        return compensate(model, data, objective, fraction, **settings)

    monkeypatch.setattr(training, "compensate", watched)
    workspace = Workspace(tmp_path)
    student, _ = trained(first_run(HYBRID), workspace)
    before = device(student, "clean room", 3).state_dict()
    for row, objective in ((AGAIN, CrossEntropy), (TAUGHT, KDObjective)):
        model, history = trained(first_run(row), workspace)
        assert history is not None and history.recipe["images"] == 30 and len(history) == 2
        after = model.state_dict()
        changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
        assert changed and all(name.startswith("back_end") for name in changed)
        assert isinstance(calls[-1]["objective"], objective)
        training.end(first_run(row), workspace)
    assert all((call["fraction"], call["learning_rate"], call["seed"]) == (0.5, 1e-3, 3) for call in calls)
    theirs = dataset("mnist-mini")[0].train.subset(60, 3)
    assert all(torch.equal(call["data"].train.pixels, theirs.pixels) for call in calls)
    # Only what others may ask for is kept: teacher and student.
    kept = {first_run(row).key for row in (TEACHER, HYBRID)}
    assert {file.stem for file in tmp_path.glob("[!.]*")} == kept


def test_the_teacher_is_trained_once_and_then_taken_from_its_file(tmp_path: Path, seen: list[dict]) -> None:
    workspace = Workspace(tmp_path)
    first, _ = trained(STUDENT, workspace)
    assert [call["learning_rate"] for call in seen] == [4e-3, 1e-3]
    second, _ = trained(STUDENT, workspace)
    assert len(seen) == 3
    taught_by = [call["objective"] for call in seen[1:]]
    assert all(isinstance(objective, KDObjective) for objective in taught_by)
    assert {(objective.temperature, objective.alpha) for objective in taught_by} == {(4.0, 0.9)}
    for before, after in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(before, after)


def test_a_kernel_is_learned_beside_labels_or_answers(tmp_path: Path, seen: list[dict]) -> None:
    kernels = replace(KD, temperatures=(), alpha=None, kernel="trace", betas=(2.0,))
    teacher = Run(TEACHER, Trial(4e-3), 3)
    trained(Run(kernels, Trial(1e-3, beta=2.0), 3, teacher), Workspace(tmp_path))
    both = replace(kernels, temperatures=(4.0,), alpha=0.9, kernel="one projection")
    trained(Run(both, Trial(1e-3, temperature=4.0, beta=3.0), 3, teacher), Workspace(tmp_path))
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
    trained(STUDENT, Workspace(tmp_path))
    trained(STUDENT, Workspace(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


def student_and_linear(folder: Path, rate: float) -> tuple[list[dict], list[str]]:
    """Make two runs when the other process is there, too; return their lines, and what was trained."""
    trainings, fit = [], training.fit

    def slow(*arguments, checkpoint, **settings):
        trainings.append(checkpoint.stem)
        time.sleep(0.5)  # time enough for the other to come
        return fit(*arguments, checkpoint=checkpoint, **settings)

    (folder / f"{rate}.here").touch()
    while len(list(folder.glob("*.here"))) < 2:
        time.sleep(0.01)
    workspace = Workspace(folder / "weights")
    student = Run(KD, Trial(rate, temperature=4.0), 3, Run(TEACHER, Trial(4e-3), 3))
    with pytest.MonkeyPatch.context() as patch, few_images():
        patch.setattr(training, "fit", slow)
        return [execute(run, workspace) for run in (student, first_run(LINEAR))], trainings


def test_a_teacher_of_another_copy_of_the_data_is_trained_anew(tmp_path: Path) -> None:
    workspace, teacher = Workspace(tmp_path), first_run(TEACHER)
    with few_images():
        execute(teacher, workspace)
        few = weights_file(teacher, workspace).read_bytes()
        assert is_made(teacher, workspace)
        execute(first_run(KD), workspace)
        assert weights_file(teacher, workspace).read_bytes() == few
    assert not is_made(teacher, workspace)
    assert execute(first_run(KD), workspace)["error"] is None
    assert weights_file(teacher, workspace).read_bytes() != few


@pytest.mark.slow
def test_processes_with_one_folder_train_a_teacher_once_and_do_not_disturb_each_other(tmp_path: Path) -> None:
    linear = first_run(LINEAR)
    under_way = under_way_file(linear, Workspace(tmp_path / "weights"))
    under_way.parent.mkdir()
    under_way.with_name(f"{under_way.name}.killed.part").write_bytes(b"half of a state")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(student_and_linear, [tmp_path] * 2, (1e-3, 4e-3)))
    trainings = [key for _, keys in results for key in keys]
    assert trainings.count(Run(TEACHER, Trial(4e-3), 3).key) == 1 and trainings.count(linear.key) == 2
    assert [line["error"] for lines, _ in results for line in lines] == [None] * 4
    with few_images():
        alone = execute(linear, Workspace(tmp_path / "alone"))
    assert {lines[1]["validation_loss"] for lines, _ in results} == {alone["validation_loss"]}
    assert {file.suffix for file in under_way.parent.glob("[!.]*")} == {".safetensors"}
