"""A run that is killed at any moment goes on to the result of an unbroken one."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from onnlab.distill import fit
from tests.distill.helpers import same_weights, toy_data, toy_model
from tests.distill.killed_run import left, train

ROOT = Path(__file__).parents[2]


def table(history):
    """The rows without their seconds."""
    return [row[:-1] for row in history.rows]


@pytest.fixture(scope="module")
def unbroken():
    return train(None)


DEATHS = {  # what to count, how far, and how many epochs are saved by then
    "in the first epoch": ("step", 2, 0),
    "in the third epoch": ("step", 8, 2),
    "while the file is written": ("write", 3, 2),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The file that each run has left behind; they run side by side, most of the time is their start."""
    files = {when: tmp_path_factory.mktemp("killed") / "run.pt" for when in DEATHS}
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.distill.killed_run", files[when], what, str(count)], cwd=ROOT
        )
        for when, (what, count, _) in DEATHS.items()
    ]
    assert [run.wait() for run in runs] == [-signal.SIGKILL] * 3
    return files


@pytest.mark.slow
@pytest.mark.parametrize("when", DEATHS)
def test_kill_and_go_on(killed, unbroken, when):
    file, epochs_saved = killed[when], DEATHS[when][2]
    assert file.exists() == (epochs_saved > 0)
    steps_before = left["step"]
    model, history = train(file)
    assert steps_before - left["step"] == 3 * (4 - epochs_saved)  # the saved epochs were not done again
    assert same_weights(model, unbroken[0])
    assert table(history) == table(unbroken[1])
    left_over = [one.name for one in file.parent.iterdir() if one != file]
    assert all(name.endswith(".part") for name in left_over)  # half-written, and never read


def test_a_finished_run_is_read_and_not_repeated(tmp_path, unbroken):
    train(tmp_path / "run.pt")
    steps_before = left["step"]
    model, history = train(tmp_path / "run.pt", seed=99)  # the weights to start from no longer count
    assert left["step"] == steps_before
    assert same_weights(model, unbroken[0]) and table(history) == table(unbroken[1])


@pytest.mark.parametrize(("keep", "kept"), [("best", 1), ("last", 4)])
def test_interrupt_and_go_on(tmp_path, monkeypatch, keep, kept):
    # From the second epoch on the loss is raised, so that the first is the best.
    settings = {"epochs": 4, "seed": 0, "schedule": lambda p: 1.0 if p < 0.25 else -10.0}
    settings |= {"keep": keep, "progress": False}
    whole = toy_model()
    assert fit(whole, toy_data(), learning_rate=0.01, **settings).kept == kept

    def stop(descriptor):
        written.append(1)
        if len(written) == 3:
            raise KeyboardInterrupt

    written = []
    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(toy_model(), toy_data(), learning_rate=0.01, checkpoint=tmp_path / "run", **settings)
    resumed = toy_model(1)
    assert fit(resumed, toy_data(), learning_rate=0.01, checkpoint=tmp_path / "run", **settings).kept == kept
    assert same_weights(resumed, whole)


def test_the_file_holds_tensors_and_plain_types_only(tmp_path):
    train(tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    assert set(state) == {"recipe", "model", "optimiser", "best", "rows"} and len(state["rows"]) == 4


def test_other_settings_are_refused(tmp_path):
    settings = {"epochs": 1, "seed": 0, "checkpoint": tmp_path / "run", "progress": False}
    fit(toy_model(), toy_data(), **settings)
    with pytest.raises(ValueError, match="of another run .seed was 0 and is 1; batch_size was 64 and is 32"):
        fit(toy_model(), toy_data(), **{**settings, "seed": 1, "batch_size": 32})
    with pytest.raises(ValueError, match="parameters was 243 and is 373"):
        fit(toy_model(classes=5), toy_data(), **settings)


def test_a_setting_that_is_left_out_is_another_setting(tmp_path):
    settings = {"epochs": 1, "seed": 0, "checkpoint": tmp_path / "run", "progress": False}
    fit(toy_model(), toy_data(), **settings, fixed_batches=True)
    with pytest.raises(ValueError, match="fixed_batches was True and is None"):
        fit(toy_model(), toy_data(), **settings)


def test_as_many_other_images_are_refused(tmp_path):
    settings = {"epochs": 1, "seed": 0, "checkpoint": tmp_path / "run", "progress": False}
    data = toy_data()
    fit(toy_model(), replace(data, train=data.train.subset(30, seed=0)), **settings)
    with pytest.raises(ValueError, match="of another run .pixels was"):
        fit(toy_model(), replace(data, train=data.train.subset(30, seed=1)), **settings)


def test_a_file_of_something_else_is_refused(tmp_path):
    file = tmp_path / "run"
    for spoil in (lambda: file.write_text("hello"), lambda: file.touch(), lambda: torch.save([1], file)):
        file.unlink(missing_ok=True)
        spoil()
        with pytest.raises(ValueError, match="checkpoint must be a file that fit has written"):
            fit(toy_model(), toy_data(), epochs=1, seed=0, checkpoint=file, progress=False)
