"""From a number back to its runs."""

import json
import statistics
from pathlib import Path

from onnlab import cli
from onnlab.experiments import Run, format_trace, runs_of
from tests.experiments.helpers import KD, LINEAR, TEACHER, TINY, line_of, lines_of, made_up

ROOT = Path(__file__).parents[2]


def test_only_the_runs_of_the_row_are_shown() -> None:
    lines = lines_of(KD, [0.95, 0.96]) + lines_of(LINEAR, [0.9]) + lines_of(TEACHER, [0.9, 0.91])
    assert runs_of(TINY, KD, lines) == lines[:2]
    assert format_trace(TINY, KD, lines[2:]) == "tiny (book), mnist-mini, KD, 60 labels: no runs yet"
    shown = format_trace(TINY, KD, lines).splitlines()
    assert shown[0] == "tiny (book), mnist-mini, KD, 60 labels: accuracy 95.50 ± 0.71 % over 2 of 2 runs"
    assert len(shown) == 4 and shown[2].split()[0] == "*"


def test_trials_that_were_not_chosen_have_no_star_and_failures_are_told() -> None:
    other = made_up(0, 0.8, validation=0.1, rate=4e-3, commit="c" * 40, seconds=41.7, device="2 x H200")
    lines = [*lines_of(LINEAR, [0.9, 0.92]), other]
    failed = {**made_up(2, 0.92), "error": "Traceback\nValueError"}
    shown = format_trace(TINY, LINEAR, [*lines, failed]).splitlines()
    assert "accuracy 91.00 ± 1.41 % over 2 of 4 runs" in shown[0]
    assert [line.startswith("*") for line in shown[2:]] == [True, False, True, False]
    assert "  42       2 x H200  00000000  cccccccccccc" in shown[3]
    assert "failed" in shown[5] and failed["key"] in shown[5]
    shown = format_trace(TINY, LINEAR, [failed]).splitlines()
    assert shown[0].endswith(": none of 1 runs") and "failed" in shown[2]


def test_the_key_of_the_teacher_is_told_and_students_of_another_have_no_star() -> None:
    chosen, other = (Run(TEACHER, trial, 0) for trial in reversed(TEACHER.trials))
    teachers = [line_of(chosen, 0.9, 0.6), line_of(other, 0.9, 0.5)]
    mine, its = (Run(KD, KD.trials[0], 0, teacher) for teacher in (chosen, other))
    students = [line_of(its, 0.99, 0.9), line_of(mine, 0.8, 0.4)]
    title, head, *rows = format_trace(TINY, KD, [*teachers, *students]).splitlines()
    assert "accuracy 80.00 % over 1 of 2 runs" in title and "teacher" in head and "student" not in head
    starred = {row.startswith("*"): row for row in rows}
    assert mine.key in starred[True] and chosen.key in starred[True]
    assert its.key in starred[False] and other.key in starred[False]
    assert "teacher" not in format_trace(TINY, LINEAR, lines_of(LINEAR, [0.9])).splitlines()[1]


def test_the_command_shows_what_a_number_is_made_of(capsys) -> None:
    """The mean of the table, from the keys that the command prints."""
    where = ["--data", "mnist", "--scale", "full", "--out", str(ROOT / "results")]
    assert cli.main(["trace", "sclc", "linear, KD", *where]) == 0
    title, _, *rows = capsys.readouterr().out.splitlines()
    texts = (ROOT / "results/sclc.jsonl").read_text().splitlines()
    lines = {line["key"]: line for line in map(json.loads, texts)}
    keys = [[word for word in row.split() if word in lines] for row in rows if row.startswith("*")]
    mine, teachers = ([lines[key] for key in column] for column in zip(*keys, strict=True))
    mean = statistics.mean(100 * line["test_accuracy"] for line in mine)
    assert f"accuracy {mean:.2f} ± " in title and len(mine) == 5
    assert [line["row"] for line in teachers] == ["teacher"] * 5
    assert all(line["commit"][:12] in "".join(rows) for line in mine)


def test_a_row_that_is_not_there_is_one_line_on_standard_error(capsys) -> None:
    assert cli.main(["trace", "sclc", "magic", "--out", str(ROOT / "results")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "'linear, KD' (mnist-mini)" in err
    assert "got 'magic'; at the scale chapter" in err and "--scale book or --scale full has" in err


def test_a_folder_without_results_is_told_with_the_command_that_makes_them(tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "nowhere", tmp_path / "file"):
        assert cli.main(["trace", "sclc", "teacher", "--out", str(out)]) == 1
        said = capsys.readouterr().err
        assert f"no {out / 'sclc.jsonl'}; `onnlab reproduce sclc --scale chapter --out {out}` makes" in said
