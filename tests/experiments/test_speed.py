"""How fast each method learns: with a clock that is set by hand, and with real networks on a few images."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from onnlab import cli
from onnlab.experiments import (
    SPEED_TASKS,
    LineError,
    Speed,
    energy,
    measure_speeds,
    read_speeds,
    speed,
    speed_tables,
    write_speeds,
)
from onnlab.experiments.speed import METHODS, Clock, clock_of, in_turn
from onnlab.experiments.speed_lines import SPEEDS
from onnlab.networks._text import markdown_table

ROOT = Path(__file__).parents[2]
LABELS = Speed(
    task="digits", method="labels", what="A to B", images=100, seconds=[2.0, 4.0, 1.0], joules=None,
    clock="wall time", commit="0123abc", versions={"torch": "2"}, device="cpu",
)  # fmt: skip
KD = replace(LABELS, method="KD", seconds=[3.0, 4.0, 2.0])
PIXELS = replace(LABELS, task="pixels", joules=[1.0, 1.0, 4.0])


def quiet(_: str) -> None:
    pass


@pytest.fixture
def seconds_of_an_epoch(monkeypatch):
    """Let an epoch last as long as its objective says, by a clock that nothing else moves."""
    made: list[str] = []
    now = 0.0

    def fit(model, data, objective, **settings):
        nonlocal now
        name = f"{objective!r}, fixed" if settings["fixed_batches"] else repr(objective)
        made.append(name)
        now += 1.0 + 0.5 * name.count("KD(L") + 2.0 * name.count("NTKD") + 100 * (len(made) <= len(METHODS))

    monkeypatch.setattr(speed, "fit", fit)
    monkeypatch.setattr(speed, "clock_of", lambda device: Clock("by hand", lambda: now))
    return made


def test_methods_take_turns_and_a_round_to_warm_up_does_not_count(seconds_of_an_epoch):
    speeds = measure_speeds({"digits": SPEED_TASKS["digits"]}, rounds=3, report=quiet)
    made, first = seconds_of_an_epoch, seconds_of_an_epoch[: len(METHODS)]
    assert made == 4 * first
    assert ["fixed" in name for name in first] == [one.fixed_batches for one in METHODS.values()]
    assert [one.method for one in speeds] == list(METHODS)
    assert all(len(one.seconds) == 3 and one.clock == "by hand" for one in speeds)
    by_name = {one.method: one for one in speeds}
    assert by_name["labels"].images_a_second == SPEED_TASKS["digits"].images
    assert by_name["KD"].times_as_long(by_name["labels"]) == [1.5] * 3
    assert by_name["NTKD"].times_as_long(by_name["labels"]) == [3.5] * 3
    assert by_name["KD + NTKD"].times_as_long(by_name["KD"]) == pytest.approx([4 / 1.5] * 3)


def test_works_are_done_in_turn():
    done: list[str] = []
    now = iter(range(100))
    one, two = in_turn([lambda: done.append("a"), lambda: done.append("b")], 2, lambda: next(now) ** 2)
    assert done == ["a", "b"] * 3
    assert [spent.seconds for spent in one] == [5**2 - 4**2, 9**2 - 8**2]
    assert [spent.seconds for spent in two] == [7**2 - 6**2, 11**2 - 10**2]


def test_a_gpu_has_done_its_work_before_the_clock_is_read(monkeypatch):
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", done.append)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: float(len(done)))
    clock = clock_of("cuda:1")
    assert (clock.name, clock.read(), done) == ("wall time", 1.0, ["cuda:1"])
    assert clock_of("cpu") == ("processor time of one thread", time.process_time)


def test_joules_are_of_each_epoch_and_none_where_the_machine_does_not_tell(seconds_of_an_epoch, monkeypatch):
    read = iter(float(number) for number in range(1000))
    monkeypatch.setattr(energy, "packages", lambda: [energy.Counter(lambda: next(read), 1e6)])
    (first, *_) = measure_speeds({"digits": SPEED_TASKS["digits"]}, rounds=2, report=quiet)
    assert first.joules == [1.0, 1.0] and first.joules_an_image == 1 / SPEED_TASKS["digits"].images
    monkeypatch.setattr(energy, "packages", list)
    (first, *_) = measure_speeds({"digits": SPEED_TASKS["digits"]}, rounds=2, report=quiet)
    assert first.joules is None and first.joules_an_image is None


@pytest.mark.slow
@pytest.mark.parametrize("name", SPEED_TASKS)
def test_every_method_learns_every_task(name):
    few = replace(SPEED_TASKS[name], images=8, batch_size=4)
    speeds = measure_speeds({name: few}, rounds=1, report=quiet)
    assert [one.method for one in speeds] == list(METHODS)
    assert {one.what for one in speeds} == {str(few)} and {one.images for one in speeds} == {few.images}


def test_a_table_has_medians_over_rounds_of_the_rate_and_of_the_ratio():
    first, second, end = speed_tables([LABELS, KD, PIXELS], markdown_table).split("\n\n|")
    assert first == "Digits: A to B."
    *digits, _, title = second.splitlines()
    assert digits[0].endswith("Images a second | Time, in multiples of labels | Least to most |")
    assert digits[2:] == ["| labels | 50 | 1.00 | 1.00 to 1.00 |", "| KD | 33 | 1.50 | 1.00 to 2.00 |"]
    assert title == "Pixels: A to B."
    head, _, line, _, said = end.splitlines()
    assert head.endswith("| Millijoules an image |") and line.endswith("| 20.0 |")
    assert said == "Measured: wall time, 3 rounds, on cpu, commit 0123abc, torch 2."


def test_what_is_written_is_read_and_a_new_measurement_takes_the_place_of_the_old(tmp_path):
    file = tmp_path / SPEEDS
    assert read_speeds(file) == [] and "no measurement yet" in speed_tables([])
    write_speeds(file, [LABELS, KD])
    write_speeds(file, [KD, PIXELS])
    assert read_speeds(file) == [KD, PIXELS] and len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seconds": []}, "seconds must be numbers above 0"),
        ({"seconds": [1.0, 0.0, 1.0]}, "seconds must be numbers above 0"),
        ({"seconds": [1.0, float("nan"), 1.0]}, "seconds must be numbers above 0"),
        ({"seconds": [1.0, 1.0]}, "one measurement with the first line"),
        ({"joules": [-1.0]}, "joules must be null"),
        ({"images": 0}, "images must be a whole number"),
        ({"method": 3}, "method must be a text"),
        ({"commit": 3}, "commit must be a text or null"),
        ({"versions": "2"}, "versions must be an object"),
        ({"commit": "4567def"}, "one measurement with the first line"),
        ({"device": "NVIDIA H200"}, "one measurement with the first line"),
        ({"accuracy": 0.9}, "accuracy"),
    ],
)
def test_a_broken_file_is_told_with_its_line(changes, said, tmp_path):
    file, (first, second) = tmp_path / SPEEDS, (vars(LABELS), {**vars(KD), **changes})
    file.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    with pytest.raises(LineError, match=rf"speed\.jsonl, line 2: .*{said}.*; measure again: `onnlab speed"):
        read_speeds(file)


def test_a_line_that_is_no_object_is_told(tmp_path):
    for text in ("[]", "{", '{"task": "digits"}'):
        (tmp_path / SPEEDS).write_text(text)
        with pytest.raises(LineError, match=r"speed\.jsonl, line 1: .*measure again"):
            read_speeds(tmp_path / SPEEDS)


def test_the_command(seconds_of_an_epoch, tmp_path, capsys):
    assert cli.main(["speed", "--rounds", "2", "--out", str(tmp_path / SPEEDS)]) == 0
    printed = capsys.readouterr()
    speeds = read_speeds(tmp_path / SPEEDS)
    assert [one.method for one in speeds] == len(SPEED_TASKS) * list(METHODS)
    assert printed.out == speed_tables(speeds) + "\n"
    assert [line.partition(":")[0] for line in printed.err.splitlines()] == list(SPEED_TASKS)
    assert cli.main(["speed", "--device", "cuda:99"]) == 1
    assert "--device must be there" in capsys.readouterr().err


def test_the_file_of_the_book_is_about_the_tasks_and_methods_of_today():
    speeds = read_speeds(ROOT / "results" / SPEEDS)
    assert [(one.task, one.method) for one in speeds] == [(t, m) for t in SPEED_TASKS for m in METHODS]
    assert all(one.what == str(SPEED_TASKS[one.task]) for one in speeds)
    assert {one.commit is not None and "+" not in one.commit for one in speeds} == {True}
