"""Scores of one run: by overlap where pixels have labels, by noisy pictures where light was built."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from onnlab.distill import evaluate, segmentation_scores
from onnlab.experiments import Run, Trial, check_line
from onnlab.experiments.devices import device
from onnlab.experiments.runs.execution import execute
from onnlab.experiments.runs.images import dataset
from onnlab.experiments.runs.scoring import pictures_of
from onnlab.experiments.runs.training import Workspace, trained
from onnlab.hardware import BuiltOptics
from onnlab.hardware.fabrication import Exposed
from tests.experiments.helpers import AGAIN, BUILT, HYBRID, PIXELS, first_run


def test_a_run_on_pixels_is_scored_by_overlap(tmp_path: Path) -> None:
    run = Run(PIXELS, Trial(1e-3), 0)
    line = execute(run, Workspace(tmp_path))
    check_line({**line, "experiment": "e", "scale": "book", "row": "masks"})
    model, _ = trained(run, Workspace(tmp_path))
    data, _ = dataset("scenes-24")
    assert data.classes == ("background", "object")
    assert line["test_miou"] == pytest.approx(segmentation_scores(model, data.test).miou, abs=1e-3)
    assert line["validation_miou"] == pytest.approx(
        segmentation_scores(model, data.validation).miou, abs=1e-3
    )


def test_the_last_epoch_is_scored_if_it_is_kept(tmp_path: Path) -> None:
    """At a rate that spoils what was there after the first epoch."""
    row = replace(PIXELS, epochs=4, learning_rates=(0.1,))
    runs = {keep: Run(replace(row, keep=keep), Trial(0.1), 0) for keep in ("best", "last")}
    lines = {keep: execute(run, Workspace(tmp_path)) for keep, run in runs.items()}
    assert lines["last"]["epoch"] == 4 > lines["best"]["epoch"]
    model, _ = trained(runs["last"], Workspace(tmp_path))
    validated = evaluate(model, dataset("scenes-24")[0].validation, batch_size=16)
    assert lines["last"]["validation_accuracy"] == pytest.approx(validated.accuracy, abs=1e-6)
    assert lines["last"]["validation_loss"] == pytest.approx(validated.loss, rel=1e-4)
    assert lines["last"]["validation_accuracy"] < lines["best"]["validation_accuracy"]


def test_a_device_is_its_student_with_errors_and_is_scored_by_noisy_pictures(
    tmp_path: Path, seen: list[dict], small: None
) -> None:
    workspace = Workspace(tmp_path)
    line = execute(first_run(BUILT), workspace)
    check_line({**line, "experiment": "e", "scale": "book", "row": "as built"})
    assert (line["epoch"], line["seconds"]) == (0, 0.0) and len(seen) == 2  # teacher and student
    student, _ = trained(first_run(HYBRID), workspace)
    model = device(student, "clean room", 3)
    pictures = Exposed(model, torch.Generator().manual_seed(3))
    data = dataset("mnist-mini")[0]
    assert line["validation_accuracy"] == evaluate(pictures, data.validation).accuracy
    assert line["test_accuracy"] == evaluate(pictures, data.test).accuracy
    assert line["validation_loss"] != pytest.approx(evaluate(model, data.validation).loss, rel=1e-6)


def test_runs_with_one_device_answer_to_the_same_pictures_which_are_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    workspace, taken = Workspace(tmp_path), []
    readings = BuiltOptics.expose

    def watched(self, intensity, generator):
        taken.append(generator is not None)
        return readings(self, intensity, generator)

    monkeypatch.setattr(BuiltOptics, "expose", watched)
    first = [execute(first_run(row), workspace) for row in (BUILT, AGAIN)]
    pictures = sum(taken)
    execute(first_run(BUILT, seed=4), workspace)
    assert pictures > 0 and sum(taken) == 2 * pictures  # another device takes as many of its own
    pictures_of.cache_clear()
    again = execute(first_run(AGAIN), workspace)  # without what another run has seen before
    assert again["test_accuracy"] == first[1]["test_accuracy"]
    assert again["validation_loss"] == first[1]["validation_loss"] != first[0]["validation_loss"]
