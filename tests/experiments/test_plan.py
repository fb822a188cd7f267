"""A plan counts what a run would make, without making it."""

import math
from pathlib import Path

import pytest

from onnlab import cli
from onnlab.experiments import EXPERIMENTS, SCALES, Experiment, format_plan, plan, read, run, walk
from onnlab.experiments.progress import BESIDE
from tests.experiments.helpers import KD, LINEAR, TEACHER, TINY, few_images

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("planned")
    with few_images():
        run(TINY, out, seeds=2, report=lambda text: None)
    return out


def missing(out: Path, seeds: int, experiment: Experiment = TINY) -> list[int]:
    return [one.missing for one in plan(experiment, out, seeds=seeds)]


def test_before_the_first_run_everything_is_missing(tmp_path: Path) -> None:
    planned = plan(TINY, tmp_path, seeds=3)
    assert [one.row for one in planned] == [TEACHER, LINEAR, KD]
    assert [one.runs for one in planned] == [len(row.trials) + 2 for row in TINY.rows]
    assert [one.missing for one in planned] == [one.runs for one in planned]
    assert all(math.isnan(one.seconds) for one in planned)


def test_what_is_there_is_not_missing_and_says_how_long_it_took(two_seeds: Path) -> None:
    assert missing(two_seeds, 1) == missing(two_seeds, 2) == [0, 0, 0]
    assert missing(two_seeds, 4) == [2, 2, 2]
    assert all(one.seconds > 0 for one in plan(TINY, two_seeds, seeds=2))


def test_a_plan_is_what_a_run_then_makes(two_seeds: Path) -> None:
    told: list[str] = []
    expected = sum(missing(two_seeds, 3))
    with few_images():
        run(TINY, two_seeds, seeds=3, report=told.append)
    assert [text[1:4] for text in told] == ["1/3", "2/3", "3/3"]
    assert sum("test" in text for text in told) == expected == 3
    assert missing(two_seeds, 3) == [0, 0, 0]


def test_a_failed_run_is_missing(two_seeds: Path, tmp_path: Path) -> None:
    lines = (two_seeds / "tiny.jsonl").read_text().splitlines()
    (tmp_path / "tiny.jsonl").write_text("\n".join(lines[1:]) + "\n")
    # Without a trial of the teacher no student is known, either: its teacher could become another.
    without = missing(tmp_path, 2)
    assert without[0] == 2 and without[2] == len(KD.trials) + 1 and without[1] == 0


def test_runs_come_when_all_that_they_need_is_known(two_seeds: Path) -> None:
    lines = [line for line in read(two_seeds / "tiny.jsonl") if line["seed"] < 2]
    known: dict = {}
    groups = []
    for runs in walk(TINY, 2, known):
        keys = {one.key for one in runs}
        known |= {line["key"]: line for line in lines if line["key"] in keys}
        groups.append([(one.row.name, one.seed) for one in runs])
        for one in runs:
            assert all(before.key in known for before in (one.teacher, one.student) if before)
    first = [("teacher", 0)] * 2 + [("linear", 0)] * 2
    assert groups == [first, [("teacher", 1), ("linear", 1)], [("KD", 0)] * 2, [("KD", 1)]]
    assert known.keys() == {line["key"] for line in lines}
    # Nothing is known: only the trials that need nothing can be told.
    assert [len(runs) for runs in walk(TINY, 2, {})] == [4, 0, 0, 0]


def test_what_was_never_run_here_takes_as_long_as_in_the_results_that_come_along(
    two_seeds: Path, tmp_path: Path
) -> None:
    away = plan(TINY, tmp_path, seeds=2, shipped=two_seeds)
    here = plan(TINY, two_seeds, seeds=2, shipped=tmp_path)
    assert [one.seconds for one in away] == [one.seconds for one in here]
    assert not any(one.here for one in away) and all(one.here for one in here)
    assert all(one.missing == one.runs for one in away)
    assert "~" in format_plan(away) and format_plan(away).endswith("on another machine.")
    assert "~" not in format_plan(here)


def test_hours_are_added_and_what_was_never_timed_is_told(two_seeds: Path) -> None:
    text = format_plan(plan(TINY, two_seeds, seeds=2))
    assert text.endswith("0 runs are missing: 0.00 hours of one core.")
    text = format_plan(plan(TINY, two_seeds / "nowhere", seeds=2))
    total = sum(len(row.trials) + 1 for row in TINY.rows)
    assert text.endswith(
        f"{total} runs are missing: 0.00 hours of one core, and {total} runs of rows that were never timed. "
        "`--rehearse` times rows that never ran."
    )


def test_the_command_lists_every_row_of_every_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["reproduce", "--dry-run", "--scale", "full", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()[1:-1]
    assert len(shown) == sum(len(make("full").rows) for make in EXPERIMENTS.values())
    assert not list(tmp_path.iterdir())  # it leaves nothing


def test_the_command_lists_the_rows_of_one_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["reproduce", "--dry-run", "--scale", "full", "--out", str(tmp_path), "--data"]
    assert cli.main([*arguments, "cifar10"]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:-1]]
    rows = [(name, row.data) for name, make in EXPERIMENTS.items() for row in make("full").rows]
    assert shown == [name for name, data in rows if data == "cifar10"]
    assert set(shown) == {"sclc", "ntkd", "compensation", "random-kernels"}
    assert cli.main([*arguments, "cifar"]) == 1
    assert "have mnist, cifar10, camvid-cars, got 'cifar'" in capsys.readouterr().err


@pytest.mark.parametrize(("scale", "seeds"), [("chapter", 5), ("book", 3)])
@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_the_tables_of_these_scales_are_whole(name: str, scale: str, seeds: int) -> None:
    planned = plan(EXPERIMENTS[name](scale), RESULTS, seeds=seeds)
    assert not [one.row.name for one in planned if one.missing]


def test_all_tables_of_the_chapter_take_less_than_ten_minutes_on_two_cores() -> None:
    planned = [one for make in EXPERIMENTS.values() for one in plan(make(SCALES[0]), RESULTS, seeds=5)]
    assert sum(one.runs * (one.seconds + BESIDE) for one in planned) < 2 * 600


def test_an_unknown_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["reproduce", "table9"])
    assert "'table9' must be one of sclc" in capsys.readouterr().err


def test_there_is_at_least_one_seed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        plan(TINY, tmp_path, seeds=0)
