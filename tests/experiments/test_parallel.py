"""Runs that two processes make together: the numbers of one process, and no harm when one of the two dies."""

import subprocess
from pathlib import Path

import pytest

from onnlab.experiments import BUDGETS, DEVICES, compare_estimates, estimates, read, run, workers
from onnlab.experiments.cluster import ClusterError
from onnlab.experiments.runs import execution, training
from onnlab.experiments.runs.training import Workspace
from onnlab.experiments.settings import run_of
from tests.distill.test_parallel import ROOT, TORCHRUN, torchrun
from tests.experiments.helpers import TINY, few_images
from tests.experiments.several_processes import DARK, EXPERIMENTS, build_in_the_dark


def together(what: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an experiment with two processes."""
    command = [*TORCHRUN, "tests.experiments.several_processes", str(folder), what]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def alone(what: str, folder: Path) -> list[dict]:
    with few_images():
        return run(EXPERIMENTS[what], folder, seeds=1, report=lambda text: None)


def close(one: dict, other: dict) -> bool:
    """Tell whether two lines hold the same scores; the loss may be rounded otherwise."""
    names = ("key", "row", "seed", "settings", "test_accuracy", "validation_accuracy", "epoch", "data_sha256")
    same = all(one.get(name) == other.get(name) for name in names)
    return same and one.get("validation_loss", 0) == pytest.approx(other.get("validation_loss", 0), rel=1e-5)


@torchrun
def test_two_processes_write_the_lines_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = together("rescued", tmp_path / "two")
    assert done.returncode == 1, done.stderr  # one row failed
    monkeypatch.setattr(training, "build", build_in_the_dark)
    expected = alone("rescued", tmp_path / "one")
    lines = read(tmp_path / "two" / "rescued.jsonl")
    assert len(lines) == len(expected) == len((tmp_path / "two" / "rescued.jsonl").read_text().splitlines())
    by_key = {line["key"]: line for line in lines}
    assert all(close(by_key[line["key"]], line) for line in expected)
    assert {line["device"] for line in lines} == {"2 x cpu"}
    assert {line["row"] for line in lines if line["error"] is not None} == {"dark"}  # and the others went on
    assert done.stdout.count("rescued (book)") == 1 and done.stderr.count("the light is off") == 1


@torchrun
def test_without_one_both_end_and_the_next_call_goes_on(tmp_path: Path) -> None:
    done = together("killed", tmp_path)
    assert done.returncode != 0
    (first,) = read(tmp_path / "killed.jsonl")  # of the run before, and no line of a failure
    assert len(list(tmp_path.glob("weights/*.state"))) == 1
    said: list[str] = []
    with few_images():
        lines = run(EXPERIMENTS["killed"], tmp_path, seeds=1, report=said.append)
    assert len(said) == 1 and "long" in said[0] and lines[0] == first
    assert all(map(close, lines, alone("killed", tmp_path / "one")))
    assert not list(tmp_path.glob("weights/*.state"))


def test_where_one_fails_and_others_do_not_no_line_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wait_in_vain() -> None:
        raise TimeoutError("nobody comes")

    monkeypatch.setattr(training, "build", build_in_the_dark)
    monkeypatch.setattr(execution, "meet", wait_in_vain)
    with pytest.raises(TimeoutError, match="nobody comes"), few_images():
        execution.execute(run_of(DARK, DARK.trials[0], 0, {}.__getitem__), Workspace(tmp_path))


def test_jobs_are_not_handed_out_by_processes_that_work_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "processes", lambda: 2)
    with pytest.raises(ClusterError, match="leave out --jobs and --dask, or torchrun"):
        run(TINY, tmp_path, jobs=2)


def test_processes_that_work_together_train_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "processes", lambda: 2)
    with pytest.raises(ClusterError, match="leave out torchrun"):
        compare_estimates(DEVICES, BUDGETS["chapter"])
