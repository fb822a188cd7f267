"""``onnlab grade``: what it writes, and how it fails."""

import pytest

from onnlab import cli
from tests.course.cases import hand_in, write_source


@pytest.fixture
def course(tmp_path):
    hand_in(tmp_path / "in", "ada", "no notebook")
    return [str(tmp_path / "in"), "--source", str(write_source(tmp_path / "source"))]


def test_grade_writes_a_report(course, tmp_path, capsys):
    assert cli.main(["grade", *course, "--out", str(tmp_path / "out")]) == 0
    progress, table = capsys.readouterr().out.splitlines()
    assert progress.startswith("1 of 1: ada/ch90: 0 of 4 points; ch90.ipynb was not run")
    assert table == str(tmp_path / "out/scores.csv")
    assert (tmp_path / "out/ada.html").is_file()


def test_grade_without_a_sandbox_is_one_line_and_has_a_way_out(course, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    out = ["--out", str(tmp_path / "out")]
    assert cli.main(["grade", *course, *out]) == 1
    error = capsys.readouterr().err
    assert error.startswith("onnlab: bubblewrap was not found") and error.count("\n") == 1
    assert "--unprotected" in error and not (tmp_path / "out").exists()
    assert cli.main(["grade", *course, *out, "--unprotected"]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--memory", "0"], "memory must be above 0"),
        (["--source", "nowhere"], "give --source"),
    ],
)
def test_a_grading_that_cannot_be_is_one_line(course, options, said, capsys):
    assert cli.main(["grade", *course, *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("onnlab: ") and error.count("\n") == 1 and said in error
