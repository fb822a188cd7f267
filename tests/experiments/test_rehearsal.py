"""Rehearsals: extrapolated by counting, one line for each row, and none for what ran already."""

import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from onnlab import cli
from onnlab.experiments import (
    EXPERIMENTS,
    SCALES,
    Experiment,
    Row,
    append,
    format_plan,
    plan,
    read_rehearsals,
    rehearsal,
    rehearse,
)
from onnlab.experiments import extrapolation as extrapolated
from onnlab.experiments.extrapolation import BATCHES, parts_of
from onnlab.experiments.findings import hours_table
from onnlab.experiments.lines import append_rehearsal, check_rehearsal
from onnlab.experiments.tables import group_of
from onnlab.hardware.built import BuiltOptics
from onnlab.hardware.classifier import KernelClassifier
from onnlab.networks import IdealConvolution
from tests.experiments.helpers import AGAIN, BUILT, KD, LINEAR, RESCUED, TEACHER, TINY, few_images, lines_of

SEGMENTER = next(row for row in EXPERIMENTS["segmentation"]("chapter").rows if row.name == "NTKD")
FROZEN = next(row for row in EXPERIMENTS["random-kernels"]("chapter").rows if row.name == "linear, 8 random")
SOLVED = next(
    row for row in EXPERIMENTS["random-kernels"]("chapter").rows if row.name == "rectified, infinitely many"
)
BROKEN = replace(LINEAR, name="broken", data="scenes-24", front="nonlinear")
KILLED = replace(LINEAR, name="killed", labels=61)


class Count:
    """A clock that only what is counted moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Count]:
    """A clock that counts steps, where a step takes a second and all else nothing."""
    clock = Count()

    def optimiser_step(self: object, *arguments: object) -> None:
        clock.now += 1

    monkeypatch.setattr("torch.optim.Adam.step", optimiser_step)
    with few_images():
        yield clock


@pytest.mark.parametrize("row", [TEACHER, KD, replace(TEACHER, epochs=7, labels=100, batch_size=16)])
def test_a_whole_run_has_the_steps_of_its_epochs(row: Row, steps: Count) -> None:
    parts = parts_of(row, clock=steps)
    each = math.ceil((row.labels or 0) / row.batch_size)
    assert parts["first epoch"] == each and parts["later epochs"] == (row.epochs - 1) * each
    assert parts["scoring"] == 0


def test_all_validation_images_are_counted_after_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Count()

    def evaluated(model: nn.Module, inputs: tuple, output: object) -> None:
        if not model.training:
            clock.now += len(inputs[0])

    watch = extrapolated.Watch.__call__

    def heard(self: object, learner: nn.Module, data: object) -> None:
        learner.register_forward_hook(evaluated)
        watch(self, learner, data)

    monkeypatch.setattr(extrapolated.Watch, "__call__", heard)
    with few_images():
        parts = parts_of(replace(TEACHER, epochs=3, batch_size=8), clock=clock)
    assert parts["first epoch"] == 50 and parts["later epochs"] == 2 * 50


def test_what_a_device_shows_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures belong to the first epoch: to all training images, and to their share of the others."""
    clock = Count()
    taken = BuiltOptics.forward

    def picture(self: BuiltOptics, x, generator=None):  # type: ignore[no-untyped-def]
        clock.now += len(x)
        return taken(self, x, generator)

    monkeypatch.setattr(BuiltOptics, "forward", picture)
    with few_images():
        again = parts_of(replace(AGAIN, epochs=5, batch_size=10), clock=clock)
        built = parts_of(BUILT, clock=clock)
    assert again["later epochs"] == 0 == again["scoring"]
    assert again["first epoch"] == pytest.approx(30 + 50 * 30 / 60)
    assert built == {"scoring": 50 + 50}


def test_frozen_optics_read_each_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Count()
    taken = IdealConvolution.forward

    def reading(self: IdealConvolution, x, generator=None):  # type: ignore[no-untyped-def]
        clock.now += len(x)
        return taken(self, x, generator)

    monkeypatch.setattr(IdealConvolution, "forward", reading)
    with few_images():
        row = replace(FROZEN, labels=100)
        parts = parts_of(row, clock=clock)
    assert parts["readings"] == pytest.approx(150)
    assert parts["later epochs"] == 0 < parts["scoring"]


def test_a_closed_form_is_extrapolated_by_maps_images_and_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Count()
    usual = extrapolated.fresh

    def fresh(run: object) -> nn.Module:
        model = usual(run)
        assert isinstance(model, KernelClassifier)
        kernel, maps = model.kernel, model.maps

        def counted(x, x2):  # type: ignore[no-untyped-def]
            clock.now += 2 * (len(x) + len(x2)) + 0.5 * len(x) * len(x2)
            return kernel(x, x2)

        def mapped(images):  # type: ignore[no-untyped-def]
            clock.now += 3 * len(images)
            return maps(images)

        model.kernel, model.maps = counted, mapped
        return model

    monkeypatch.setattr(extrapolated, "fresh", fresh)
    with few_images():
        row = replace(SOLVED, labels=40)
        parts = parts_of(row, clock=clock)

        def price(m: int) -> float:
            return 3 * m + 2 * (m + 40) + 0.5 * m * 40

        assert parts["learning"] == pytest.approx(price(40) + price(50))
        assert parts["scoring"] == pytest.approx(price(50))


