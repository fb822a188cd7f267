"""The same course through nbgrader: its student form is ours, and so are its scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from onnlab.course.grading import grade
from onnlab.course.sandbox import Limits
from tests.course.cases import GOOD, answered, form, hand_in, write_source

SUBMISSIONS = {
    "good": GOOD,
    "partly": {**GOOD, "ch90-square-answer": "def square(x):\n    return 2 * x"},
    "unattempted": {},
    "crashes": {**GOOD, "ch90-square-answer": "raise ValueError('I am lost')"},
    "crashes-inside": {**GOOD, "ch90-double-answer": "def double(x):\n    return x[0]"},
}
SCORES = """
import json
from nbgrader.api import Gradebook

found = {}
with Gradebook("sqlite:///gradebook.db") as book:
    for one in book.assignment_submissions("week"):
        (notebook,) = one.notebooks
        found[one.student.id] = {
            grade.cell.name: None if grade.needs_manual_grade else grade.auto_score
            for grade in notebook.grades
            if grade.max_score > 0
        }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A course folder in which nbgrader has made the student form and graded all submissions."""
    folder = tmp_path_factory.mktemp("nbgrader")
    write_source(folder / "source/week")
    (folder / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'optics'\n")
    nbgrader(folder, "generate_assignment", "week")
    for student, answers in SUBMISSIONS.items():
        hand_in(folder / "submitted", student, answered(answers), "week/ch90.ipynb")
    nbgrader(folder, "autograde", "week")
    return folder


def nbgrader(folder: Path, *arguments: str) -> str:
    return python(folder, "-m", "nbgrader", *arguments)


def python(folder: Path, *arguments: str) -> str:
    homes = {name: str(folder / "home") for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    # nbgrader calls alembic by its bare name, as in an environment that is switched on.
    homes["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | homes, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_student_form_is_that_of_nbgrader(course):
    theirs = nbformat.read(course / "release/week/ch90.ipynb", as_version=4)
    assert [cell.id for cell in theirs.cells] == [cell.id for cell in form().cells]
    assert [cell.source for cell in theirs.cells] == [cell.source for cell in form().cells]
    for one, other in zip(theirs.cells, form().cells, strict=True):
        mine = other.metadata.nbgrader
        assert {name: one.metadata.nbgrader[name] for name in mine} == mine


@pytest.mark.slow
def test_the_scores_are_those_of_nbgrader(course):
    theirs = json.loads(python(course, "-c", SCORES))
    graded = grade(
        course / "submitted",
        course / "source/week",
        jobs=2,
        limits=Limits(seconds=120),
        report=lambda line: None,
    )
    ours = {one.name: {item.name: item.score for item in one.notebooks[0].items} for one in graded}
    assert ours == theirs
    assert set(ours) == set(SUBMISSIONS)
    assert ours["good"] == {"ch90-double": 1, "ch90-square": 2, "ch90-square-why": None}
