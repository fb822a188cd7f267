"""From a number back to its runs."""

import json
import statistics
from pathlib import Path

from onnlab import cli
from onnlab.experiments import format_trace, runs_of
from tests.experiments.helpers import KD, LINEAR, TINY, lines_of

ROOT = Path(__file__).parents[2]


def test_only_the_runs_of_the_row_are_shown() -> None:
    lines = lines_of(KD, [0.95, 0.96]) + lines_of(LINEAR, [0.9])
    assert runs_of(TINY, KD, lines) == lines[:2]
    assert format_trace(TINY, KD, lines[2:]) == "tiny (book), mnist-mini, KD, 60 labels: no runs yet"
    shown = format_trace(TINY, KD, lines).splitlines()
    assert shown[0] == "tiny (book), mnist-mini, KD, 60 labels: accuracy 95.50 ± 0.71 % over 2 of 2 runs"
    assert len(shown) == 4 and shown[2].split()[0] == "*"


def test_trials_that_were_not_chosen_have_no_star_and_failures_are_told() -> None:
    lines = lines_of(LINEAR, [0.9, 0.92, 0.8])
    lines[2]["settings"] |= {"seed": 0, "learning_rate": 0.004}
    lines[2] |= {"seed": 0, "validation_accuracy": 0.1, "commit": "c" * 40}
    failed = {**lines[1], "error": "Traceback\nValueError", "key": "lost"}
    shown = format_trace(TINY, LINEAR, [*lines, failed]).splitlines()
    assert "accuracy 91.00 ± 1.41 % over 2 of 4 runs" in shown[0]
    assert [line.startswith("*") for line in shown[2:]] == [True, False, True, False]
    assert "cccccccccccc" in shown[3] and "failed" in shown[5] and "lost" in shown[5]


def test_the_command_shows_what_a_number_is_made_of(capsys) -> None:
    """The mean of the table, from the keys that the command prints."""
    where = ["--data", "mnist", "--scale", "full", "--out", str(ROOT / "results")]
    assert cli.main(["trace", "sclc", "linear, KD", *where]) == 0
    title, _, *rows = capsys.readouterr().out.splitlines()
    texts = (ROOT / "results/sclc.jsonl").read_text().splitlines()
    lines = {line["key"]: line for line in map(json.loads, texts)}
    mine = [lines[word] for row in rows if row.startswith("*") for word in row.split() if word in lines]
    mean = statistics.mean(100 * line["test_accuracy"] for line in mine)
    assert f"accuracy {mean:.2f} ± " in title and len(mine) == 5
    assert all(line["commit"][:12] in "".join(rows) for line in mine)


def test_a_row_that_is_not_there_is_one_line_on_standard_error(capsys) -> None:
    assert cli.main(["trace", "sclc", "magic", "--out", str(ROOT / "results")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "'linear, KD' (mnist-mini)" in err
