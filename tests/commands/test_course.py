"""``onnlab grade``: what it writes, and how it fails."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import onnlab.course.grading
from onnlab import cli
from onnlab.course.grading import Graded
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


def never(*arguments, **options):
    raise AssertionError("nothing should be graded")


def test_a_report_that_cannot_be_written_is_told_before_anything_is_graded(
    course, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(onnlab.course.grading, "_grade", never)
    (tmp_path / "file").write_text("")
    for out in ("file", "file/report"):
        assert cli.main(["grade", *course, "--out", str(tmp_path / out)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("onnlab: --out must be a folder") and f"{tmp_path / 'file'} is a file" in line


def test_an_interruption_leaves_a_report_of_what_is_done(course, tmp_path, monkeypatch, capsys):
    hand_in(tmp_path / "in", "ben", "no notebook")

    def interrupted(path, *options):
        if path.parent.name == "ben":
            raise KeyboardInterrupt
        return Graded(path.stem, ())

    monkeypatch.setattr(onnlab.course.grading, "_grade", interrupted)
    out = tmp_path / "out"
    assert cli.main(["grade", *course, "--out", str(out)]) == 130
    error = capsys.readouterr().err
    assert "scores.csv has the 1 students who were done" in error and "starts anew" in error
    assert "goes on" not in error
    assert sorted(one.name for one in out.iterdir()) == ["ada.html", "scores.csv"]


def test_a_page_is_written_as_soon_as_a_student_is_done(course, tmp_path, monkeypatch):
    hand_in(tmp_path / "in", "ben", "no notebook")

    def looked_at(path, *options):
        if path.parent.name == "ben":
            there.extend((tmp_path / "out").iterdir())
        return Graded(path.stem, ())

    there: list = []
    monkeypatch.setattr(onnlab.course.grading, "_grade", looked_at)
    monkeypatch.setattr(onnlab.course.grading, "ThreadPoolExecutor", InTurn)
    monkeypatch.setattr(onnlab.course.grading, "as_completed", iter)
    assert cli.main(["grade", *course, "--out", str(tmp_path / "out")]) == 0
    assert [one.name for one in there] == ["ada.html"]


class InTurn(ThreadPoolExecutor):
    """Runs a task when its result is asked for."""

    def submit(self, task, *arguments):
        return Later(task, arguments)


class Later:
    def __init__(self, task, arguments):
        self.result = lambda: task(*arguments)


def test_a_notebook_that_ends_before_its_first_answer_is_no_success(course, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        onnlab.course.grading, "_grade", lambda path, *_: Graded(path.stem, (), "no data", begun=False)
    )
    assert cli.main(["grade", *course, "--out", str(tmp_path / "out")]) == 1
    assert "1 notebooks ended before their first answer" in capsys.readouterr().err
    assert "no data" in (tmp_path / "out/ada.html").read_text()


def test_submissions_beside_the_python_that_runs_them_are_refused(course, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "in/.venv"))
    (tmp_path / "in/.venv").mkdir()
    assert cli.main(["grade", *course, "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'in/.venv'} lies in it" in line and "folders of their own" in line


@pytest.mark.parametrize("text", ["[]", "{", "\xff", '{"cells": [{}]}', '{"nbformat": 4}'])
def test_a_source_that_cannot_be_read_is_named(course, tmp_path, capsys, text):
    source = tmp_path / "source/ch90.ipynb"
    source.write_text(text, encoding="latin-1")
    for command in (["grade", *course], ["release", str(source.parent), str(tmp_path / "new")]):
        assert cli.main(command) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"onnlab: {source}: must be a notebook that can be read"), last
    assert not (tmp_path / "new").exists()
