"""Whole folders of submissions: honest ones, and each way to misbehave."""

import sys

import pytest

from onnlab.course.grading import grade, score_of
from onnlab.course.runner import anew
from onnlab.course.sandbox import Limits, SandboxError
from tests.course.cases import GOOD, answered, code, form, hand_in, write_source

SQUARE = "ch90-square-answer"
SHOWN = "get_ipython().display_formatter.formatters['text/plain'].for_type(float, {})"


def square(first: str) -> dict[str, str]:
    """Good answers, the second of which does something first when its check calls it."""
    return {**GOOD, SQUARE: f"def square(x):\n    {first}\n    return x * x"}


def before(first: str) -> dict[str, str]:
    """Good answers, the second of which does something when its cell runs."""
    return {**GOOD, SQUARE: f"{first}\n{GOOD[SQUARE]}"}


HONEST = {
    "good": GOOD,
    "partly": {**GOOD, SQUARE: "def square(x):\n    return 2 * x"},
    "renames": {**GOOD, SQUARE: "def helper(x):\n    return x * x\n\ndef square(x):\n    return helper(x)"},
    "unattempted": {},
    "raises": {**GOOD, SQUARE: "raise ValueError('I am lost')"},
}
MISBEHAVING = {
    "exits": square("import os; os._exit(0)"),
    "loops": square("while True: pass"),
    "hoards": before("hoard = bytearray(10**10)"),
    "forks": before(
        "import os, time\nfor n in range(100):\n    if not os.fork():\n        time.sleep(60)\ntime.sleep(60)"
    ),
    "writes": before("open('/etc/onnlab', 'w')"),
    "calls": before("import socket\nsocket.create_connection(('192.0.2.1', 80))"),
    "talks": square("for n in range(10**4): print('word ' * 10)"),
}
FORGING = {
    "swaps": {**GOOD, SQUARE: "def square(x): return 0\ndef check(*_): return 2.0"},
    "above": before(SHOWN.format("lambda v, p, c: p.text('99.0')")),
    "nan": before(SHOWN.format("lambda v, p, c: p.text('nan')")),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """All of them, graded in one go: results by name of the student, and the lines of the progress."""
    folder = tmp_path_factory.mktemp("course")
    for student, answers in (HONEST | MISBEHAVING | FORGING).items():
        hand_in(folder / "in", student, answered(answers))
    hand_in(folder / "in", "broken", '{"cells": [')
    hand_in(folder / "in", "nobody", "", "readme.txt")
    double = answered(GOOD)
    double.cells.insert(0, code("ch90-square-answer", "def square(x): return 9"))
    double.cells.insert(0, code("ch90-square", "2.0"))
    double.cells[0].id, double.cells[1].id = "a", "b"
    hand_in(folder / "in", "doubles", double, "week/ch90.ipynb")
    lines: list[str] = []
    limits = Limits(seconds=100.0, memory=4e9, processes=40)
    source = write_source(folder / "source")
    found = grade(folder / "in", source, jobs=2, limits=limits, cell_seconds=4.0, report=lines.append)
    return {one.name: one for one in found}, lines


def points(graded, student):
    """Scores by exercise, and all that is said about the notebook."""
    (notebook,) = graded[0][student].notebooks
    said = [notebook.reason, *notebook.remarks, *(item.reason for item in notebook.items)]
    return [item.score for item in notebook.items], " | ".join(filter(None, said))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "scores", "reason"),
    [
        ("good", [1, 2, None], ""),
        ("partly", [1, 0, None], ""),
        ("renames", [1, 2, None], ""),  # its own helper in the place of the setup's
        ("unattempted", [0, 0, 0], "not attempted"),
        ("raises", [1, 0, None], "ValueError: I am lost"),
        ("exits", [1, 0, None], "Python ended at ch90-square"),
        ("loops", [1, 0, None], "TimeoutError: the cell ran for more than 4 s"),
        ("hoards", [1, 0, None], "MemoryError"),
        ("forks", [1, 0, None], "started more than 40 processes"),
        ("writes", [1, 0, None], "/etc/onnlab"),
        ("calls", [1, 0, None], "Network is unreachable"),
        ("talks", [1, 2, None], ""),
        ("broken", [0, 0, 0], "no notebook that can be read"),
        ("doubles", [1, 2, None], "ch90-square-answer is there 2 times"),
        ("swaps", [1, 0, None], ""),
        ("above", [1, 0, None], "'99.0', and a number from 0 to 2 was expected"),
        ("nan", [1, 0, None], "'nan', and a number from 0 to 2 was expected"),
    ],
)
def test_each_costs_its_own_points_and_is_named(graded, student, scores, reason):
    found, said = points(graded, student)
    assert found == scores, said
    assert graded[0][student].notebooks[0].begun
    assert reason in said if reason else said == ""