def test_a_slow_row_has_to_do_with_one_batch(steps: Count) -> None:
    row = replace(TEACHER, batch_size=5)
    before = steps.now
    parts_of(row, clock=steps, enough=1.0)
    slow, before = steps.now - before, steps.now
    parts_of(row, clock=steps, enough=1e9)
    assert slow == 2 and steps.now - before == 2 + 2 * BATCHES


def test_kernels_that_are_sketched_are_no_validation(steps: Count) -> None:
    parts = parts_of(SEGMENTER, clock=steps)
    assert parts["first epoch"] == 5 and parts["later epochs"] == 29 * 5


def test_readings_larger_than_the_memory_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 8, raising=False)
    with few_images(), pytest.raises(MemoryError, match="readings of all images take"):
        parts_of(replace(FROZEN, labels=100))


def test_a_rehearsal_leaves_no_file(steps: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts_of(KD, clock=steps)
    assert not list(tmp_path.iterdir())


def counted(row: Row, device: str) -> dict[str, float]:
    """Stands in for a rehearsal: some rows fail, one takes its process along."""
    if row.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if row.name == "broken":
        raise ValueError("no room")
    return {"first epoch": 1800.0, "later epochs": 1800.0}


ROWS = Experiment("tiny", "book", (TEACHER, BROKEN, KILLED, LINEAR, KD))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no signal kills a process for sure")
def test_a_row_that_fails_or_is_killed_is_told_and_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    lines = rehearse([ROWS], tmp_path, shipped=tmp_path, measure=counted, report=told.append)
    assert lines == read_rehearsals(tmp_path / "rehearsals.jsonl")
    assert [line["row"] for line in lines] == [row.name for row in ROWS.rows]
    errors = {line["row"]: line["error"] for line in lines if line["error"]}
    assert errors.keys() == {"broken", "killed"}
    assert errors["broken"].endswith("ValueError: no room") and "as if memory ran out" in errors["killed"]
    assert all(line["seconds"] == 3600 for line in lines if line["error"] is None)
    assert told[0] == "[1/5] teacher (mnist-mini, 60 labels): about 1.0 h a run"
    assert told[1].endswith("does not run, ValueError: no room")

    # Only what failed is made again.
    again: list[str] = []
    rehearse([ROWS], tmp_path, shipped=tmp_path, measure=counted, report=again.append)
    assert [text.partition(" (")[0] for text in again] == ["[1/2] broken", "[2/2] killed"]

    planned = plan(ROWS, tmp_path, seeds=2, shipped=tmp_path)
    assert [one.broken for one in planned] == [row in (BROKEN, KILLED) for row in ROWS.rows]
    text = format_plan(planned)
    hours = sum(one.missing for one in planned if not one.broken)
    assert f"{hours:.2f} hours of one core, {hours:.2f} of them extrapolated" in text
    assert "runs of rows whose rehearsal failed" in text and "fails" in text and "*3600" in text


def line_of(row: Row, seconds: float) -> dict:
    """A line of a rehearsal of a row of ``tiny``."""
    return {
        "group": group_of(TINY, row), "experiment": "tiny", "scale": "book", "row": row.name,
        "commit": None, "versions": {}, "device": "cpu", "error": None, "seconds": seconds, "parts": {},
    }  # fmt: skip


def test_seconds_come_from_runs_before_rehearsals_and_from_here_before_elsewhere(tmp_path: Path) -> None:
    here, away = tmp_path / "here", tmp_path / "away"
    for folder in (here, away):
        folder.mkdir()

    def told() -> tuple[float, bool, bool]:
        one = plan(TINY, here, seeds=1, shipped=away)[0]
        return one.seconds, one.here, one.extrapolated

    assert math.isnan(told()[0])
    append_rehearsal(away / "rehearsals.jsonl", line_of(TEACHER, 4.0))
    assert told() == (4.0, False, True)
    assert "~*4 " in format_plan(plan(TINY, here, seeds=1, shipped=away))
    append_rehearsal(here / "rehearsals.jsonl", line_of(TEACHER, 3.0))
    assert told() == (3.0, True, True)
    append(away / "tiny.jsonl", lines_of(TEACHER, [0.9], seconds=2.0)[0])
    assert told() == (2.0, False, False)
    append(here / "tiny.jsonl", lines_of(TEACHER, [0.9], seconds=1.0)[0])
    assert told() == (1.0, True, False)


def test_seconds_are_those_of_the_device_that_is_asked_for(tmp_path: Path) -> None:
    append(tmp_path / "tiny.jsonl", lines_of(TEACHER, [0.9], seconds=2.0)[0])
    gpu = {**line_of(LINEAR, 3.0), "device": "H200"}
    for line in (line_of(LINEAR, 5.0), gpu):
        append_rehearsal(tmp_path / "rehearsals.jsonl", line)
    assert len(read_rehearsals(tmp_path / "rehearsals.jsonl")) == 2  # one on each device

    def seconds(device: str | None) -> list[float]:
        found = plan(TINY, tmp_path, seeds=1, device=device, shipped=tmp_path)
        return [one.seconds for one in found]

    assert seconds("cpu")[:2] == [2.0, 5.0] and seconds(None)[:2] == [2.0, 3.0]
    assert math.isnan(seconds("H200")[0]) and seconds("H200")[1] == 3.0


def test_a_device_is_rehearsed_though_another_one_was_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path / "tiny.jsonl", lines_of(TEACHER, [0.9])[0])
    append_rehearsal(tmp_path / "rehearsals.jsonl", line_of(LINEAR, 5.0))
    monkeypatch.setattr(rehearsal, "device_name", lambda device: "H200")
    lines = rehearse([TINY], tmp_path, shipped=tmp_path, measure=counted, report=lambda text: None)
    assert [(line["row"], line["device"]) for line in lines] == [(row.name, "H200") for row in TINY.rows]


