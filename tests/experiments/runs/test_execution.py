"""What one run writes down, and what ends it."""

import itertools
import math
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import onnlab
from onnlab.data import load
from onnlab.data.sources import SOURCES
from onnlab.experiments import Run, Trial, check_line, energy
from onnlab.experiments.lines import is_settled
from onnlab.experiments.parts import TASKS
from onnlab.experiments.runs import execution, training
from onnlab.experiments.runs.execution import commit, execute
from onnlab.experiments.runs.images import dataset
from onnlab.experiments.runs.training import Workspace
from tests.experiments.helpers import KD, LINEAR, TEACHER, first_run


def test_a_line_holds_the_joules_of_one_training_and_none_of_a_part_or_of_two(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = itertools.count(10.0, 2.5)
    monkeypatch.setattr(energy, "packages", lambda: [energy.Counter(lambda: next(counted), 1e6)])
    workspace = Workspace(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *arguments, **options: None)  # what is left of an interruption
        assert execute(first_run(TEACHER), workspace)["joules"] == 2.5
    interrupted = execute(first_run(TEACHER), workspace)
    assert interrupted["error"] is None and interrupted["joules"] is None
    assert execute(first_run(KD), workspace)["joules"] == 2.5
    assert execute(first_run(KD, seed=4), workspace)["joules"] is None  # its teacher had to be trained along
    monkeypatch.setattr(execution, "processes", lambda: 2)
    line = execute(first_run(TEACHER, seed=5), workspace)
    assert (line["device"], line["error"], line["joules"]) == ("2 x cpu", None, None)


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
    monkeypatch.setitem(TASKS, "mnist", lambda: copy)
    dataset.cache_clear()
    try:
        line = execute(
            Run(replace(LINEAR, data="mnist"), Trial(1e-3), 0), Workspace(tmp_path, data_note=note)
        )
    finally:
        dataset.cache_clear()
    check_line({"experiment": "e", "scale": "full", "row": "linear", **line})
    assert line["data_note"] == written


def test_an_interruption_gets_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(Run(LINEAR, Trial(1e-3), 0), Workspace(tmp_path))


def test_the_commit_says_if_there_are_changes() -> None:
    found = commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", found)


def test_a_package_in_the_folder_of_another_project_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / ".venv/onnlab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / ".gitignore").write_text(".venv\n")
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (("init", "-q"), ("add", ".gitignore"), (*author, "commit", "-qm", "Begin")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(onnlab, "__file__", str(package / "__init__.py"))
    assert commit.__wrapped__() is None
    subprocess.run(["git", "add", "-f", str(package)], cwd=tmp_path, check=True)
    assert re.fullmatch("[0-9a-f]{40}", commit.__wrapped__() or "")


def test_a_training_that_diverged_is_a_failed_run_that_needs_no_other_try(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(*arguments: object) -> dict[str, float]:
        return {"test_accuracy": 0.1, "validation_accuracy": 0.1, "validation_loss": math.inf}

    monkeypatch.setattr(execution, "scores", endless)
    line = execute(first_run(LINEAR), Workspace(tmp_path))
    check_line({"experiment": "e", "scale": "full", "row": "linear", **line})
    assert line["error"].endswith("FloatingPointError: validation_loss must be finite, got inf; it diverged")
    assert is_settled(line)


def test_an_interruption_while_it_is_scored_costs_no_training(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    first = execute(first_run(LINEAR), Workspace(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(execution, "scores", interrupted)
        with pytest.raises(KeyboardInterrupt):
            execute(first_run(LINEAR), Workspace(tmp_path))
    seen: list[int] = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *a, **k: seen.append(1) or step(self, *a, **k))
    line = execute(first_run(LINEAR), Workspace(tmp_path))
    assert not seen and line["validation_loss"] == first["validation_loss"]
    assert not list(tmp_path.glob("*.state"))


def test_a_machine_without_the_device_fails_its_run_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu(device: str) -> str:
        raise RuntimeError("Found no NVIDIA driver on your system")

    monkeypatch.setattr(torch.cuda, "get_device_name", no_gpu)
    line = execute(first_run(LINEAR), Workspace(tmp_path, device="cuda"))
    check_line({"experiment": "e", "scale": "full", "row": "linear", **line})
    assert line["device"] == "cuda" and line["error"].endswith("Found no NVIDIA driver on your system")