def test_before_a_check_only_what_it_calls_is_made_anew(monkeypatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # it forgets the checks, which other tests have
    setup = "import math\nfrom builtins import abs, print as check\nslow = math.nan\n\ndef near(x):\n    pass"
    names = {"check": "forged", "near": "own", "slow": "own"}
    exec(anew([setup], 'check("ch90-double", near)'), names)
    del names["__builtins__"]
    assert names == {"check": print, "abs": abs, "near": "own", "slow": "own"}


@pytest.mark.slow
def test_a_forged_answer_is_named_for_a_person(graded):
    assert "ch90-square-answer asks to be read: it has get_ipython" in points(graded, "above")[1]


@pytest.mark.slow
def test_what_the_check_printed_is_kept_and_cut(graded):
    (notebook,) = graded[0]["partly"].notebooks
    assert [item.printed for item in notebook.items] == ["Passed.\n", "Not yet: got 6\n", ""]
    (notebook,) = graded[0]["talks"].notebooks
    assert notebook.items[1].printed.endswith("(cut off here)") and len(notebook.items[1].printed) < 21_000


@pytest.mark.slow
def test_answers_and_texts_are_kept(graded):
    (notebook,) = graded[0]["good"].notebooks
    double, square, why = notebook.items
    assert double.answers == (("code", GOOD["ch90-double-answer"]),)
    assert square.answers == (("code", GOOD[SQUARE]),)
    assert why.by_hand and why.answers == (("markdown", GOOD["ch90-square-why"]),)


@pytest.mark.slow
def test_totals(graded):
    found = graded[0]
    assert (found["good"].score, found["partly"].score, found["nobody"].score) == (3, 1, 0)
    assert found["nobody"].remarks == ("no notebook was found",)


@pytest.mark.slow
def test_progress_has_a_line_for_each_notebook(graded):
    found, lines = graded
    assert len(lines) == len(found) - 1  # one handed in none
    assert lines[-1].startswith(f"{len(lines)} of {len(lines)}: ")
    assert any(line.endswith("good/ch90: 3 of 4 points, 1 to be read") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "cell_seconds", "reason"),
    [(4.0, 60.0, "the notebook was stopped: it ran for more than 4 s"), (100.0, 1.0, "")],
    ids=["notebook", "cell"],
)
def test_what_cannot_be_interrupted_ends(tmp_path, limit, cell_seconds, reason):
    stubborn = "while True:\n    try:\n        while True: pass\n    except KeyboardInterrupt: pass"
    hand_in(tmp_path / "in", "ada", answered(before(stubborn)))
    source, limits = write_source(tmp_path / "source"), Limits(seconds=limit)
    (ada,) = grade(tmp_path / "in", source, cell_seconds=cell_seconds, limits=limits, report=len)
    (notebook,) = ada.notebooks
    assert notebook.reason == reason
    assert notebook.items[1].score == 0 and "ran for more than" in notebook.items[1].reason


@pytest.mark.slow
def test_a_setup_that_fails_is_not_the_fault_of_a_student(tmp_path):
    source = write_source(tmp_path / "source")
    for path in source.iterdir():
        path.write_text(path.read_text().replace("def helper(x)", "1 / 0\\ndef helper(x)"))
    hand_in(tmp_path / "in", "ada", answered(GOOD))
    hand_in(tmp_path / "in", "bob", answered(MISBEHAVING["exits"]))
    lines: list[str] = []
    found = grade(tmp_path / "in", source, report=lines.append)
    assert [one.notebooks[0].begun for one in found] == [False, False]
    assert "could not be run: ch90-setup stops with ZeroDivisionError" in lines[0]


@pytest.mark.slow
def test_unprotected_an_error_still_costs_its_own_points(tmp_path):
    hand_in(tmp_path / "in", "ada", answered(GOOD))
    hand_in(tmp_path / "in", "bob", answered(MISBEHAVING["loops"]))
    hand_in(tmp_path / "in", "cy", answered(MISBEHAVING["exits"]))
    source = write_source(tmp_path / "source")
    found = grade(
        tmp_path / "in", source, protected=False, cell_seconds=2.0, limits=Limits(seconds=30), report=len
    )
    assert [one.score for one in found] == [3, 1, 1]


def test_without_bubblewrap_nothing_is_run(tmp_path, monkeypatch):
    hand_in(tmp_path / "in", "ada", answered(GOOD))
    monkeypatch.setenv("PATH", "")
    lines: list[str] = []
    with pytest.raises(SandboxError, match="--unprotected"):
        grade(tmp_path / "in", write_source(tmp_path / "source"), report=lines.append)
    assert lines == []


@pytest.mark.parametrize(
    ("options", "said"), [({"jobs": 0}, "jobs must be at least 1"), ({"cell_seconds": 0.0}, "cell_seconds")]
)
def test_what_cannot_be_is_told(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        grade(tmp_path, tmp_path, **options)


def test_a_folder_without_sources_is_told(tmp_path):
    with pytest.raises(ValueError, match="found none; give --source"):
        grade(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("results", "error", "score"),
    [
        (["2.0"], "", 2.0),
        (["0.5"], "", 0.5),
        (["0.0"], "", 0.0),
        (["2.1"], "", 0.0),
        (["-0.1"], "", 0.0),
        (["nan"], "", 0.0),
        (["inf"], "", 0.0),
        (["True"], "", 0.0),
        (["two"], "", 0.0),
        ([], "", 0.0),
        (["2.0", "2.0"], "", 0.0),
        (["2.0"], "ValueError: no", 0.0),
    ],
)
def test_a_score_is_one_number_that_the_exercise_can_give(results, error, score):
    assert score_of(results, error, 2.0)[0] == score
    assert bool(score_of(results, error, 2.0)[1]) == (score == 0.0 and results != ["0.0"])


def test_the_form_of_these_tests_is_a_form():
    assert "raise NotImplementedError()" in form().cells[3].source