def test_a_row_with_other_settings_has_no_rehearsal(tmp_path: Path) -> None:
    append_rehearsal(tmp_path / "rehearsals.jsonl", line_of(TEACHER, 4.0))
    changed = Experiment("tiny", "book", (replace(TEACHER, batch_size=32),))
    assert math.isnan(plan(changed, tmp_path, seeds=1, shipped=tmp_path)[0].seconds)
    # What is tuned changes no time.
    tuned = Experiment("tiny", "book", (replace(TEACHER, learning_rates=(1e-2,)),))
    assert plan(tuned, tmp_path, seeds=1, shipped=tmp_path)[0].seconds == 4


def test_what_ran_already_is_not_rehearsed(tmp_path: Path) -> None:
    here, away = tmp_path / "here", tmp_path / "away"
    for folder, row in ((here, TEACHER), (away, LINEAR)):
        folder.mkdir()
        append(folder / "tiny.jsonl", lines_of(row, [0.9])[0])
    before = (here / "tiny.jsonl").read_bytes()
    lines = rehearse([TINY], here, shipped=away, measure=counted, report=lambda text: None)
    assert [line["row"] for line in lines] == ["KD"]
    assert (here / "tiny.jsonl").read_bytes() == before
    assert {path.name for path in here.iterdir() if path.name[0] != "."} == {"tiny.jsonl", "rehearsals.jsonl"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seconds": -1.0}, "seconds must not be negative"),
        ({"seconds": math.inf}, "seconds must be finite"),
        ({"parts": 3}, "parts must be dict"),
        ({"error": "ValueError"}, "unknown"),
        ({"extra": 1}, "unknown"),
    ],
)
def test_a_line_of_a_rehearsal_is_checked(changes: dict, said: str) -> None:
    check_rehearsal(line_of(TEACHER, 1.0))
    with pytest.raises(ValueError, match=said):
        check_rehearsal({**line_of(TEACHER, 1.0), **changes})


def test_rehearsals_are_made_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["reproduce", "sclc", "--rehearse", "--out", str(tmp_path)]
    assert cli.main([*command, "--jobs", "2"]) == 1
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")  # as torchrun leaves it
    assert cli.main(command) == 1
    assert capsys.readouterr().err.count("leave out --jobs, --dask and torchrun") == 2
    assert not list(tmp_path.iterdir())


def test_the_devices_of_an_experiment_are_rehearsed(tmp_path: Path) -> None:
    """For real, in a process of its own: teacher, student, device, and what learns again."""
    lines = rehearse([RESCUED], tmp_path, shipped=tmp_path, report=lambda text: None)
    assert [line["error"] for line in lines] == [None] * len(RESCUED.rows)
    assert all(line["seconds"] == pytest.approx(sum(line["parts"].values()), abs=0.01) for line in lines)
    assert not (tmp_path / "weights").exists()


def test_the_book_adds_hours_from_runs_and_rehearsals(tmp_path: Path) -> None:
    sclc = EXPERIMENTS["sclc"]("full")
    line = {**line_of(TEACHER, 3600.0), "scale": "full"}
    for row in sclc.rows[:2]:
        append_rehearsal(
            tmp_path / "rehearsals.jsonl",
            {**line, "experiment": "sclc", "row": row.name, "group": group_of(sclc, row)},
        )
    runs = [len(row.trials) + 2 for row in sclc.rows]
    text = hours_table("full", tmp_path, seeds=3)
    (shown,) = (text for text in text.splitlines() if text.startswith("| `sclc` |"))
    assert shown == f"| `sclc` | {sum(runs)} | {sum(runs[:2]):.1f} |"
    assert f"{sum(runs[:2]):.2f} of them extrapolated from rehearsals" in text
    assert len(text.partition("\n\n")[0].splitlines()) == len(EXPERIMENTS) + 2


def test_rehearsals_that_are_kept_were_made_from_a_clean_commit() -> None:
    for line in read_rehearsals(Path(__file__).parents[2] / "results/rehearsals.jsonl"):
        assert line["experiment"] in EXPERIMENTS and line["scale"] in SCALES
        assert line["commit"] and "+" not in line["commit"]
